"""What a stream's last segment tells a process that takes the stream over.

A segment begins with a record that lists the acts open at that moment, so the last
segment alone tells which intents never got an outcome. A crash leaves at most a torn
end behind what was durable; that is cut, and the journal's first new record names it.
Anything wrong before the durable end is damage: the stream is not opened.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from server.audit import hashchain, segment
from server.audit.hashchain import ChainError, Link
from server.audit.segment import Position, Segment
from server.model.errors import AuditUnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Phase

_STAMPS: Final = ("id", "time", "mono_ns", "boot", "node", "prev", "hash", "phase")


class JournalDamagedError(AuditUnavailableError):
    """Records that were durable are not there any more, or are not what they were."""

    reason = "journal_damaged"


@dataclass(frozen=True, slots=True)
class OpenAct:
    """An act whose intent stands in the journal and whose outcome does not."""

    intent: Fields
    progress: Fields | None = None

    @property
    def id(self) -> str:
        """The act's ULID."""
        return self.intent["act"]

    @property
    def facts(self) -> Fields:
        """The intent without what belongs to that one record."""
        kept = {key: value for key, value in self.intent.items() if key not in _STAMPS}
        return cast("Fields", kept)


class OpenActs:
    """The open acts of a stream, kept while records go by. Not thread-safe."""

    def __init__(self, acts: Iterable[OpenAct] = ()) -> None:
        """Begin with those already open."""
        self._acts = {act.id: act for act in acts}

    @classmethod
    def of_record(cls, record: Fields) -> "OpenActs":
        """Read them from a record that lists them (`as_detail`)."""
        detail = cast("dict[str, list[dict[str, Fields]]]", record["detail"])
        return cls(
            OpenAct(told["intent"], told.get("progress")) for told in detail["open"]
        )

    def as_detail(self) -> Json:
        """Write them whole for a record's `detail`."""
        listed = [
            {"intent": act.intent}
            if act.progress is None
            else {"intent": act.intent, "progress": act.progress}
            for act in self._acts.values()
        ]
        return cast("Json", {"open": listed})

    def acts(self) -> list[OpenAct]:
        """All of them in the order of their intents."""
        return list(self._acts.values())

    def follow(self, record: Fields) -> None:
        """Take note of one more record of the stream."""
        phase = record.get("phase")
        if phase == Phase.EVENT:
            return
        act = record["act"]
        if phase == Phase.INTENT:
            self._acts[act] = OpenAct(record)
        elif phase == Phase.OUTCOME:
            self._acts.pop(act, None)
        elif act in self._acts:
            self._acts[act] = OpenAct(self._acts[act].intent, record)


@dataclass(frozen=True, slots=True)
class Torn:
    """What was cut off a stream's end."""

    segment: int
    offset: int
    bytes: int
    sha256: str

    def as_detail(self) -> Json:
        """For the record that names it."""
        return {
            "segment": self.segment,
            "offset": self.offset,
            "bytes": self.bytes,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a stream goes on."""

    position: Position
    hash: str
    acts: OpenActs
    torn: list[Torn]


def repair(folder: Path, stream: str) -> Tail:
    """Find a stream's end and cut what a crash left torn behind it.

    Raises:
        JournalDamagedError: Something durable is missing; nothing was touched.
    """
    found = segment.segments(folder)
    torn: list[tuple[Segment, Torn]] = []
    tail = Tail(Position(), hashchain.GENESIS, OpenActs(), [])
    while found:
        last = found.pop()
        tail = _clean_end(last, stream) or _scan(last, stream)
        torn.extend((last, cut) for cut in tail.torn)
        if tail.position.offset:
            break
    _require_durable(folder, tail.position)
    for file, cut in torn:
        _cut(file, cut.offset)
    return Tail(tail.position, tail.hash, tail.acts, [cut for _, cut in torn])


def _require_durable(folder: Path, end: Position) -> None:
    durable = max(segment.read_synced(folder), segment.read_recorded(folder))
    if end.seq < durable.seq:
        raise JournalDamagedError(
            f"The journal {folder.name} ends at record {end.seq}, "
            f"but record {durable.seq} had been made durable."
        )


def _clean_end(last: Segment, stream: str) -> Tail | None:
    """Take the short way when the stream ends in the record of a clean stop."""
    if last.packed:
        return None
    line = segment.last_line_of(last.path)
    size = last.path.stat().st_size
    try:
        link = hashchain.parse(line)
    except ChainError:
        return None
    whole = line.endswith(b"\n") and segment.ends_whole(last.path)
    ours = link.fields["id"] == f"{stream}:{link.seq}" and link.seq >= last.first
    if link.fields.get("operation") != Operation.SYSTEM_STOP or not (whole and ours):
        return None
    acts = OpenActs.of_record(link.fields)
    return Tail(Position(link.seq, last.first, size), link.hash, acts, [])


def _scan(last: Segment, stream: str) -> Tail:
    """Follow a segment to its first line that does not chain."""
    offset, seq = 0, last.first - 1
    prev: str | None = None
    acts = OpenActs()
    for line in segment.lines(last):
        try:
            link = _next(line, stream, seq + 1, prev)
        except ChainError:
            break
        if prev is None:
            acts = OpenActs.of_record(link.fields)
        acts.follow(link.fields)
        offset, seq, prev = offset + len(line), link.seq, link.hash
    position = Position(seq, last.first, offset)
    return Tail(position, prev or hashchain.GENESIS, acts, _rest(last, offset))


def _next(line: bytes, stream: str, seq: int, prev: str | None) -> Link:
    if prev is not None:
        return hashchain.follow(line, stream=stream, seq=seq, prev=prev)
    link = hashchain.parse(line)
    if link.fields["id"] != f"{stream}:{seq}" or (
        link.fields.get("operation") != Operation.SYSTEM_SEGMENT
    ):
        raise ChainError("a segment begins with its own record")
    return link


def _rest(last: Segment, offset: int) -> list[Torn]:
    """Describe what lies behind the last good record, if anything."""
    with last.open() as file:
        file.seek(offset)
        digest, length = sha256(), 0
        while block := file.read(1 << 20):
            digest.update(block)
            length += len(block)
    if length == 0 and offset > 0:
        return []
    return [Torn(last.first, offset, length, digest.hexdigest())]


def _cut(file: Segment, offset: int) -> None:
    """Cut a segment durably; one without a single good record goes altogether."""
    if offset == 0 or file.packed:
        file.path.unlink()
        segment.sync_folder(file.path.parent)
        return
    with file.path.open("r+b") as opened:
        opened.truncate(offset)
        os.fsync(opened.fileno())
