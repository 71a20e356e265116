"""What both front ends' logins share: finding who is meant, proving, recording.

Every answer that leaves here is the same whatever the reason; the reason goes to the
trail before the answer goes to the wire.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ulid import ULID

from server.access.accounts_watch import AccountsWatch
from server.access.attempts import Attempts
from server.access.bureau import Clerk
from server.access.credentials import Credentials
from server.access.own_account import OwnAccount
from server.access.sessions import Sessions
from server.access.startups import Place
from server.audit.gate import Gate
from server.auth.admission import Candidate, Refusal
from server.auth.pending import PendingKey
from server.auth.snapshot import Device, Line
from server.model.algorithms import Profile
from server.model.charset import Charset
from server.model.clock import Clock
from server.model.errors import LoginRefusedError
from server.model.event import Fields, Json, actor_fields
from server.model.identity import Actor, Source
from server.model.operation import Operation, Outcome, Protocol, Stage
from server.model.session import Session

CLIENT_CHARACTERS_MAX: Final = 200
_LOGIN: Final = re.compile(
    r"[a-z0-9][a-z0-9._-]{0,62}(\+[\w.-]{1,63})?(@[a-z0-9-]{1,31})?"
)


@dataclass(slots=True, kw_only=True)
class Arrival:
    """A connection whose source lies in at least one active line."""

    source: Source
    protocol: Protocol
    profile: Profile = Profile.MODERN
    """What the front end may offer to this line."""
    certificate_name: str = ""
    """The common name of a verified client certificate."""
    client: str = ""
    """SSH banner or User-Agent; the front end fills it in when it knows it."""
    algorithms: str = ""
    """The SSH or TLS algorithms, likewise."""
    place: Place = field(default_factory=Place, repr=False)
    """Among those that have not logged in."""
    _settled: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def on_settled(self, told: Callable[[], None]) -> None:
        """Have `told` called once, when the connection waits for no login any more."""
        self._settled.append(told)

    def settled(self) -> None:
        """The client has logged in or is gone; a second call does nothing."""
        with suppress(IndexError):  # two threads may see to it at once
            while True:
                self._settled.pop()()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A name that a client gave, and what the accounts make of it."""

    name: str
    candidate: Candidate | None = None
    device: Device | None = None
    device_key: str = ""
    """What was offered, known or not: it helps to register a device."""
    refusal: Refusal | None = field(default=None)


