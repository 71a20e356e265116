"""Virtual paths: parsed once, then carried as a type.

A `VirtualPath` is absolute, and each of its names is one that every client's system
can hold (`model.name`). What a client sent is refused, not repaired; the two exceptions
are `absolute`, which resolves dots for SFTP as filexfer-02 section 6.2 asks of a
server, and `NameRule.MAP` for scanners, which cannot choose their names.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from server.model.errors import PathRefusedError
from server.model.identity import Actor, LoginKind
from server.model.name import NameRule, parse_name

PATH_BYTES_MAX: Final = 4096
DEPTH_MAX: Final = 64
_REMEMBERED_MAX: Final = 1024


@dataclass(frozen=True, slots=True, order=True)
class VirtualPath:
    """An absolute path of the virtual file system; `parts` is empty for `/`."""

    parts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: str, rule: NameRule = NameRule.REFUSE) -> "VirtualPath":
        """Read what a client sent.

        Args:
            raw: Text as received; bytes that are no UTF-8 as surrogate escapes.
            rule: Whether unsuitable characters are refused or mapped (full width).

        Raises:
            PathRefusedError: Empty, relative, too long or deep, or a bad name in it.
        """
        return cls(_parts_of(raw, rule))

    @classmethod
    def sent_by(cls, actor: Actor, raw: str) -> "VirtualPath":
        """Read what a client of `actor` sent, by the rules for its kind and device.

        Raises:
            PathRefusedError: As `parse`.
        """
        intake = actor.kind is LoginKind.INTAKE
        rule = NameRule.MAP if intake else NameRule.REFUSE
        return cls.parse(actor.charset.read(raw), rule)

    def __str__(self) -> str:
        """The canonical text, `/` first and no `/` last."""
        return "/" + "/".join(self.parts)

    @property
    def name(self) -> str:
        """The last part; empty for the root."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> "VirtualPath":
        """The folder that holds it; the root's parent is the root."""
        return VirtualPath(self.parts[:-1])

    def child(self, name: str) -> "VirtualPath":
        """The path of `name` in this folder; `name` comes from storage, unparsed."""
        return VirtualPath((*self.parts, name))

    def holds(self, other: "VirtualPath") -> bool:
        """Whether `other` is this path or lies below it."""
        return other.parts[: len(self.parts)] == self.parts


@lru_cache(maxsize=_REMEMBERED_MAX)
def _parts_of(raw: str, rule: NameRule) -> tuple[str, ...]:
    """The names of a path. Remembered: clients ask for a path again and again."""
    if not raw.startswith("/"):
        raise PathRefusedError("The path is not absolute.", rule="absolute")
    if len(raw) > PATH_BYTES_MAX:
        raise PathRefusedError("The path is too long.", rule="path_length")
    names = [name for name in raw.split("/") if name]
    if len(names) > DEPTH_MAX:
        raise PathRefusedError("Too many folders in the path.", rule="path_depth")
    parts = tuple(parse_name(name, rule) for name in names)
    if len("/".join(parts).encode()) >= PATH_BYTES_MAX:
        raise PathRefusedError("The path is too long.", rule="path_length")
    return parts


def absolute(raw: str, home: str) -> str:
    """Resolve dots and a relative path lexically (filexfer-02, section 6.2).

    Symbolic links do not exist in the store, so a lexical answer is exact. A path
    that climbs above the root comes back unchanged, to be refused by `parse` and
    recorded as it was sent.

    Args:
        raw: Text as received; empty means the home folder.
        home: The absolute folder that relative paths start from.
    """
    text = raw if raw.startswith("/") else f"{home}/{raw}"
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            if not parts:
                return raw
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)
