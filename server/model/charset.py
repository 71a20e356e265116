"""Character sets of names on the wire, for devices that do not speak UTF-8.

Old scanners and Windows programs in Japan send CP932 (Shift_JIS). Python's codec
reads some of its characters as others than macOS and Unix write (the wave dash, the
minus, and so on); a name that cannot be written at all is shown with `%XX`. `spellings`
finds the stored name again from either.
"""

import re
import unicodedata
from enum import StrEnum, unique
from typing import Final

_SENT_AS: Final = {
    "\u301c": "\uff5e",  # wave dash
    "\u2212": "\uff0d",  # minus
    "\u2016": "\u2225",  # double vertical line
    "\u2014": "\u2015",  # em dash
    "\u00a2": "\uffe0",  # cent
    "\u00a3": "\uffe1",  # pound
    "\u00ac": "\uffe2",  # not
}
_TO_CP932: Final = {ord(ours): theirs for ours, theirs in _SENT_AS.items()}
_FROM_CP932: Final = {ord(theirs): ours for ours, theirs in _SENT_AS.items()}
_ESCAPES: Final = re.compile("(?:%[89A-F][0-9A-F])+")
"""Bytes beyond ASCII only: no escape hides a dot or a slash."""


@unique
class Charset(StrEnum):
    """How a device writes names."""

    UTF8 = "utf-8"
    CP932 = "cp932"

    def read(self, raw: str) -> str:
        """The text that a client meant.

        Args:
            raw: What came, read as UTF-8 with surrogate escapes.

        Returns:
            Bytes that this character set does not know stay surrogate escapes.
        """
        if self is Charset.UTF8 or raw.isascii():
            return raw
        octets = raw.encode("utf-8", "surrogateescape")
        return octets.decode(self.value, "surrogateescape")

    def written(self, text: str) -> bytes:
        """What to send for a name; characters that it lacks become `%XX`."""
        if self is Charset.UTF8 or text.isascii():
            return text.encode("utf-8", "surrogateescape")
        return b"".join(map(self._character, text.translate(_TO_CP932)))

    def _character(self, char: str) -> bytes:
        try:
            return char.encode(self.value)
        except UnicodeEncodeError:
            octets = char.encode("utf-8", "surrogateescape")
            return "".join(f"%{octet:02X}" for octet in octets).encode()

    def spellings(self, name: str) -> tuple[str, ...]:
        """Other names under which what a client calls `name` may be stored.

        NFD, as data has it that was copied from a Mac; and what `written` changed.
        """
        if self is Charset.UTF8:
            if name.isascii():
                return ()
            found = [name]
        else:
            plain = _ESCAPES.sub(_unescaped, name)
            found = [name, plain, *(n.translate(_FROM_CP932) for n in (name, plain))]
        found += [unicodedata.normalize("NFD", one) for one in found]
        return tuple(one for one in dict.fromkeys(found) if one != name)


def _unescaped(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return match[0]
