"""What one login did in a time: sessions, files, volumes, and how it ended."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server.audit.index import Line
from server.model.event import Json
from server.model.operation import Operation, Outcome, Phase

Facts = dict[str, Json]

FILES_MAX: Final = 50_000
"""Files told one by one; what is done to further ones is counted in the volumes."""

_READS: Final = frozenset({Operation.READ})
_WRITES: Final = frozenset({Operation.WRITE, Operation.DEPOSIT, Operation.COPY})
_WHOLE: Final = frozenset({Phase.OUTCOME, Phase.EVENT})
_LOOKS: Final = frozenset({Operation.LIST, Operation.STAT})
_SESSION: Final = (
    "protocol",
    "device_name",
    "line",
    "source_ip",
    "client",
)


@dataclass(slots=True)
class Volume:
    """How much went which way."""

    reads: int = 0
    writes: int = 0
    others: int = 0
    refused: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def add(self, record: Facts) -> None:
        """Count one act."""
        moved = record.get("bytes")
        moved = moved if isinstance(moved, int) else 0
        if record.get("outcome") == Outcome.REFUSED:
            self.refused += 1
        elif record["operation"] in _READS:
            self.reads += 1
            self.bytes_read += moved
        elif record["operation"] in _WRITES:
            self.writes += 1
            self.bytes_written += moved
        else:
            self.others += 1

    def facts(self) -> Facts:
        """As told."""
        return {
            "reads": self.reads,
            "writes": self.writes,
            "others": self.others,
            "refused": self.refused,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
        }


@dataclass(slots=True)
class _Told:
    """A session, a file or a folder, and what was done in it or to it."""

    first: str
    last: str
    volume: Volume = field(default_factory=Volume)
    facts: Facts = field(default_factory=dict)

    def as_facts(self) -> Facts:
        return {
            "first": self.first,
            "last": self.last,
            **self.facts,
            **self.volume.facts(),
        }


class Person:
    """Adds records up, oldest first."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._sessions: dict[str, _Told] = {}
        self._files: dict[str, _Told] = {}
        self._folders: dict[str, _Told] = {}
        self._operations: dict[tuple[str, str], int] = {}
        self._volume = Volume()
        self._left_out = 0
        self._count = 0

    def add(self, lines: Iterable[Line]) -> "Person":
        """Count all records that tell how an act ended."""
        for line in lines:
            record: Facts = json.loads(line.record)
            if record["phase"] in _WHOLE:
                self._count += 1
                self._add(record)
        return self

    def facts(self) -> Facts:
        """All that was found."""
        return {
            "acts": self._count,
            "sessions": _list(self._sessions, "session"),
            "files": _list(self._files, "path"),
            "files_left_out": self._left_out,
            "volumes": _list(self._folders, "folder"),
            "total": self._volume.facts(),
            "operations": [
                {"operation": operation, "outcome": outcome, "acts": acts}
                for (operation, outcome), acts in sorted(self._operations.items())
            ],
        }

    def _add(self, record: Facts) -> None:
        operation, outcome = str(record["operation"]), str(record.get("outcome", ""))
        key = operation, outcome
        self._operations[key] = self._operations.get(key, 0) + 1
        if session := str(record.get("session", "")):
            self._in_session(session, record)
        path = str(record.get("path", ""))
        if not path or operation in _LOOKS:
            return
        self._volume.add(record)
        if outcome == Outcome.REFUSED:
            return
        _told(self._folders, _folder(path), record).volume.add(record)
        if path in self._files or len(self._files) < FILES_MAX:
            _told(self._files, path, record).volume.add(record)
        else:
            self._left_out += 1

    def _in_session(self, session: str, record: Facts) -> None:
        told = _told(self._sessions, session, record)
        for name in _SESSION:
            if name in record:
                told.facts.setdefault(name, record[name])
        if record["operation"] == Operation.LOGOUT:
            told.facts["ended"] = record.get("reason", "logout")
        elif record["operation"] != Operation.LOGIN:
            told.volume.add(record)


def _told(among: dict[str, _Told], name: str, record: Facts) -> _Told:
    time = str(record["time"])
    found = among.setdefault(name, _Told(time, time))
    found.last = time
    return found


def _list(among: dict[str, _Told], name: str) -> list[Json]:
    return [{name: key, **told.as_facts()} for key, told in among.items()]


def _folder(path: str) -> str:
    """`/private`, or the shared folder that a path lies in."""
    return "/".join(path.split("/")[: 3 if path.startswith("/shared/") else 2])
