"""Paths as hrefs."""

from urllib.parse import quote


def href_of(path: str) -> str:
    """A path as an href; some clients choke on escapes that are not needed."""
    return quote(path, safe="/!*'(),$-_|.")
