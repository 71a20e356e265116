"""Source-port sets: ranges, and the ports that MAP-E gives one subscriber.

Where carriers share an IPv4 address among subscribers (MAP-E, RFC 7597; v6plus and
OCN in Japan), the source port tells them apart. Section 5.1 parts a port's 16 bits:

    | A: offset bits | PSID: length bits | M: what is left |

A subscriber has every port whose PSID bits are his and whose A bits are not all zero,
which leaves the well-known ports out; with an offset of 0 there are no A bits.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

PORT_BITS: Final = 16

Ranges = tuple[tuple[int, int], ...]
"""Port ranges, both ends included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapE:
    """MAP-E's parameters of one subscriber, as the carrier's router shows them."""

    offset: int
    """PSID offset `a`, bits."""
    length: int
    """PSID length `k`, bits."""
    psid: int

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            ValueError: The bits do not fit into a port, or the PSID not into them.
        """
        if not (0 <= self.offset < PORT_BITS and self.length >= 0):
            raise ValueError("a PSID offset has 0 to 15 bits")
        if self.offset + self.length > PORT_BITS:
            raise ValueError("PSID offset and length have at most 16 bits together")
        if not 0 <= self.psid < 1 << self.length:
            raise ValueError(
                f"a PSID of {self.length} bits is below {1 << self.length}"
            )

    @classmethod
    def parse(cls, text: str) -> "MapE":
        """Read `OFFSET:LENGTH:PSID`; the PSID may be hexadecimal (`6:8:0x34`).

        Raises:
            ValueError: It is no such text, or the values do not fit.
        """
        parts = text.split(":")
        try:
            offset, length, psid = (int(part, 0) for part in parts)
        except ValueError:
            raise ValueError(
                f"{text!r} are no MAP-E parameters; write OFFSET:LENGTH:PSID, such as "
                "4:8:0x34"
            ) from None
        return cls(offset=offset, length=length, psid=psid)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"{self.offset}:{self.length}:{self.psid:#x}"

    def ranges(self) -> Ranges:
        """The subscriber's ports, in order (section 5.1)."""
        rest_bits = PORT_BITS - self.offset - self.length
        first_of_a = 1 if self.offset else 0
        starts = (
            a << (PORT_BITS - self.offset) | self.psid << rest_bits
            for a in range(first_of_a, 1 << self.offset)
        )
        return tuple((start, start + (1 << rest_bits) - 1) for start in starts)


class PortSet:
    """Whether a port is in ranges, in logarithmic time; no ranges mean every port."""

    __slots__ = ("_lasts", "_starts")

    def __init__(self, ranges: Ranges) -> None:
        """Sort and merge `ranges`."""
        merged: list[list[int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._starts = [first for first, _ in merged]
        self._lasts = [last for _, last in merged]

    @property
    def is_any(self) -> bool:
        """Whether every port is meant."""
        return not self._starts

    def __contains__(self, port: int) -> bool:
        """Whether `port` is meant."""
        at = bisect_right(self._starts, port) - 1
        return self.is_any or (at >= 0 and port <= self._lasts[at])
