"""Paths as hrefs."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

SAFE: Final = "/!*'(),$-_|."
"""Some clients choke on escapes that are not needed."""
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9~%b]+" % re.escape(SAFE).encode())


def href_of(path: str) -> str:
    """A path as an href."""
    return quote(path, safe=SAFE)


def hrefs_of(names: Iterable[str]) -> list[str]:
    """Names as parts of hrefs, escaped as `href_of` does, all at one look."""
    joined = "/".join(names).encode()  # no name holds a slash
    return _UNSAFE.sub(_escaped, joined).decode("ascii").split("/")


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"%" + found[0].hex("%").upper().encode()
