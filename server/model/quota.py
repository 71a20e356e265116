"""How much may be stored: the limits of a login, a folder or a contract."""

import re
from dataclasses import dataclass
from typing import Final

_SIZE: Final = re.compile(r"(\d{1,15})([kmgt]?)i?b?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_KIBI: Final = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What is stored: bytes of content, and files and folders together."""

    bytes: int = 0
    files: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(self.bytes + other.bytes, self.files + other.files)

    def __sub__(self, other: "Usage") -> "Usage":
        """What is left without the other."""
        return Usage(self.bytes - other.bytes, self.files - other.files)

    @property
    def at_least_none(self) -> "Usage":
        """The same without what is negative."""
        return Usage(max(self.bytes, 0), max(self.files, 0))


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that may be stored; None: no limit."""

    bytes: int | None = None
    files: int | None = None
    """Files and folders together."""

    def __bool__(self) -> bool:
        """Whether it limits anything."""
        return self.bytes is not None or self.files is not None

    def pairs(self, usage: Usage) -> list[tuple[str, int, int]]:
        """Of each limit: its word, how much is used, how much may be."""
        both = (
            ("quota_bytes", usage.bytes, self.bytes),
            ("quota_files", usage.files, self.files),
        )
        return [(word, used, most) for word, used, most in both if most is not None]


NO_QUOTA: Final = Quota()


def parse_size(text: str) -> int:
    """Read `500M`, `20GiB` or a number of bytes; the letters mean powers of 1024.

    Raises:
        ValueError: It is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write 500M, 20G or a number of bytes")
    number, power = int(match[1]), _POWERS[match[2].lower()]
    return number << (10 * power)


def size_words(count: int) -> str:
    """A number of bytes as people read it."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < _KIBI or unit == "TiB":
            break
        size /= _KIBI
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
