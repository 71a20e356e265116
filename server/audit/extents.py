"""Which bytes of a file went by, as merged ranges; pure.

A sequential transfer stays one range and costs one comparison a block. Ranges that a
client leaves apart are merged when they touch. A hostile client that reads every
second byte cannot make this grow without bound: beyond `KEPT_MAX` ranges the two
neighbours with the smallest gap between them are joined, and the answer says so.
"""

from bisect import bisect_left
from hashlib import sha256
from itertools import pairwise
from typing import Final

from server.model.event import Json

SHOWN_MAX: Final = 64
"""Ranges a record lists; beyond it the record holds their count and hash."""

KEPT_MAX: Final = 65536
"""Ranges kept in memory per handle."""


class Extents:
    """The ranges of one handle and one direction. Not thread-safe: one owner."""

    __slots__ = ("_ends", "_exact", "_last", "_starts", "bytes")

    def __init__(self) -> None:
        """Start with nothing moved."""
        self.bytes = 0
        """Bytes moved, repeats counted again."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._last = -1  # index of the range that grew last
        self._exact = True

    def add(self, offset: int, length: int) -> None:
        """Count `length` bytes moved at `offset`; both in bytes."""
        if length <= 0:
            return
        self.bytes += length
        last = self._last
        if last >= 0 and self._ends[last] == offset:
            end = offset + length
            if last + 1 == len(self._starts) or end < self._starts[last + 1]:
                self._ends[last] = end
                return
        self._merge(offset, offset + length)

    @property
    def covered(self) -> int:
        """Bytes of the file that went by at least once."""
        return sum(self._ends) - sum(self._starts)

    def whole(self, size: int) -> bool:
        """Whether every byte of a file of `size` bytes went by."""
        if not self._exact:
            return False
        if size == 0:
            return not self._starts
        return len(self._starts) == 1 and self._starts[0] == 0 and self._ends[0] >= size

    def pairs(self) -> list[tuple[int, int]]:
        """All ranges, `(offset, length)`, ascending."""
        return [
            (start, end - start)
            for start, end in zip(self._starts, self._ends, strict=True)
        ]

    def ranges(self) -> Json:
        """The ranges as a record shows them.

        Returns:
            A list of `[offset, length]`; beyond `SHOWN_MAX` an object with their
            count, the span and the SHA-256 of the whole list as `offset+length`
            lines (and `"exact": false` if even that had to be joined).
        """
        pairs = self.pairs()
        if len(pairs) <= SHOWN_MAX and self._exact:
            return [[offset, length] for offset, length in pairs]
        listing = "".join(f"{offset}+{length}\n" for offset, length in pairs)
        shown: dict[str, Json] = {
            "count": len(pairs),
            "first": self._starts[0],
            "end": self._ends[-1],
            "covered": self.covered,
            "sha256": sha256(listing.encode()).hexdigest(),
        }
        if not self._exact:
            shown["exact"] = False
        return shown

    def _merge(self, start: int, end: int) -> None:
        low = bisect_left(self._ends, start)
        high = low
        while high < len(self._starts) and self._starts[high] <= end:
            high += 1
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]
        self._last = low
        if len(self._starts) > KEPT_MAX:
            self._join_nearest()

    def _join_nearest(self) -> None:
        """Halve the list by closing its smallest gaps, so the cost is spread."""
        gaps = [
            (after - before, index)
            for index, (before, after) in enumerate(
                zip(self._ends, self._starts[1:], strict=False)
            )
        ]
        closed = {index for _, index in sorted(gaps)[: KEPT_MAX // 2]}
        edges = [index for index in range(len(self._starts)) if index not in closed]
        bounds = [-1, *edges]
        self._starts = [self._starts[before + 1] for before, _ in pairwise(bounds)]
        self._ends = [self._ends[edge] for edge in edges]
        self._last = -1
        self._exact = False
