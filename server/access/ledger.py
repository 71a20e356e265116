"""A change of the accounts: one recorded act and one transaction.

The transaction also writes the act's id, so that after a crash recovery can tell an
act that took effect from one that did not, and raises the revision, so that every
process notices.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from server.audit.act import Act
from server.audit.gate import Gate
from server.auth import live
from server.db.engine import Connection, DatabaseError, Engine, reading, writing
from server.model.clock import Clock
from server.model.errors import ServerError, UnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome

_TEXT = "The accounts database does not answer; try again later."


class Change:
    """What a change works with; its effects come after `begin`."""

    def __init__(
        self, act: Act, connection: Connection, now_us: int, revision: int
    ) -> None:
        """Only `Ledger.change` makes one."""
        self.connection = connection
        self.now_us = now_us
        self.revision = revision
        self._act = act

    def about(self, target: str, contract: str = "") -> None:
        """Name what the change is about, before anything can fail."""
        self._act.note(target=target, contract=contract)

    def begin(self, before: Json = None, after: Json = None) -> None:
        """All checks are passed: write the intent, durable.

        Args:
            before: The state until now; secrets masked.
            after: The state from now on; secrets masked.

        Raises:
            AuditUnavailableError: Nothing may be done.
        """
        told = (("before", before), ("after", after))
        self._act.note(detail={key: value for key, value in told if value is not None})
        self._act.begin()

    def refuse(self, error: ServerError) -> None:
        """Leave the change: the transaction is undone and the error recorded.

        Raises:
            ServerError: Always `error`.
        """
        raise error


class Ledger:
    """Makes changes, and closes those that a crash left open."""

    def __init__(self, engine: Engine, gate: Gate, *, clock: Clock) -> None:
        """Change the accounts in `engine`, record through `gate`."""
        self._engine = engine
        self._gate = gate
        self._clock = clock

    @contextmanager
    def change(self, who: Fields, operation: Operation) -> Iterator[Change]:
        """One act and one transaction; leaving the block commits.

        Raises:
            UnavailableError: The accounts database does not answer; nothing was done,
                or the record says `unknown`.
            AuditUnavailableError: The trail cannot be written.
        """
        now_us = self._clock.time_us()
        with self._gate.act(who, operation) as act:
            try:
                with writing(self._engine) as connection:
                    # First of all: its row's lock puts concurrent changes in order.
                    revision = live.mark_applied(connection, act.id, now_us)
                    yield Change(act, connection, now_us, revision)
            except DatabaseError as error:
                if not self._took_effect(act):
                    raise UnavailableError(_TEXT) from error

    def _took_effect(self, act: Act) -> bool:
        """Ask, when a commit was not answered, whether it happened.

        Raises:
            UnavailableError: Nobody can tell; the record says `unknown`.
        """
        try:
            with reading(self._engine) as connection:
                return live.is_applied(connection, act.id)
        except DatabaseError as error:
            act.close(
                Outcome.UNKNOWN if act.begun else Outcome.FAILED, reason="database"
            )
            raise UnavailableError(_TEXT) from error
