"""PUT: a body becomes a file when all of it came, and leaves nothing otherwise."""

import re
from http import HTTPStatus
from itertools import cycle
from typing import Any, Final

from wsgidav.dav_error import DAVError

from server.model.errors import (
    ConditionFailedError,
    LimitError,
    NotFoundError,
    ServerError,
)
from server.model.path import VirtualPath
from server.vfs.entry import Entry, Judge
from server.vfs.upload import Upload
from server.webdav.answer import Answer
from server.webdav.body import Body, KnownBody
from server.webdav.conditions import require_expected
from server.webdav.status import translated
from server.webdav.target import tokens_of, view_of

BLOCK_BYTES: Final = 1024 * 1024
_LONG_BYTES: Final = 16 * BLOCK_BYTES
_NS_PER_S: Final = 1_000_000_000
_SECONDS: Final = re.compile("[0-9]{1,10}")
_BYTES: Final = re.compile("[0-9]{1,18}")
_STATUSES: Final[dict[type[ServerError], int]] = {
    NotFoundError: HTTPStatus.CONFLICT,
    LimitError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


def body_of(environ: dict[str, Any]) -> Body:
    """The request's body."""
    body: Body = environ["wsgi.input"]
    return body


def announced_bytes(environ: dict[str, Any]) -> int | None:
    """The length that the client announced; None for a chunked body without one.

    Raises:
        DAVError: 411, neither a length nor chunks; 400, Finder's header is no number.
    """
    body = body_of(environ)
    if isinstance(body, KnownBody):
        if "CONTENT_LENGTH" not in environ:
            raise DAVError(411, "A PUT needs a Content-Length or chunks.")
        return body.length_bytes
    # Finder sends chunks and tells the length apart from them.
    expected = environ.get("HTTP_X_EXPECTED_ENTITY_LENGTH", "")
    if not expected:
        return None
    if not _BYTES.fullmatch(expected):
        raise DAVError(400, "X-Expected-Entity-Length is no number.")
    return int(expected)


def announced_mtime_ns(environ: dict[str, Any]) -> int | None:
    """The time of the file's last change by X-OC-Mtime, seconds since 1970 there.

    Tools that synchronise (rclone, the clients of ownCloud) send it, for WebDAV has no
    way of its own; what is no such time is as if it were not sent.
    """
    told = environ.get("HTTP_X_OC_MTIME", "").partition(".")[0]
    return int(told) * _NS_PER_S if _SECONDS.fullmatch(told) else None


def stored(environ: dict[str, Any], judge: Judge) -> Answer:
    """Store a request's body; what was there stays until all of it came.

    Args:
        environ: Of a request that was admitted.
        judge: The request's conditions.

    Raises:
        DAVError: Any error, as HTTP has it; nothing was changed.
    """
    if "HTTP_CONTENT_RANGE" in environ or "HTTP_CONTENT_ENCODING" in environ:
        raise DAVError(HTTPStatus.BAD_REQUEST, "Send the whole file as it is.")
    view, raw = view_of(environ), environ["PATH_INFO"]
    length, tokens = announced_bytes(environ), tokens_of(environ)
    begun = False

    def judge_again(path: VirtualPath, entry: Entry | None) -> None:
        if not begun:
            judge(path, entry)
            return
        try:
            require_expected(environ, entry)  # locks are looked at by the VFS itself
        except DAVError as error:
            raise ConditionFailedError("It was changed meanwhile.") from error

    with translated(_STATUSES):
        upload = view.upload(raw, length=length, tokens=tokens, judge=judge_again)
        begun = True
        upload.mtime_ns = announced_mtime_ns(environ)
        entry = _received(body_of(environ), upload)
    headers = [("ETag", f'"{entry.etag}"')]
    if upload.mtime_ns is not None:
        headers.append(("X-OC-Mtime", "accepted"))
    if upload.replaces:
        return Answer(HTTPStatus.NO_CONTENT, headers)
    return Answer(HTTPStatus.CREATED, [("Content-Length", "0"), *headers])


def _receive_all(body: Body, upload: Upload) -> None:
    length = min(body.waiting_bytes, BLOCK_BYTES)
    # Of a long body one block is hashed while the other one is filled; for a short one
    # the hand-over costs more than it gains.
    turns = 2 if body.waiting_bytes >= _LONG_BYTES else 1
    for block in cycle([memoryview(bytearray(length)) for _ in range(turns)]):
        count = body.read_into(block)
        if not count:
            return
        upload.write(block[:count], kept=turns > 1)


def _received(body: Body, upload: Upload) -> Entry:
    try:
        if body.waiting_bytes:
            _receive_all(body, upload)
        return upload.commit()
    except ServerError as error:
        upload.fail(error)
        raise
    except BaseException:
        upload.abort("internal")
        raise
