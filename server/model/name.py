r"""Names of files and folders: one policy for every door (docs/names.md).

What a person sends is refused, not repaired, where another system could not hold it.
A scanner cannot choose its names, and a scan must not be lost over one, so for it the
same names are mapped (`NameRule.MAP`), always to the same spelling:

1. bytes that are no text, control, direction and non-characters: `%XX`, their bytes;
2. `< > : " | ? * \`: their full-width forms;
3. dots and spaces at the end: a full-width dot, an ideographic space;
4. a device name of Windows (`con.txt`): `_` before it;
5. longer than 255 bytes: the stem is cut, and `~` with eight digits of the whole name's
   SHA-256 comes before the extension.

A name of 255 bytes of UTF-8 has at most 255 units of UTF-16, which is what NTFS and
HFS+ hold, so the length in bytes bounds both.
"""

import hashlib
import unicodedata
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from server.model.errors import PathRefusedError

NAME_BYTES_MAX: Final = 255
_REMEMBERED_MAX: Final = 1024

_FORBIDDEN: Final = frozenset('<>:"|?*\\')
_FULL_WIDTH: Final = {ord(c): chr(ord(c) + 0xFEE0) for c in _FORBIDDEN}
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"]
)
_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
                              "\u2066\u2067\u2068\u2069")  # fmt: skip
"""They make `exe.fdp` look like `pdf.exe` (Unicode TR 36, section 2.7)."""
_INVISIBLE: Final = frozenset("\u2028\u2029\ufeff")
"""Ends of lines, and the byte order mark."""
_NONE: Final = range(0xFDD0, 0xFDF0)
_LAST_TWO: Final = 0xFFFE
"""XML cannot write them, so one would spoil the listing of its folder."""
_EXTENSION_BYTES_MAX: Final = 20
_DIGEST_DIGITS: Final = 8
_MAC_PREFIX: Final = "._"
_MAC_NAME: Final = ".DS_Store"
_MAC_FOLDER: Final = "._."
"""What macOS keeps of the attributes of a folder itself: asked for at every mount."""


class NameRule(Enum):
    """What to do with a name that some system could not hold."""

    REFUSE = auto()
    MAP = auto()


@lru_cache(maxsize=_REMEMBERED_MAX)
def parse_name(raw: str, rule: NameRule) -> str:
    """A name in Unicode form NFC that every client's system can hold.

    Remembered: the folders of a path are named again and again.

    Args:
        raw: As received; bytes that are no text as surrogate escapes.
        rule: Whether an unsuitable name is refused or mapped.

    Raises:
        PathRefusedError: `.` or `..`, or the rule says so.
    """
    name = raw if raw.isascii() else unicodedata.normalize("NFC", raw)
    if name in {".", ".."}:
        raise PathRefusedError("'.' and '..' are not names.", rule="dots")
    if rule is NameRule.MAP:
        return _mapped(name)
    _require_text(name)
    _require_windows(name)
    if len(name.encode()) > NAME_BYTES_MAX:
        raise PathRefusedError(
            f"A name may be at most {NAME_BYTES_MAX} bytes long (UTF-8).",
            rule="name_length",
        )
    return name


def folded(name: str) -> str:
    """What two names share that differ only in case or width.

    NFKC and case folding, done twice: folding can undo the normal form (Unicode
    section 3.13, "identifier caseless match").
    """
    once = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", once).casefold()


def is_mac_file(name: str) -> bool:
    """Whether it is one of the files that macOS puts beside those of people.

    `._name` holds a file's attributes where the file system has none (AppleDouble),
    `.DS_Store` how a window looks.
    """
    return name == _MAC_NAME or name.startswith(_MAC_PREFIX)


def _require_text(name: str) -> None:
    if name.isascii() and name.isprintable():
        return
    for char in name:
        wrong = _no_text(char)
        if wrong is not None:
            raise PathRefusedError(_WORDS[wrong], rule=wrong)


def _no_text(char: str) -> str | None:
    """The rule against a character, or None when it may be part of a name."""
    category = unicodedata.category(char)
    if category == "Cs":
        return "utf8"
    if category == "Cc" or char in _INVISIBLE:
        return "control_character"
    if char in _DIRECTION:
        return "direction_character"
    return "no_character" if _is_none(ord(char)) else None


def _is_none(code: int) -> bool:
    """Whether Unicode promises never to give the code to a character (section 23.7)."""
    return code & _LAST_TWO == _LAST_TWO or code in _NONE


_WORDS: Final = {
    "utf8": "The name is not valid in UTF-8, or in this device's character set.",
    "control_character": "The name holds a control character.",
    "direction_character": "The name holds a character that turns its direction.",
    "no_character": "The name holds a code that is no character.",
}


def _require_windows(name: str) -> None:
    if not _FORBIDDEN.isdisjoint(name):
        bad = next(char for char in name if char in _FORBIDDEN)
        raise PathRefusedError(
            f"The character {bad} cannot be used in a name.", rule="windows_character"
        )
    if name[-1] in ". " and name != _MAC_FOLDER:
        raise PathRefusedError(
            "A name cannot end with a dot or a space.", rule="windows_ending"
        )
    if _is_device(name):
        raise PathRefusedError(
            f"{name} is a reserved name on Windows.", rule="windows_device"
        )


def _mapped(name: str) -> str:
    name = "".join(_escaped(char) if _no_text(char) else char for char in name)
    # An escape may end in a letter that takes up the accent behind it.
    name = unicodedata.normalize("NFC", name).translate(_FULL_WIDTH)
    kept = name.rstrip(". ")
    name = kept + "".join("．" if c == "." else "\u3000" for c in name[len(kept) :])  # noqa: RUF001 - the full-width full stop is meant
    if _is_device(name):
        name = f"_{name}"
    return name if len(name.encode()) <= NAME_BYTES_MAX else _shortened(name)


def _escaped(char: str) -> str:
    try:
        octets = char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = char.encode("utf-8", "surrogatepass")
    return "".join(f"%{octet:02X}" for octet in octets)


def _shortened(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _EXTENSION_BYTES_MAX:
        stem, dot, extension = name, "", ""
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_DIGITS]
    end = f"~{digest}{dot}{extension}"
    room = NAME_BYTES_MAX - len(end.encode())
    return stem.encode()[:room].decode(errors="ignore") + end


def _is_device(name: str) -> bool:
    return name.split(".", 1)[0].rstrip(" ").lower() in _DEVICES
