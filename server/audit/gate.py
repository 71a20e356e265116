"""The gate: every act passes here, and nothing happens before its record stands.

    with gate.act(session.fields, Operation.DELETE, raw=raw) as act:
        ...                      parse, rights, locks: a refusal is one record
        act.begin()              the intent, durable
        ...                      the effect
                                 leaving the block: the outcome, durable

Intents and events that let something happen need room in the journal; outcomes and
refusals may use its reserve.
"""

from typing import Final, Unpack

from ulid import ULID

from server.audit.act import Act as Act  # noqa: PLC0414 - callers name it from here
from server.audit.glances import Glances
from server.audit.groupsync import FAILED_TEXT
from server.audit.journal import Journal
from server.audit.recovery import OpenAct
from server.audit.space import Level
from server.model.clock import Clock
from server.model.errors import AuditSpaceError, AuditUnavailableError
from server.model.event import Fields, without_empty
from server.model.operation import UPLOADS, Operation, Outcome, Phase
from server.settings.schema import AuditSettings

_SPACE_TEXT: Final = (
    "The server's audit trail is short of space, so it takes no uploads now. "
    "Reading and deleting still work; please tell the administrator."
)

_FREE: Final = frozenset({Operation.LOGOUT})


class Gate:
    """What the VFS and access record through. Thread-safe."""

    def __init__(
        self, journal: Journal, *, clock: Clock, settings: AuditSettings
    ) -> None:
        """Record into `journal`."""
        self._journal = journal
        self._clock = clock
        self._glances = Glances(self, clock=clock, window_s=settings.listing_window_s)

    def act(
        self, who: Fields, operation: Operation, *, raw: str = "", target_raw: str = ""
    ) -> "Act":
        """Prepare an act; nothing is written yet.

        Args:
            who: The actor's fields.
            operation: What is to be done.
            raw: The path as the client sent it.
            target_raw: The second path of a rename or copy, as sent.
        """
        return Act(self, who, operation, raw=raw, target_raw=target_raw)

    def event(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        /,
        *,
        wait: bool = True,
        **facts: Unpack[Fields],
    ) -> None:
        """Record an act that one record tells whole.

        Args:
            who: The actor's fields.
            operation: What was done or refused.
            outcome: How it ended. `done` needs room; anything else may use the
                reserve, as logouts and the system's own records may.
            wait: Return only when it is durable.
            **facts: More fields; `act` is made when it is not given.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        essential = (
            outcome is not Outcome.DONE
            or operation in _FREE
            or operation.startswith("system.")
        )
        if not essential:
            self.require_room(operation)
        self.tell(who, operation, outcome, wait=wait, essential=essential, facts=facts)

    def tell(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        *,
        wait: bool,
        essential: bool,
        facts: Fields,
    ) -> None:
        """Write an event without asking for room (this package's own way in).

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        record: Fields = {
            **who,
            "act": str(ULID()),
            **without_empty(facts),
            "phase": Phase.EVENT,
            "operation": operation,
            "outcome": outcome,
        }
        seq = self.append(record, essential=essential)
        if wait:
            self.wait(seq)

    def glance(
        self,
        who: Fields,
        operation: Operation,
        *,
        folder_path: str,
        path: str,
        folder: str,
        reason: str = "",
    ) -> None:
        """Record a listing or a stat; repeats within the window are counted.

        Args:
            who: A session's fields.
            operation: `list` or `stat`.
            folder_path: The folder listed, or that which holds the path looked at.
            path: The path itself.
            folder: The shared folder's name, empty in a private one.
            reason: Why an act of another kind is only counted, too.

        Raises:
            AuditUnavailableError: It is not recorded, so it must not be answered.
        """
        self._glances.add(
            who,
            operation,
            folder_path=folder_path,
            path=path,
            facts={"folder": folder, "reason": reason},
        )

    def leave(self, session_id: str) -> None:
        """Tell the counts that a session leaves behind.

        Raises:
            AuditUnavailableError: They are not recorded.
        """
        self._glances.leave(session_id)

    def recovered(
        self, act: OpenAct, outcome: Outcome, /, **facts: Unpack[Fields]
    ) -> None:
        """Close an act of the process before; `settle` makes many durable at once.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        record: Fields = {
            **act.facts,
            **without_empty(facts),
            "phase": Phase.OUTCOME,
            "outcome": outcome,
            "recovered": True,
        }
        self.append(record, essential=True)

    def settle(self) -> None:
        """Make all that was recorded durable.

        Raises:
            AuditUnavailableError: The sync failed.
        """
        self._journal.settle()

    def require_room(self, operation: Operation) -> None:
        """Return if an act may begin, or go on, with the room that is left.

        Raises:
            AuditUnavailableError: Only the reserve is left, or the journal failed.
            AuditSpaceError: Too little for an upload or a copy.
        """
        level = self._journal.level
        if self._journal.failed or level >= Level.RESERVE:
            raise AuditUnavailableError(FAILED_TEXT)
        if level >= Level.NO_UPLOADS and operation in UPLOADS:
            raise AuditSpaceError(_SPACE_TEXT)

    def require_running(self) -> None:
        """Return if a transfer that has begun may move its next block.

        Raises:
            AuditUnavailableError: Only the reserve is left, or the journal failed.
        """
        if self._journal.failed or self._journal.level >= Level.RESERVE:
            raise AuditUnavailableError(FAILED_TEXT)

    def append(self, record: Fields, *, essential: bool) -> int:
        """Write one record (this package's own way in).

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        return self._journal.append(record, essential=essential)

    def wait(self, seq: int) -> None:
        """Return once the record `seq` is durable (this package's own way in).

        Raises:
            AuditUnavailableError: It may not be.
        """
        self._journal.wait(seq)

    def now_ns(self) -> int:
        """The clock that durations are measured with."""
        return self._clock.mono_ns()

    def close(self) -> None:
        """Tell all outstanding counts; the journal stays open."""
        self._glances.close()
