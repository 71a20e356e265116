"""The files of a stream: names, positions, and reading them.

    state_dir/journal/<slot>/
        <first seq, 20 digits>.jsonl      a segment; the last one is being written
        <first seq, 20 digits>.jsonl.gz   sealed, in the DB, compressed and kept
        synced                            how far `fdatasync` has returned
        recorded.json                     how far the DB has come
        reserve                           preallocated room for the bad hour
        lock                              held by the process that writes

`synced` is rewritten in place after each sync and never synced itself, so that after
a power cut it says too little, never too much: all that lies before it was durable.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

SYNCED: Final = "synced"
RECORDED: Final = "recorded.json"
RESERVE: Final = "reserve"
LOCK: Final = "lock"

PLAIN: Final = ".jsonl"
PACKED: Final = ".jsonl.gz"

_SEGMENT: Final = re.compile(r"([0-9]{20})(\.jsonl(?:\.gz)?)")
_SYNCED_FORM: Final = re.compile(rb"([0-9]{20}) ([0-9]{20}) ([0-9]{20})\n")


class Position(NamedTuple):
    """A place between two records of a stream."""

    seq: int = 0
    """The last record before it; 0 before the first."""
    segment: int = 0
    """The first seq of the segment that it lies in."""
    offset: int = 0
    """Bytes of that segment (as plain text) before it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file, plain or compressed."""

    first: int
    path: Path

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.path.name.endswith(PACKED)

    def open(self) -> BinaryIO:
        """Open it for reading as plain text, whatever it is on disk by now."""
        packed = self.path
        if not self.packed:
            with suppress(FileNotFoundError):
                return self.path.open("rb")
            # Compressed since it was found; that file stood before this one went.
            packed = self.path.with_suffix(PACKED)
        return cast("BinaryIO", gzip.open(packed, "rb"))


def plain_name(first: int) -> str:
    """The file name of the segment whose first record is `first`."""
    return f"{first:020d}{PLAIN}"


def segments(folder: Path) -> list[Segment]:
    """All segments of a stream in order; the compressed one where both are there.

    A compressed segment is renamed into place whole, so it is the better of two.
    """
    found: dict[int, Segment] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - called often, names do
        match = _SEGMENT.fullmatch(name)
        if match:
            first = int(match[1])
            found[first] = Segment(first, folder / name)
    return [found[first] for first in sorted(found)]


def slots(journal: Path) -> list[str]:
    """The names of the streams of this node, in order."""
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in os.scandir(journal) if entry.is_dir())
    return []


def format_synced(position: Position) -> bytes:
    """Write a position as `synced` holds it; always the same length."""
    return b"%020d %020d %020d\n" % (position.seq, position.segment, position.offset)


def read_synced(folder: Path) -> Position:
    """How far a stream is durable; the very beginning when nothing tells."""
    try:
        text = (folder / SYNCED).read_bytes()
    except FileNotFoundError:
        return Position()
    match = _SYNCED_FORM.fullmatch(text)
    return Position(*(int(part) for part in match.groups())) if match else Position()


def read_recorded(folder: Path) -> Position:
    """How far the DB has come with a stream; the very beginning when unknown."""
    try:
        told = json.loads((folder / RECORDED).read_bytes())
        return Position(told["seq"], told["segment"], told["offset"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Position()


def write_recorded(folder: Path, position: Position) -> None:
    """Replace `recorded.json` in one step.

    Not synced: after a power cut it may say too little, which only makes the spool
    look longer until the recorder has looked.
    """
    told = {
        "seq": position.seq,
        "segment": position.segment,
        "offset": position.offset,
    }
    draft = folder / f"{RECORDED}.new"
    draft.write_text(json.dumps(told), encoding="ascii")
    draft.replace(folder / RECORDED)


def spool_bytes(folder: Path) -> int:
    """Bytes of a stream that the DB does not hold yet."""
    recorded = read_recorded(folder)
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _SEGMENT.fullmatch(entry.name)
            if not match or match[2] != PLAIN or int(match[1]) < recorded.segment:
                continue
            with suppress(FileNotFoundError):  # compressed in this moment
                total += entry.stat().st_size
            if int(match[1]) == recorded.segment:
                total -= recorded.offset
    return max(total, 0)


def lines(segment: Segment, offset: int = 0) -> Iterator[bytes]:
    """The lines of a segment from an offset on; the last may lack its line feed."""
    with segment.open() as file:
        file.seek(offset)
        yield from file


def last_line(folder: Path) -> bytes:
    """The last whole line of a stream's newest segment; empty when there is none."""
    found = segments(folder)
    if not found or found[-1].packed:
        return b""
    return last_line_of(found[-1].path)


def last_line_of(path: Path) -> bytes:
    """The last whole line of a plain segment, read from its end; empty if none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        window = 8192
        while True:
            start = max(size - window, 0)
            file.seek(start)
            block = file.read(size - start)
            whole = block[: block.rfind(b"\n") + 1]
            cut = whole[:-1].rfind(b"\n")
            if cut >= 0 or start == 0:
                return whole[cut + 1 :]
            window *= 4


def ends_whole(path: Path) -> bool:
    """Whether the file's last byte is a line feed."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
