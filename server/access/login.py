"""The desk where every connection arrives: the line first, then who it is.

What the front ends know of admission is on this page: an arrival, the SSH login or the
Basic login of a connection, and verdicts that never say why.
"""

from collections.abc import Callable
from dataclasses import replace

from server.access import diary
from server.access.basic_login import BasicLogin
from server.access.first_login import Question
from server.access.knocks import Knocks
from server.access.office import Arrival, Office, clean
from server.access.own_account import OwnAccount
from server.access.ssh_login import SshLogin, Verdict
from server.access.verdicts import Verdicts
from server.auth.admission import Admission, Refusal
from server.model.errors import LoginRefusedError
from server.model.event import Json
from server.model.identity import Actor, Source, SourceRefusedError
from server.model.operation import Protocol, Stage
from server.model.session import Session

__all__ = [
    "Arrival",
    "BasicLogin",
    "Desk",
    "OwnAccount",
    "Question",
    "SshLogin",
    "Verdict",
]


class Desk:
    """Where connections arrive. Thread-safe."""

    def __init__(self, office: Office, knocks: Knocks, *, key_queries_max: int) -> None:
        """Admit by `office`; knocks outside every line are counted by `knocks`."""
        self._office = office
        self._knocks = knocks
        self._key_queries_max = key_queries_max
        office.sessions.every_second(office.credentials.pending.flush)
        self._verdicts = Verdicts()
        office.watch.on_change(lambda _admission: self._verdicts.drop_all())
        office.sessions.every_second(knocks.flush)
        office.sessions.every_second(office.attempts.bans.refresh)

    def arrive(self, peer: object, protocol: Protocol, *, via: str = "") -> Arrival:
        """Check the line, right after `accept` and before any byte is sent.

        Args:
            peer: The socket's peer name, or the client that a trusted proxy names.
            protocol: Which door.
            via: That proxy's address.

        Raises:
            LoginRefusedError: In no active line, or banned; recorded or counted.
                Close without a word.
            AuditUnavailableError: It cannot be recorded. Close without a word.
        """
        try:
            source = replace(Source.of_peer(peer), via=via)
        except SourceRefusedError:
            raise self._knock(protocol, None, _NO_ADDRESS) from None
        found = self._office.watch.admission().lines(
            source, self._office.clock.time_us()
        )
        if isinstance(found, Refusal):
            raise self._knock(protocol, source, found)
        banned = self._office.attempts.bans.find(source, found)
        if banned is not None:
            raise self._knock(protocol, source, banned)
        return Arrival(
            source=source,
            protocol=protocol,
            profile=Admission.profile(found, self._office.clock.time_us()),
        )

    def turn_away(
        self,
        arrival: Arrival,
        stage: Stage,
        rule: str,
        detail: dict[str, Json] | None = None,
    ) -> None:
        """Record or count a connection of a line that ends before anybody logs in.

        Args:
            arrival: The connection.
            stage: `handshake` for peers that cannot agree with us, `device` for a TLS
                client without a certificate that we know, `limit` for one connection
                too many.
            rule: Which rule of that stage.
            detail: What the peer offered; a hint in plain words is added.

        Raises:
            AuditUnavailableError: It cannot be recorded.
        """
        actor = Actor(
            protocol=arrival.protocol,
            source=arrival.source,
            client=clean(arrival.client),
        )
        told = dict(detail or {})
        hint = diary.hint(rule, told, arrival.profile)
        if hint:
            told["hint"] = hint
        self._knocks.add(actor, Refusal(stage, rule), told)

    def ssh(self, arrival: Arrival) -> SshLogin:
        """The authentication of one SSH connection."""
        return SshLogin(self._office, arrival, key_queries_max=self._key_queries_max)

    def basic(
        self,
        arrival: Arrival,
        device_key: str | None,
        leaving: Callable[[Session], None] = lambda _: None,
    ) -> BasicLogin:
        """The authentication of one HTTP connection.

        Args:
            arrival: The connection.
            device_key: SPKI SHA-256 of the *verified* client certificate, lower-case
                hexadecimal; None on `[webdav.secret]`.
            leaving: Called with each session before its end is recorded.
        """
        return BasicLogin(self._office, self._verdicts, arrival, device_key, leaving)

    def own_account(self, session: Session) -> OwnAccount:
        """What the person of this session may do about their own login."""
        return self._office.own_account(session)

    def leave(self, session: Session, reason: str = "") -> None:
        """Record that a session is over; a second call does nothing.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        self._office.leave(session, reason)

    def close(self) -> None:
        """Tell the knocks that are still counted.

        Raises:
            AuditUnavailableError: They are not recorded.
        """
        self._office.credentials.pending.flush()
        self._knocks.flush(closing=True)

    def _knock(
        self, protocol: Protocol, source: Source | None, refusal: Refusal
    ) -> LoginRefusedError:
        self._knocks.add(Actor(protocol=protocol, source=source), refusal)
        return LoginRefusedError(stage=refusal.stage, rule=refusal.rule)


_NO_ADDRESS = Refusal(Stage.LINE, "no_address")
