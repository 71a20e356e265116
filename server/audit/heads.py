"""Where the streams of a node stand, read from their journals."""

from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from server.audit import hashchain, segment
from server.audit.hashchain import ChainError, Link
from server.audit.segment import Position, Segment
from server.audit.statements import Head

_WINDOW_BYTES: Final = 8192


def durable_head(folder: Path, stream: str) -> Head | None:
    """The last record of a stream that is durable; None when there is none yet.

    Raises:
        ChainError: What stands there is not that record.
        OSError: The segment cannot be read.
    """
    position = segment.read_synced(folder)
    if position.seq == 0:
        return None
    found = _segment_of(folder, position.seq)
    if found is None:
        raise ChainError(f"{stream}: segment {position.segment} is missing")
    if found.packed or found.first != position.segment:
        link = record_at(folder, position.seq)
    else:
        with found.open() as file:
            link = hashchain.parse(_line_before(file, position))
    if link is None or link.fields["id"] != f"{stream}:{position.seq}":
        raise ChainError(f"{stream}: record {position.seq} is not there")
    return Head(link.seq, link.hash)


def holds(folder: Path, stream: str, head: Head) -> bool:
    """Whether a stream still has the record that a head names.

    Raises:
        OSError: A segment cannot be read.
    """
    try:
        link = record_at(folder, head.seq)
    except ChainError:
        return False
    return (
        link is not None
        and link.fields["id"] == f"{stream}:{head.seq}"
        and link.hash == head.hash
    )


def record_at(folder: Path, seq: int) -> Link | None:
    """One record of a stream, found by counting lines; None when it is not there.

    Raises:
        ChainError: What stands there is no record.
        OSError: A segment cannot be read.
    """
    found = _segment_of(folder, seq)
    if found is None:
        return None
    with found.open() as file:
        line = next(islice(file, seq - found.first, None), b"")
    return hashchain.parse(line) if line else None


def _segment_of(folder: Path, seq: int) -> Segment | None:
    try:
        before = [found for found in segment.segments(folder) if found.first <= seq]
    except FileNotFoundError:
        return None
    return before[-1] if before else None


def _line_before(file: BinaryIO, position: Position) -> bytes:
    """The line that ends at an offset."""
    window = _WINDOW_BYTES
    while True:
        start = max(position.offset - window, 0)
        file.seek(start)
        block = file.read(position.offset - start)
        cut = block[:-1].rfind(b"\n")
        if cut >= 0 or start == 0:
            return block[cut + 1 :]
        window *= 8
