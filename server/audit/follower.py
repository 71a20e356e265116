"""Reading a stream as its process writes it, and checking each link on the way.

Only what is durable is read (`synced`), so that the DB never holds a record that a
power cut could still take out of the journal.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from server.audit import hashchain, segment
from server.audit.hashchain import ChainError, Link
from server.audit.segment import Position

_BLOCK_BYTES: Final = 1 << 18


class Follower:
    """One stream's reader. Not thread-safe: the recorder's own."""

    def __init__(
        self, folder: Path, stream: str, position: Position, prev: str
    ) -> None:
        """Go on behind `position`, whose last record has the hash `prev`."""
        self.folder = folder
        self.stream = stream
        self.position = position
        self.hash = prev
        self._file: BinaryIO | None = None
        self._ahead: list[
            bytes
        ] = []  # lines read before they were asked for, last first

    def ready(self) -> bool:
        """Whether there is anything new."""
        return segment.read_synced(self.folder).seq > self.position.seq

    def read(self, records_max: int) -> Iterator[Link]:
        """Yield up to `records_max` new records; `position` moves with each.

        Raises:
            ChainError: The stream is not what it was or must be; the position
                stands before the bad place.
            OSError: A segment cannot be read.
        """
        until = segment.read_synced(self.folder)
        for _ in range(records_max):
            if self.position.seq >= until.seq:
                return
            line = self._line(until)
            link = hashchain.follow(
                line,
                stream=self.stream,
                seq=self.position.seq + 1,
                prev=self.hash,
            )
            self.position = Position(
                link.seq, self.position.segment, self.position.offset + len(line)
            )
            self.hash = link.hash
            yield link

    def require_position(self) -> None:
        """Check that what was read before is still there.

        Raises:
            ChainError: The journal ends, or begins, elsewhere now.
        """
        if self.position.seq == 0:
            return
        for found in segment.segments(self.folder):
            if found.first == self.position.segment:
                size = self.position.offset
                if found.packed or found.path.stat().st_size >= size:
                    return
                raise ChainError(f"{self.stream}: its journal was cut short")
        raise ChainError(f"{self.stream}: segment {self.position.segment} is missing")

    def close(self) -> None:
        """Close the segment that is open."""
        self._ahead.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, until: Position) -> bytes:
        """The next line, over the end of a sealed segment too."""
        if self._file is None:
            self._file = self._open(self.position.segment)
            self._file.seek(self.position.offset)
        if line := self._next(self._file, until):
            return line
        first = self.position.seq + 1
        following = self._open(first)
        self._file.close()
        self._file = following
        self.position = Position(self.position.seq, first, 0)
        return self._next(following, until)

    def _next(self, file: BinaryIO, until: Position) -> bytes:
        """The next line; many are read at a time, but none that is not durable."""
        if not self._ahead:
            size = _BLOCK_BYTES
            if self.position.segment == until.segment:
                size = min(size, until.offset - self.position.offset)
            block = file.read(size)
            if not block.endswith(b"\n"):
                block += file.readline()
            self._ahead = [line + b"\n" for line in block.split(b"\n")]
            last = self._ahead.pop()[:-1]  # without a line feed, or nothing
            if last:
                self._ahead.append(last)
            self._ahead.reverse()
        return self._ahead.pop() if self._ahead else b""

    def _open(self, first: int) -> BinaryIO:
        first = first or 1
        for found in segment.segments(self.folder):
            if found.first == first:
                if self.position.segment == 0:
                    self.position = Position(0, first, 0)
                if found.packed:
                    return found.open()
                # Unbuffered: what lies behind the durable part may still change.
                return cast("BinaryIO", found.path.open("rb", buffering=0))
        raise ChainError(f"{self.stream}: segment {first} is missing")
