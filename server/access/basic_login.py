"""Logging in over HTTP: Basic credentials on a connection whose device is known.

On `[webdav]` the device is the verified client certificate's key; on
`[webdav.secret]` the user is `alice+laptop` and the password that device's secret.
Where a one-time code is required, six digits typed after the password open an unlock
window for login, device and line; while it stands the password is enough, and digits
after it are ignored, because clients repeat what was typed with every request.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from server.access.office import Arrival, Claim, Office
from server.access.verdicts import NO_END_US, Verdicts
from server.auth import totp
from server.auth.admission import Need, Refusal, needs_of
from server.auth.secret import secret_matches
from server.auth.snapshot import Device
from server.model.operation import Stage
from server.model.session import Session

SESSIONS_MAX: Final = 4
"""Users whose sessions one connection keeps at the same time."""

_CODE_MISSING: Final = Refusal(Stage.TOTP, "code_missing")
_Check = Callable[[str], Refusal | None]


@dataclass(frozen=True, slots=True)
class _Held:
    session: Session
    until_us: int


class BasicLogin:
    """The sessions of one HTTP connection. For one thread at a time."""

    def __init__(
        self,
        office: Office,
        verdicts: Verdicts,
        arrival: Arrival,
        device_key: str | None,
        leaving: Callable[[Session], None],
    ) -> None:
        """Begin without a session; see `Desk.basic`."""
        self._office = office
        self._verdicts = verdicts
        self._arrival = arrival
        self._device_key = device_key
        self._leaving = leaving
        self._held: dict[bytes, _Held] = {}

    def admit(self, user: str, password: str) -> Session:
        """The session of these credentials: the same again while it lives.

        Raises:
            LoginRefusedError: Not admitted; recorded, and it never says why.
            AuditUnavailableError: Nothing can be recorded, so nobody is admitted.
        """
        fingerprint = self._verdicts.fingerprint(user, password)
        held = self._held.get(fingerprint)
        now_us = self._office.clock.time_us()
        if held and held.session.cut_rule is None and now_us < held.until_us:
            return held.session
        if held:
            del self._held[fingerprint]
            self._leave(held, "not_valid_any_more")
        return self._admit(fingerprint, user, password)

    def close(self) -> None:
        """The connection is gone: record the end of its sessions.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        while self._held:
            _, held = self._held.popitem()
            self._leave(held, "connection_closed")

    def _leave(self, held: _Held, reason: str) -> None:
        try:
            self._leaving(held.session)
        finally:
            self._office.leave(held.session, reason)

    def _admit(self, fingerprint: bytes, user: str, password: str) -> Session:
        revision = self._office.watch.snapshot().revision
        claim = self._claim(user)
        cached = self._verdicts.fingerprint(*_subject(claim), user, password)
        known = self._verdicts.find(
            cached, revision=revision, now_us=self._office.clock.time_us()
        )
        if known is not None and claim.refusal is None:
            until_us, proved = known
        else:
            until_us, proved = self._prove(claim, password)
            self._verdicts.keep(
                cached, revision=revision, until_us=until_us, proved=proved
            )
        session = self._office.admit(self._arrival, claim, proved)
        if len(self._held) >= SESSIONS_MAX:
            oldest = self._held.pop(next(iter(self._held)))
            self._leave(oldest, "too_many_users_on_a_connection")
        self._held[fingerprint] = _Held(session, until_us)
        return session

    def _claim(self, user: str) -> Claim:
        if self._device_key is not None:
            claim = self._office.claim(user, self._arrival)
            return self._office.with_key(claim, self._device_key)
        return self._claim_by_name(user)

    def _claim_by_name(self, user: str) -> Claim:
        account, at, contract = user.partition("@")
        login, _, device_name = account.partition("+")
        claim = self._office.claim(f"{login}{at}{contract}", self._arrival)
        claim = replace(claim, name=user)
        if claim.refusal is not None or claim.candidate is None:
            return claim
        found = self._office.watch.admission().device_by_name(
            claim.candidate.login, device_name, self._office.clock.time_us()
        )
        if isinstance(found, Device):
            return replace(claim, device=found)
        return replace(claim, refusal=found)

    def _prove(self, claim: Claim, password: str) -> tuple[int, list[str]]:
        """Until when the credentials hold, and what they prove.

        Raises:
            LoginRefusedError: They do not.
        """
        check = _Counted(self._check_of(claim))
        soon = self._office.too_soon(self._arrival, claim)
        found = soon or self._judge(claim, password, check)
        if isinstance(found, Refusal):
            # As many checks for every refusal: the time must not tell its stage.
            check.spend(2 if totp.split_code(password)[1] else 1)
            raise self._office.refused(self._arrival, claim, found)
        factor = "key" if self._device_key is not None else "secret"
        proved = [factor, *(["password"] if check.right and factor == "key" else [])]
        return found, [*proved, *(["code"] if found != NO_END_US else [])]

    def _judge(self, claim: Claim, password: str, check: "_Counted") -> int | Refusal:
        if claim.refusal is not None:
            return self._pend(claim, password, check) or claim.refusal
        return self._decide(claim, password, check)

    def _pend(self, claim: Claim, password: str, check: "_Counted") -> Refusal | None:
        """A right password beside a certificate that is no device's: let it wait."""
        if self._device_key is None or not _is_unknown(claim):
            return None
        base, code = totp.split_code(password)
        if (not code or check(base) is not None) and check(password) is not None:
            return None
        self._office.pend(self._arrival, claim)
        return Refusal(Stage.DEVICE, "key_pending")

    def _check_of(self, claim: Claim) -> _Check:
        if self._device_key is None:
            stored = claim.device.secret_hash if claim.device else None
            return lambda secret: (
                None
                if secret_matches(stored, secret)
                else Refusal(Stage.DEVICE, "wrong_secret")
            )
        login = claim.candidate.login if claim.candidate else None
        known = claim.refusal is None or _is_unknown(claim)
        usable = login.password_hash if login and known else None

        def check(password: str) -> Refusal | None:
            refusal = self._office.credentials.password(usable, password)
            if refusal is None and login is not None and claim.refusal is None:
                actor = self._office.actor(self._arrival, claim)
                self._office.credentials.renew_hash(actor, login, password)
            return refusal

        return check

    def _decide(self, claim: Claim, password: str, check: "_Counted") -> int | Refusal:
        if claim.candidate is None:
            return Refusal(Stage.LOGIN, "unknown_login")
        needs = needs_of(claim.candidate.login)
        if self._device_key is not None and Need.PASSWORD not in needs:
            return NO_END_US
        if Need.CODE not in needs:
            return check(password) or NO_END_US
        return self._decide_with_code(claim, password, check)

    def _decide_with_code(
        self, claim: Claim, password: str, check: "_Counted"
    ) -> int | Refusal:
        base, code = totp.split_code(password)
        if not code or check(base) is not None:
            # No digits, or a password of its own that ends with digits.
            wrong = check(password)
            return (
                wrong or self._office.window_us(self._arrival, claim) or _CODE_MISSING
            )
        actor = self._office.actor(self._arrival, claim)
        until_us = self._office.window_us(self._arrival, claim)
        if until_us:
            return until_us
        found = self._office.credentials.unlock(actor, code)
        if isinstance(found, Refusal):
            # The same digits may have opened a window a moment ago, elsewhere.
            return self._office.credentials.window_us(actor) or found
        return found.until_us


def _is_unknown(claim: Claim) -> bool:
    """Whether nothing is missing but the device."""
    return claim.refusal is not None and claim.refusal.rule == "unknown_key"


def _subject(claim: Claim) -> tuple[str, str, str]:
    """Login, device and line: a verdict holds for these three together."""
    candidate, device = claim.candidate, claim.device
    return (
        candidate.login.id if candidate else "",
        device.id if device else "",
        candidate.line.id if candidate else "",
    )


class _Counted:
    """A check that counts how often it ran."""

    def __init__(self, check: _Check) -> None:
        self._check = check
        self._ran = 0
        self.right = False

    def __call__(self, password: str) -> Refusal | None:
        self._ran += 1
        refusal = self._check(password)
        self.right = self.right or refusal is None
        return refusal

    def spend(self, times: int) -> None:
        """Run until it ran `times`, to cost the same."""
        while self._ran < times:
            self("")
