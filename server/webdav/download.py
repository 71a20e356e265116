"""GET: one file, or ranges of it, from its handle."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final

from wsgidav.dav_error import DAVError

from server.model.errors import ServerError
from server.vfs.entry import Entry, Judge
from server.vfs.handle import OpenFile
from server.webdav.conditions import range_still_valid
from server.webdav.dates import http_date
from server.webdav.media import content_type
from server.webdav.status import translated
from server.webdav.target import view_of

BLOCK_BYTES: Final = 1024 * 1024

RANGES_MAX: Final = 5
"""A request for more parts gets the whole file: each part costs a head, and a seek."""

_RANGE: Final = re.compile(r"(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_BOUNDARY_BYTES: Final = 15

Span = tuple[int, int]
"""First byte and count."""
Piece = bytes | Span
"""Bytes to send, or which of the file."""


class RangeError(ValueError):
    """The ranges lie outside the file (416)."""


@dataclass(frozen=True, slots=True)
class Download:
    """An answer to GET, and the open file that it comes from."""

    file: OpenFile
    status: int
    headers: list[tuple[str, str]]
    pieces: tuple[Piece, ...]

    def blocks(self) -> Iterator[bytes]:
        """The body; the file is closed at its end, however that comes.

        A client that goes away closes this generator, and the record says `aborted`.
        """
        with closing(self.file):
            for piece in self.pieces:
                if isinstance(piece, bytes):
                    yield piece
                else:
                    yield from _read(self.file, *piece)


def opened(environ: dict[str, Any], judge: Judge) -> Download:
    """Open the file that a GET asks for.

    Args:
        environ: Of a request that was admitted.
        judge: Its conditions.

    Raises:
        DAVError: Any error, as HTTP has it; 416, not a byte of a range exists.
    """
    view, raw = view_of(environ), environ["PATH_INFO"]
    try:
        with translated():
            file = view.open_read(raw, judge)
    except DAVError as error:
        if error.value == HTTPStatus.NOT_MODIFIED:
            with translated():
                view.stat(raw)  # the client learnt how the file stands
        raise
    try:
        return _download(environ, file, file.entry)
    except BaseException:
        file.abort("range")
        raise


@contextmanager
def closing(file: OpenFile) -> Iterator[None]:
    """Close a file at the end of the block; its record says how that came."""
    try:
        yield
    except ServerError as error:
        file.fail(error)
        raise
    except BaseException:
        file.abort("connection_lost")
        raise
    file.close()


def require_bytes(count: int) -> None:
    """Return when some came.

    Raises:
        ConnectionAbortedError: The head promised more: only the connection's end can
            tell the client.
    """
    if not count:
        raise ConnectionAbortedError("the file became shorter")


def _read(file: OpenFile, first: int, count: int) -> Iterator[bytes]:
    while count > 0:
        block = file.read_at(first, min(BLOCK_BYTES, count))
        require_bytes(len(block))
        yield block
        first += len(block)
        count -= len(block)


def _download(environ: Mapping[str, str], file: OpenFile, entry: Entry) -> Download:
    spans = _wanted(environ, entry)
    headers = file_headers(entry)
    if spans is None or len(spans) == 1:
        first, count = spans[0] if spans else (0, entry.size)
        headers.append(("Content-Type", content_type(entry.name)))
        headers.append(("Content-Length", str(count)))
        if spans is not None:
            headers.append(("Content-Range", _told((first, count), entry)))
        status = HTTPStatus.OK if spans is None else HTTPStatus.PARTIAL_CONTENT
        return Download(file, status, headers, ((first, count),))
    boundary = secrets.token_urlsafe(_BOUNDARY_BYTES)
    pieces = tuple(_parts(spans, entry, boundary))
    length = sum(len(p) if isinstance(p, bytes) else p[1] for p in pieces)
    kind = f"multipart/byteranges; boundary={boundary}"
    headers += [("Content-Type", kind), ("Content-Length", str(length))]
    return Download(file, HTTPStatus.PARTIAL_CONTENT, headers, pieces)


def _parts(spans: list[Span], entry: Entry, boundary: str) -> Iterator[Piece]:
    """RFC 9110, section 14.6."""
    before = ""
    for span in spans:
        head = (
            f"{before}--{boundary}\r\nContent-Type: {content_type(entry.name)}\r\n"
            f"Content-Range: {_told(span, entry)}\r\n\r\n"
        )
        yield head.encode()
        yield span
        before = "\r\n"
    yield f"\r\n--{boundary}--\r\n".encode()


def _told(span: Span, entry: Entry) -> str:
    first, count = span
    return f"bytes {first}-{first + count - 1}/{entry.size}"


def _wanted(environ: Mapping[str, str], entry: Entry) -> list[Span] | None:
    """The parts that a GET asks for; None for the whole file.

    Raises:
        DAVError: 416, not a byte of them exists.
    """
    if "HTTP_RANGE" not in environ:
        return None
    if not range_still_valid(environ, etag=entry.etag):
        return None
    try:
        return wanted_ranges(environ["HTTP_RANGE"], entry.size)
    except RangeError as error:
        raise DAVError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "The file is shorter than that.",
            add_headers=[("Content-Range", f"bytes */{entry.size}")],
        ) from error


def wanted_ranges(value: str, size: int) -> list[Span] | None:
    """The parts that a Range names (RFC 9110, section 14).

    Args:
        value: Of the header.
        size: Bytes of the file.

    Returns:
        Those that exist, in the order asked for; None for the whole file: the header
        is malformed, or asks for too many parts, or for bytes twice.

    Raises:
        RangeError: Not a byte of them exists.
    """
    unit, _, listed = value.replace(" ", "").partition("=")
    items = listed.split(",")
    if unit.lower() != "bytes" or len(items) > RANGES_MAX:
        return None
    matches = [_RANGE.fullmatch(item) for item in items]
    spans = [_span(match, size) for match in matches if match]
    if len(spans) < len(items) or None in spans:
        return None
    there = [span for span in spans if span is not None and span[1] > 0]
    if not there:
        raise RangeError
    ordered = sorted(there)
    if any(a[0] + a[1] > b[0] for a, b in pairwise(ordered)):
        return None
    return there


def _span(match: re.Match[str], size: int) -> Span | None:
    """What one range covers; no bytes if it lies outside, None if it is malformed."""
    if match[3] is not None:
        first = max(0, size - int(match[3]))
        return first, size - first if int(match[3]) else 0
    first, last = int(match[1]), size - 1
    if match[2]:
        last = min(int(match[2]), last)
        if int(match[2]) < first:
            return None
    return first, max(0, last - first + 1)


def typed_headers(entry: Entry) -> list[tuple[str, str]]:
    """The same with the media type; nothing for a folder."""
    if entry.is_folder:
        return []
    return [("Content-Type", content_type(entry.name)), *file_headers(entry)]


def file_headers(entry: Entry) -> list[tuple[str, str]]:
    """What GET and HEAD say of a file."""
    return [
        ("ETag", f'"{entry.etag}"'),
        ("Last-Modified", http_date(max(0, entry.mtime_ns) // 10**9)),
        ("Accept-Ranges", "bytes"),
    ]
