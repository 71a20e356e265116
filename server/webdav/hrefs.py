"""Paths as hrefs."""

from typing import Final
from urllib.parse import quote

SAFE: Final = "/!*'(),$-_|."
"""Some clients choke on escapes that are not needed."""


def href_of(path: str) -> str:
    """A path as an href."""
    return quote(path, safe=SAFE)
