"""A change of the accounts: one recorded act and one transaction.

The transaction also writes the act's id, so that after a crash recovery can tell an
act that took effect from one that did not, and raises the revision, so that every
process notices.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from server.audit.gate import Act, Gate
from server.auth import live
from server.db.engine import Connection, DatabaseError, Engine, reading, writing
from server.model.clock import Clock
from server.model.errors import ServerError, UnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome

_TEXT = "The accounts database does not answer; try again later."


class Change:
    """What a change works with; its effects come after `begin`."""

    def __init__(self, act: Act, connection: Connection, now_us: int) -> None:
        """Only `Ledger.change` makes one."""
        self.connection = connection
        self.now_us = now_us
        self.revision = 0
        self._act = act

    def concern(self, **facts: str) -> None:
        """Name the contract that the change is about, before anything can fail."""
        if "contract" in facts:
            self._act.note(contract=facts["contract"])

    def begin(self, target: str, before: Json = None, after: Json = None) -> None:
        """All checks are passed: write the intent, durable.

        Args:
            target: What is changed, by its names.
            before: Its state until now; secrets masked.
            after: Its state from now on; secrets masked.

        Raises:
            AuditUnavailableError: Nothing may be done.
        """
        self._act.note(
            target=target,
            detail={
                key: value
                for key, value in (("before", before), ("after", after))
                if value is not None
            },
        )
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
                    change = Change(act, connection, now_us)
                    yield change
                    change.revision = live.mark_applied(connection, act.id, now_us)
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
