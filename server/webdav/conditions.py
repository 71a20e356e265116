"""Conditional requests, RFC 9110 section 13."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from wsgidav.dav_error import DAVError

from server.vfs.entry import Entry

_CONDITIONS: Final = frozenset({
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
})


def require_expected(environ: dict[str, Any], entry: Entry | None) -> None:
    """Return when what is there is as the request expects it.

    Raises:
        DAVError: 412 or 304, it is not.
    """
    if not _CONDITIONS.isdisjoint(environ):
        status = failed_condition(
            environ,
            method=environ["REQUEST_METHOD"],
            etag=None if entry is None or entry.is_folder else entry.etag,
            mtime_s=None if entry is None else max(0, entry.mtime_ns) // 10**9,
        )
        if status is not None:
            raise DAVError(
                status,
                "The file is not as the client expects it.",
                add_headers=_version(status, entry),
            )


def _version(status: int, entry: Entry | None) -> list[tuple[str, str]]:
    """What a 304 must tell as a 200 would (RFC 9110, section 15.4.5), and it alone."""
    if status != HTTPStatus.NOT_MODIFIED or entry is None or entry.is_folder:
        return []
    return [("ETag", f'"{entry.etag}"')]


def failed_condition(
    headers: Mapping[str, str], *, method: str, etag: str | None, mtime_s: int | None
) -> int | None:
    """The status that a request's conditions ask for, or None to go on.

    Args:
        headers: WSGI names, such as `HTTP_IF_MATCH`.
        method: The request's method.
        etag: Of what is there, without quotes; None for nothing, or a folder.
        mtime_s: Its last change, seconds since 1970; None when nothing is there.
    """
    if "HTTP_IF_MATCH" in headers:
        if not _listed(headers["HTTP_IF_MATCH"], etag, mtime_s, weak=False):
            return HTTPStatus.PRECONDITION_FAILED
    elif "HTTP_IF_UNMODIFIED_SINCE" in headers and mtime_s is not None:
        since_s = _seconds(headers["HTTP_IF_UNMODIFIED_SINCE"])
        if since_s is not None and mtime_s > since_s:
            return HTTPStatus.PRECONDITION_FAILED
    return _unchanged(headers, method=method, etag=etag, mtime_s=mtime_s)


def _unchanged(
    headers: Mapping[str, str], *, method: str, etag: str | None, mtime_s: int | None
) -> int | None:
    reads = method in {"GET", "HEAD"}
    if "HTTP_IF_NONE_MATCH" in headers:
        if _listed(headers["HTTP_IF_NONE_MATCH"], etag, mtime_s, weak=True):
            return HTTPStatus.NOT_MODIFIED if reads else HTTPStatus.PRECONDITION_FAILED
    elif "HTTP_IF_MODIFIED_SINCE" in headers and reads and mtime_s is not None:
        since_s = _seconds(headers["HTTP_IF_MODIFIED_SINCE"])
        if since_s is not None and mtime_s <= since_s:
            return HTTPStatus.NOT_MODIFIED
    return None


def range_still_valid(headers: Mapping[str, str], *, etag: str) -> bool:
    """Whether If-Range lets a Range stand (section 13.1.5); True without one.

    A date never does: a file may change twice in a second (section 8.8.2.2), and who
    has had the entity tag, as all have, must not send one.
    """
    value = headers.get("HTTP_IF_RANGE")
    return value is None or value == f'"{etag}"'


def _listed(value: str, etag: str | None, mtime_s: int | None, *, weak: bool) -> bool:
    if value.strip() == "*":
        return mtime_s is not None
    if etag is None:
        return False
    tags = {tag.strip() for tag in value.split(",")}
    return f'"{etag}"' in tags or (weak and f'W/"{etag}"' in tags)


def _seconds(date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None
