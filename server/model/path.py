"""Virtual paths: parsed once, then carried as a type.

A `VirtualPath` is absolute, in Unicode form NFC, and safe on every system that a
client may run: no NUL, no control character, no `.` or `..`, none of Windows'
reserved names and characters. What a client sent is refused, not repaired; the two
exceptions are `absolute`, which resolves dots for SFTP as filexfer-02 section 6.2
asks of a server, and `NameRule.MAP` for scanners, which cannot choose their names.
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from server.model.errors import PathRefusedError

NAME_BYTES_MAX: Final = 255
PATH_BYTES_MAX: Final = 4096
DEPTH_MAX: Final = 64

_FORBIDDEN: Final = '<>:"|?*\\'
_FULL_WIDTH: Final = {ord(c): chr(ord(c) + 0xFEE0) for c in _FORBIDDEN}
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"]
)


class NameRule(Enum):
    """What to do with a name that Windows could not hold."""

    REFUSE = auto()
    MAP = auto()


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
        if not raw.startswith("/"):
            raise PathRefusedError("The path is not absolute.", rule="absolute")
        if len(raw) > PATH_BYTES_MAX:
            raise PathRefusedError("The path is too long.", rule="path_length")
        names = [name for name in raw.split("/") if name]
        if len(names) > DEPTH_MAX:
            raise PathRefusedError("Too many folders in the path.", rule="path_depth")
        parts = tuple(_name(name, rule) for name in names)
        path = cls(parts)
        if len(str(path).encode()) > PATH_BYTES_MAX:
            raise PathRefusedError("The path is too long.", rule="path_length")
        return path

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


def _name(raw: str, rule: NameRule) -> str:
    name = unicodedata.normalize("NFC", raw)
    if name in {".", ".."}:
        raise PathRefusedError("'.' and '..' are not names.", rule="dots")
    _require_text(name)
    name = _for_windows(name, rule)
    if len(name.encode()) > NAME_BYTES_MAX:
        raise PathRefusedError(
            f"A name may be at most {NAME_BYTES_MAX} bytes long (UTF-8).",
            rule="name_length",
        )
    return name


def _require_text(name: str) -> None:
    for char in name:
        category = unicodedata.category(char)
        if category == "Cs":
            raise PathRefusedError("The name is not valid UTF-8.", rule="utf8")
        if category == "Cc":
            raise PathRefusedError(
                "The name holds a control character.", rule="control_character"
            )


def _for_windows(name: str, rule: NameRule) -> str:
    if rule is NameRule.MAP:
        name = name.translate(_FULL_WIDTH)
        kept = name.rstrip(". ")
        name = kept + "".join("．" if c == "." else "\u3000" for c in name[len(kept) :])  # noqa: RUF001 - the full-width full stop is meant
        return f"_{name}" if _is_device(name) else name
    bad = next((char for char in name if char in _FORBIDDEN), None)
    if bad is not None:
        raise PathRefusedError(
            f"The character {bad} cannot be used in a name.", rule="windows_character"
        )
    if name[-1] in ". ":
        raise PathRefusedError(
            "A name cannot end with a dot or a space.", rule="windows_ending"
        )
    if _is_device(name):
        raise PathRefusedError(
            f"{name} is a reserved name on Windows.", rule="windows_device"
        )
    return name


def _is_device(name: str) -> bool:
    return name.split(".", 1)[0].rstrip(" ").lower() in _DEVICES


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