class Office:
    """The hands of a login."""

    def __init__(  # noqa: PLR0913 - composed once, by keyword
        self,
        *,
        watch: AccountsWatch,
        sessions: Sessions,
        credentials: Credentials,
        attempts: Attempts,
        clerk: Clerk,
        gate: Gate,
        clock: Clock,
        accounts_age_s_max: int,
    ) -> None:
        """Work with the accounts of `watch`, record through `gate`.

        What a person changes about themselves goes through `clerk`.
        """
        self.watch = watch
        self.sessions = sessions
        self.credentials = credentials
        self.clock = clock
        self.attempts = attempts
        self._clerk = clerk
        self._gate = gate
        self._age_s_max = accounts_age_s_max

    def claim(self, name: str, arrival: Arrival) -> Claim:
        """Who is meant, and whether that login may come here at all."""
        if self.watch.age_s > self._age_s_max:
            return Claim(name=name, refusal=Refusal(Stage.LOGIN, "accounts_stale"))
        found = self.watch.admission().candidate(
            name, arrival.source, self.clock.time_us()
        )
        if isinstance(found, Refusal):
            return Claim(name=name, refusal=found)
        rules = self.watch.admission()
        refusal = rules.standing(found.login) or rules.crypto(
            found, arrival.algorithms, self.clock.time_us()
        )
        return Claim(name=name, candidate=found, refusal=refusal)

    def with_key(self, claim: Claim, key_sha256: str) -> Claim:
        """The claim with the device that has this key, or with its refusal."""
        if claim.candidate is None or claim.refusal is not None:
            return Claim(
                name=claim.name,
                candidate=claim.candidate,
                device_key=key_sha256,
                refusal=claim.refusal,
            )
        rules, now_us = self.watch.admission(), self.clock.time_us()
        found = rules.device_by_key(claim.candidate.login, key_sha256, now_us)
        if isinstance(found, Device):
            found = rules.strength(claim.candidate, found, now_us) or found
        return Claim(
            name=claim.name,
            candidate=claim.candidate,
            device=found if isinstance(found, Device) else None,
            device_key=key_sha256,
            refusal=found if isinstance(found, Refusal) else None,
        )

    def pend(self, arrival: Arrival, claim: Claim) -> None:
        """Let the key of a client certificate wait for an administrator."""
        if claim.candidate is None:
            return
        self.credentials.pending.note(
            PendingKey(
                login_id=claim.candidate.login.id,
                key_sha256=claim.device_key,
                subject=clean(arrival.certificate_name),
                proved=True,
                line=claim.candidate.line.name,
                source=arrival.source.ip,
                protocol=str(arrival.protocol),
                client=clean(arrival.client),
            )
        )

    def window_us(self, arrival: Arrival, claim: Claim) -> int:
        """Until when an unlock window spares this device the code; 0: none does."""
        candidate = claim.candidate
        if candidate is None:
            return 0
        until_us = self.watch.admission().window_us(
            candidate.login, claim.device, candidate.line
        )
        if until_us > self.clock.time_us():
            return until_us
        # Another process may have opened one a moment ago.
        return self.credentials.window_us(self.actor(arrival, claim))

    def spend_code(self, arrival: Arrival, claim: Claim, code: str) -> str | Refusal:
        """Accept a code once, and open a window by it where the settings say so.

        Returns:
            Which kind of code it was.

        Raises:
            AuditUnavailableError: The window is not recorded; the code is not spent.
        """
        actor = self.actor(arrival, claim)
        if not self.credentials.unlocks_sftp:
            return self.credentials.use_code(actor.login_id, code)
        found = self.credentials.unlock(actor, code)
        return found if isinstance(found, Refusal) else found.factor

    def refused(
        self,
        arrival: Arrival,
        claim: Claim,
        refusal: Refusal,
        detail: dict[str, Json] | None = None,
    ) -> LoginRefusedError:
        """Record a refusal; the error to raise, if the caller raises one.

        Raises:
            AuditUnavailableError: It is not recorded, so it must not be answered.
        """
        facts: Fields = {
            "reason": LoginRefusedError.reason,
            "stage": refusal.stage,
            "rule": refusal.rule,
            "algorithms": arrival.algorithms,
        }
        if detail:
            facts["detail"] = detail
        actor = self.actor(arrival, claim)
        counted = self.attempts.failed(actor, claim.name, refusal, self._lines(arrival))
        if not counted:
            self._gate.event(
                actor_fields(actor), Operation.LOGIN, Outcome.REFUSED, **facts
            )
        return LoginRefusedError(stage=refusal.stage, rule=refusal.rule)

    def too_soon(self, arrival: Arrival, claim: Claim) -> Refusal | None:
        """Whether this login on this device has to wait still, unseen."""
        actor, lines = self.actor(arrival, claim), self._lines(arrival)
        return self.attempts.too_soon(actor, claim.name, lines)

    def _lines(self, arrival: Arrival) -> tuple[Line, ...]:
        lines = self.watch.admission().lines(arrival.source, self.clock.time_us())
        return () if isinstance(lines, Refusal) else lines

    def admit(self, arrival: Arrival, claim: Claim, factors: list[str]) -> Session:
        """Open the session of a claim that is wholly proved.

        Raises:
            LoginRefusedError: The accounts changed at this very moment; recorded.
            AuditUnavailableError: The login is not recorded, so there is none.
        """
        assert claim.candidate is not None  # noqa: S101 - a proved claim has one
        actor = self.actor(arrival, claim, session=str(ULID()).lower())
        session = Session(actor, started_us=self.clock.time_us())
        self.sessions.open(session, claim.candidate.login.credentials_us)
        if session.cut_rule is not None:
            self.sessions.close(session)
            raise self.refused(arrival, claim, Refusal(Stage.SESSION, session.cut_rule))
        told: list[Json] = list(factors)
        try:
            self._gate.event(
                session.fields,
                Operation.LOGIN,
                Outcome.DONE,
                algorithms=arrival.algorithms,
                detail={"factors": told},
            )
        except BaseException:
            self.sessions.close(session)
            raise
        self.attempts.succeeded(actor)
        return session

    def own_account(self, session: Session) -> OwnAccount:
        """What the person of this session may do about their own login."""
        return OwnAccount(self._clerk, self._gate, session)

    def leave(self, session: Session, reason: str = "") -> None:
        """Record that a session is over; a second call does nothing.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        if not self.sessions.close(session):
            return
        facts: Fields = {
            "duration_us": self.clock.time_us() - session.started_us,
            "reason": reason,
        }
        outcome = Outcome.DONE
        if session.cut_rule is not None:
            outcome = Outcome.ABORTED
            facts["reason"] = "session_cut"
            facts["stage"] = Stage.SESSION
            facts["rule"] = session.cut_rule
        self._gate.event(session.fields, Operation.LOGOUT, outcome, **facts)

    def actor(self, arrival: Arrival, claim: Claim, session: str = "") -> Actor:
        """Who a record names: no more than what is known, and no secret.

        A name that no login can have is left out: people type passwords into it.
        """
        candidate, device = claim.candidate, claim.device
        name = claim.name if _LOGIN.fullmatch(claim.name) else ""
        return Actor(
            protocol=arrival.protocol,
            contract=candidate.contract if candidate else "",
            contract_id=candidate.login.contract_id if candidate else "",
            login=candidate.login.name if candidate else name,
            login_id=candidate.login.id if candidate else "",
            kind=candidate.login.kind if candidate else None,
            device=device.id if device else "",
            device_name=device.name if device else "",
            device_key=device.key_sha256 if device else claim.device_key,
            line=candidate.line.name if candidate else "",
            line_id=candidate.line.id if candidate else "",
            source=arrival.source,
            session=session,
            client=clean(arrival.client),
            algorithms=arrival.algorithms,
            charset=_charset(arrival.protocol, device),
        )


def _charset(protocol: Protocol, device: Device | None) -> Charset:
    """WebDAV names are UTF-8 whoever sends them (RFC 3986, section 2.5)."""
    if device is None or protocol is not Protocol.SFTP:
        return Charset.UTF8
    return device.charset


def clean(text: str) -> str:
    """A client's self-description, printable and short."""
    kept = "".join(c if c.isprintable() else "?" for c in text)
    return kept[:CLIENT_CHARACTERS_MAX]
