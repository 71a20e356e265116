"""One act: what is noted of it, and its records in their order."""

import threading
from types import TracebackType
from typing import Final, Protocol, Self, Unpack, cast

from ulid import ULID

from server.audit import hashchain
from server.model.errors import (
    AuditUnavailableError,
    LockedError,
    RefusedError,
    ServerError,
    SessionCutError,
)
from server.model.event import Fields, Json, without_empty
from server.model.operation import Operation, Outcome, Phase

RAW_CHARACTERS_MAX: Final = 8192
"""Longer texts of a client are cut in the record, and the record says so."""


class Writer(Protocol):
    """What an act asks of the gate."""

    def require_room(self, operation: Operation) -> None:
        """Raise if no act may begin."""
        ...

    def append(self, record: Fields, *, essential: bool) -> int:
        """Write a record; its seq."""
        ...

    def wait(self, seq: int) -> None:
        """Return once it is durable."""
        ...

    def now_ns(self) -> int:
        """The clock that durations are measured with."""
        ...


class Act:
    """One act from its first check to its outcome.

    Its outcome is written exactly once, whoever closes it first.
    """

    __slots__ = (
        "_facts",
        "_gate",
        "_id",
        "_kept",
        "_lock",
        "_operation",
        "_raw",
        "_started_ns",
        "_target_raw",
        "_who",
        "begun",
        "closed",
    )

    def __init__(
        self,
        gate: Writer,
        who: Fields,
        operation: Operation,
        *,
        raw: str,
        target_raw: str,
    ) -> None:
        """Only `Gate.act` makes one."""
        self._id = ""
        self.begun = False
        self.closed = False
        self._gate = gate
        self._who = who
        self._operation = operation
        self._started_ns = gate.now_ns()
        self._facts: Fields = {}
        self._raw = _shown(raw)
        self._target_raw = _shown(target_raw)
        self._kept = False
        self._lock = threading.Lock()  # Guards _facts, begun, closed. Taken before
        # the journal's.

    @property
    def id(self) -> str:
        """Its ULID; made when it is asked for, since most looks leave no record."""
        if not self._id:
            self._id = str(ULID())
        return self._id

    def note(self, **facts: Unpack[Fields]) -> None:
        """Add facts that all further records of the act carry; details merge."""
        with self._lock:
            _merge(self._facts, facts)

    def begin(self) -> None:
        """Write the intent and wait until it is durable.

        Raises:
            AuditUnavailableError: Nothing may be done.
            AuditSpaceError: An upload or copy, and the trail's space is short.
        """
        self._gate.require_room(self._operation)
        with self._lock:
            seq = self._gate.append(self._record(Phase.INTENT, {}), essential=False)
            self.begun = True
        self._gate.wait(seq)

    def progress(self, *, wait: bool = False, **facts: Unpack[Fields]) -> None:
        """Tell how far the act has come.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        with self._lock:
            if self.closed:
                return
            record = self._record(Phase.PROGRESS, facts)
            seq = self._gate.append(record, essential=True)
        if wait:
            self._gate.wait(seq)

    def close(
        self, outcome: Outcome, /, *, wait: bool = True, **facts: Unpack[Fields]
    ) -> None:
        """Write how the act ended; a second call does nothing.

        Args:
            outcome: How it ended.
            wait: Return only when the record is durable.
            **facts: What the outcome tells beside what was noted.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        with self._lock:
            if self.closed:
                return
            phase = Phase.OUTCOME if self.begun else Phase.EVENT
            record = self._record(phase, facts)
            record["outcome"] = outcome
            record["duration_us"] = (self._gate.now_ns() - self._started_ns) // 1000
            seq = self._gate.append(record, essential=True)
            self.closed = True
        if wait:
            self._gate.wait(seq)

    def fail(
        self, error: BaseException, /, *, wait: bool = True, **facts: Unpack[Fields]
    ) -> None:
        """Close the act as what this error says of it.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        told: Fields = {"reason": "internal"}
        outcome = Outcome.FAILED
        if isinstance(error, ServerError):
            told = {"reason": error.reason}
            outcome = error.outcome
        if isinstance(error, RefusedError | LockedError):
            told["stage"] = error.stage
            told["rule"] = error.rule
        if self.begun and isinstance(error, SessionCutError):
            outcome = Outcome.ABORTED
        _merge(told, facts)
        self.close(outcome, wait=wait, **told)

    @property
    def operation(self) -> Operation:
        """What the act does."""
        return self._operation

    def forgo(self) -> None:
        """Write no record of the act: it has no effect, shows nothing, and is counted.

        Only before `begin`, and only for what docs/adr/0023 names.
        """
        with self._lock:
            assert not self.begun, "an act that has begun has an outcome"  # noqa: S101 - the caller is wrong
            self.closed = True

    def keep(self) -> Self:
        """Leave the act open when the block ends well: a handle owns it now."""
        self._kept = True
        return self

    def __enter__(self) -> Self:
        """Open the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the outcome: done, or what the error says; the error goes on."""
        if error is None:
            if not self._kept:
                self.close(Outcome.DONE)
            return
        try:
            self.fail(error)
        except AuditUnavailableError as unwritten:
            # A refusal that is not on record must not be answered as if it was.
            if not self.begun and not isinstance(error, AuditUnavailableError):
                raise unwritten from error

    def _record(self, phase: Phase, facts: Fields) -> Fields:
        record: Fields = {
            **self._who,
            **self._facts,
            "act": self.id,
            "phase": phase,
            "operation": self._operation,
        }
        if facts:
            _merge(record, facts)
        if "path" in facts:
            return record  # a child of the act: the client named its parent
        if self._raw and self._raw != record.get("path"):
            record["path_raw"] = self._raw
        if self._target_raw and self._target_raw != record.get("target"):
            detail = cast("dict[str, Json]", record.get("detail") or {})
            record["detail"] = {**detail, "target_raw": self._target_raw}
        return record


def _merge(noted: Fields, facts: Fields) -> None:
    """Add what says something; a detail is joined to the one that is there.

    Into a new one: a record that was written keeps the former.
    """
    before, after = noted.get("detail"), facts.get("detail")
    noted.update(without_empty(facts))
    if isinstance(before, dict) and isinstance(after, dict):
        noted["detail"] = {**before, **after}


def _shown(raw: str) -> str:
    if len(raw) > RAW_CHARACTERS_MAX:
        raw = f"{raw[:RAW_CHARACTERS_MAX]}… ({len(raw)} characters)"
    return hashchain.spell(raw)
