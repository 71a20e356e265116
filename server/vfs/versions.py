"""The versions that a path has had, and which of them the trash holds.

Each change of a path ends one version; it begins another unless it took the file away.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ulid import ULID

from server.audit.lookup import Told
from server.model.clock import parse_rfc3339
from server.model.errors import NotFoundError, StateError
from server.model.event import Fields
from server.model.operation import Operation, Outcome, Phase
from server.vfs.told import detail_of, replaces_at

Inside = tuple[str, ...]
"""A path below what an act destroyed."""

_WRITES: Final = frozenset({Operation.WRITE, Operation.DEPOSIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an act did to a path."""

    time_us: int
    until_us: int
    """When the act had ended; an opening in place changed the path long before."""
    act: str
    ended: bool
    """Whether something stood there before."""
    began: bool
    """Whether something stands there afterwards."""
    inside: Inside | None
    """Where below the act's entry in the trash the old version should lie; None: it did
    not go there."""


def changes_of(
    records: Iterable[Fields], path: str, acts: dict[str, Told]
) -> list[Change]:
    """The changes of a path, in their order.

    Args:
        records: What the trail tells of it (`Lookup.naming`).
        path: The path.
        acts: The acts of those records.
    """
    found = [
        change
        for record in records
        if (told := acts.get(record["act"])) is not None
        and (change := _change(record, path, told)) is not None
    ]
    return sorted(found, key=lambda change: (change.time_us, not change.ended))


def newest(found: list[Change], is_kept: Callable[[Change], bool]) -> Change:
    """The change that ended the version which the trash got last.

    Raises:
        NotFoundError: It holds none.
    """
    for change in reversed(found):
        if is_kept(change):
            return change
    raise NotFoundError("The trash holds no version of it.")


def before(
    found: list[Change], time_us: int, is_kept: Callable[[Change], bool]
) -> Change:
    """The change that ended the version of a moment, or the last one before it.

    Raises:
        NotFoundError: The trail tells of none.
        StateError: It was not kept, or stands unchanged.
    """
    later = next((n for n, c in enumerate(found) if c.time_us >= time_us), len(found))
    if later == len(found) and found and found[-1].began:
        raise StateError("It was not changed after that moment.")
    if later == len(found) or not found[later].ended:
        later -= 1  # nothing stood there at that moment
    if later < 0:
        raise NotFoundError("The trail tells of no version before that moment.")
    change = found[later]
    if not is_kept(change):
        raise StateError(
            f"The version of that moment is not in the trash: act {change.act} did not "
            "put it there, or it is there no longer."
        )
    return change


def _change(record: Fields, path: str, told: Told) -> Change | None:
    operation = told.operation
    if record["phase"] == Phase.PROGRESS:
        return _change_of_child(record, path, told)
    if not _had_effect(record, operation):
        return None
    if operation is Operation.COPY and record.get("target") != path:
        return None
    away = operation is Operation.RENAME and record.get("target") != path
    gone = away or operation is Operation.DELETE
    ended = gone or _stood_before(record, told)
    return Change(
        time_us=_moment_us(record, told),
        until_us=parse_rfc3339(record["time"]),
        act=told.id,
        ended=ended,
        began=not gone,
        inside=() if ended and not away else None,
    )


def _change_of_child(record: Fields, path: str, told: Told) -> Change | None:
    """What an act on a tree did to one file of it."""
    operation = told.operation
    if "path" not in record or told.outcome is None:
        return None
    trashed = detail_of(record).get("replaced") is True or operation is Operation.DELETE
    leaves = record["path"] == path and not trashed
    if operation is Operation.COPY and leaves:
        return None
    away = operation is Operation.RENAME and leaves
    top, _ = replaces_at(told)
    ended_us = parse_rfc3339(told.outcome["time"])
    return Change(
        time_us=ended_us,
        until_us=ended_us,
        act=told.id,
        ended=trashed or away,
        began=not (trashed or away),
        inside=tuple(path.split("/")[len(top.split("/")) :]) if trashed else None,
    )


def _stood_before(record: Fields, told: Told) -> bool:
    detail = detail_of(record)
    if told.operation in _WRITES or told.operation is Operation.SETATTR:
        return "size" in told.intent  # what an opening finds it tells
    return bool(detail.get("replaces"))


def _had_effect(record: Fields, operation: Operation) -> bool:
    """Whether an act with this outcome changed what the path holds."""
    detail = detail_of(record)
    if operation is Operation.SETATTR:
        changes = detail.get("changes")
        if not isinstance(changes, dict) or "size" not in changes:
            return False
    if operation in _WRITES and detail.get("in_place"):
        partly = record.get("bytes") or record.get("recovered") or "kept" in detail
        return bool(detail.get("replaces") or partly)
    return record.get("outcome") in {Outcome.DONE, Outcome.UNKNOWN}


def _moment_us(record: Fields, told: Told) -> int:
    """When the old version went: in place at the opening, else at the end."""
    if detail_of(record).get("in_place"):
        return ULID.from_str(told.id).milliseconds * 1000
    return parse_rfc3339(record["time"])
