"""The media type that a file's name suggests."""

import mimetypes
from functools import lru_cache
from posixpath import splitext
from typing import Final

_REMEMBERED: Final = 1024
_UNKNOWN: Final = "application/octet-stream"


def content_type(name: str) -> str:
    """The media type of a name, by its ending (mimetypes' table)."""
    ending = splitext(name)[1]
    if ending in mimetypes.encodings_map:  # `.gz`: what is inside counts, too
        return mimetypes.guess_type(name, strict=False)[0] or _UNKNOWN
    return _by_ending(ending)


@lru_cache(_REMEMBERED)
def _by_ending(ending: str) -> str:
    return mimetypes.guess_type(f"x{ending}", strict=False)[0] or _UNKNOWN
