"""PUT: a body becomes a file when all of it came, and leaves nothing otherwise."""

import logging
import re
from typing import Any, Final

from wsgidav.dav_error import DAVError

from server.model.errors import ServerError
from server.vfs.entry import Entry
from server.vfs.upload import Upload
from server.vfs.view import View
from server.webdav.body import Body, KnownBody
from server.webdav.target import tokens_of

log = logging.getLogger(__name__)

BLOCK_BYTES: Final = 1024 * 1024
_NS_PER_S: Final = 1_000_000_000
_SECONDS: Final = re.compile("[0-9]{1,10}")


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
    if not (expected.isascii() and expected.isdigit()):
        raise DAVError(400, "X-Expected-Entity-Length is no number.")
    return int(expected)


def announced_mtime_ns(environ: dict[str, Any]) -> int | None:
    """The time of the file's last change by X-OC-Mtime, seconds since 1970 there.

    Tools that synchronise (rclone, the clients of ownCloud) send it, for WebDAV has no
    way of its own; what is no such time is as if it were not sent.
    """
    told = environ.get("HTTP_X_OC_MTIME", "").partition(".")[0]
    return int(told) * _NS_PER_S if _SECONDS.fullmatch(told) else None


def receive(view: View, raw: str, environ: dict[str, Any]) -> Entry:
    """Store a request's body at `raw`; what was there stays until all of it came.

    Raises:
        ServerError: Refused, cut off, or not possible now; nothing was changed.
    """
    length, tokens = announced_bytes(environ), tokens_of(environ)
    upload = view.upload(raw, length=length, tokens=tokens)
    upload.mtime_ns = announced_mtime_ns(environ)
    try:
        return _copied(body_of(environ), upload)
    except ServerError as error:
        upload.fail(error)
        raise
    except BaseException:
        upload.abort("internal")
        raise


def _copied(body: Body, upload: Upload) -> Entry:
    while block := body.read(BLOCK_BYTES):
        upload.write(block)
    return upload.commit()
