"""GET: one file or one range of it, streamed from its handle."""

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from wsgidav.dav_error import DAVError

from server.model.errors import ServerError
from server.vfs.entry import Entry
from server.vfs.handle import OpenFile
from server.webdav.conditions import range_still_valid
from server.webdav.resource import content_type

BLOCK_BYTES: Final = 1024 * 1024

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


class RangeError(ValueError):
    """The range lies outside the file (416)."""


def wanted_range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """First byte and count that a Range asks for (RFC 9110, section 14).

    Args:
        headers: WSGI names.
        size: Bytes of the file.

    Returns:
        None for the whole file: no Range, or one that we may ignore, such as several
        at once.

    Raises:
        RangeError: Not a byte of it exists.
    """
    match = _RANGE.fullmatch(headers.get("HTTP_RANGE", "").replace(" ", ""))
    if match is None:
        return None
    if match[3] is not None:
        first = max(0, size - int(match[3]))
        last = size - 1
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
    if first > last:
        raise RangeError
    return first, last - first + 1


def wanted_part(headers: Mapping[str, str], entry: Entry) -> tuple[int, int] | None:
    """First byte and count that a GET asks for; None for the whole file.

    Raises:
        DAVError: 416, not a byte of it exists.
    """
    mtime_s = max(0, entry.mtime_ns) // 10**9
    if not range_still_valid(headers, etag=entry.etag, mtime_s=mtime_s):
        return None
    try:
        return wanted_range(headers, entry.size)
    except RangeError as error:
        raise DAVError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "The file is shorter than that.",
            add_headers=[("Content-Range", f"bytes */{entry.size}")],
        ) from error


def streamed(file: OpenFile, first: int, count: int) -> Iterator[bytes]:
    """The bytes of an open file; the file is closed at the end, however that comes.

    A client that goes away closes this generator, and the record says `aborted`.
    """
    try:
        while count > 0:
            block = file.read_at(first, min(BLOCK_BYTES, count))
            _require_bytes(block)
            yield block
            first += len(block)
            count -= len(block)
    except ServerError as error:
        file.fail(error)
        raise
    except BaseException:
        file.abort("connection_lost")
        raise
    file.close()


def _require_bytes(block: bytes) -> None:
    if not block:
        # The head promised more: only the connection's end can tell the client.
        raise ConnectionAbortedError("the file became shorter")


def typed_headers(entry: Entry) -> list[tuple[str, str]]:
    """The same with the media type; nothing for a folder."""
    if entry.is_folder:
        return []
    return [("Content-Type", content_type(entry.name)), *file_headers(entry)]


def file_headers(entry: Entry) -> list[tuple[str, str]]:
    """What GET and HEAD say of a file."""
    return [
        ("ETag", f'"{entry.etag}"'),
        ("Last-Modified", formatdate(max(0, entry.mtime_ns) // 10**9, usegmt=True)),
        ("Accept-Ranges", "bytes"),
    ]
