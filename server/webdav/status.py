"""HTTP statuses of our errors: one total table, and the way into wsgidav's errors.

A path whose spelling we refuse is a 400, not a 403: the URL is wrong for this store
whoever asks, and a person who reads "access denied" would run to the admin for rights.
RFC 9110 section 15 and RFC 4918 section 11 name the numbers.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final

from wsgidav.dav_error import (
    DAVError,
    DAVErrorCondition,
    PRECONDITION_CODE_MissingLockToken,
)

from server.model import errors
from server.webdav.hrefs import href_of

_NO_OVERRIDES: Final[Mapping[type[errors.ServerError], int]] = {}
RETRY_AFTER_S: Final = 5
"""What a client is asked to wait before it tries again after a 503."""

STATUS: Final[dict[type[errors.ServerError], int]] = {
    errors.ServerError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.RefusedError: HTTPStatus.FORBIDDEN,
    errors.PathRefusedError: HTTPStatus.BAD_REQUEST,
    errors.NameCollisionError: HTTPStatus.CONFLICT,
    errors.RightsRefusedError: HTTPStatus.FORBIDDEN,
    errors.LinkRefusedError: HTTPStatus.FORBIDDEN,
    errors.LoginRefusedError: HTTPStatus.UNAUTHORIZED,
    errors.SessionCutError: HTTPStatus.UNAUTHORIZED,
    errors.LimitError: HTTPStatus.FORBIDDEN,
    errors.QuotaRefusedError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StateError: HTTPStatus.CONFLICT,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ExistsError: HTTPStatus.PRECONDITION_FAILED,
    errors.NotEmptyError: HTTPStatus.CONFLICT,
    errors.NotFolderError: HTTPStatus.CONFLICT,
    errors.IsFolderError: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.LockedError: HTTPStatus.LOCKED,
    errors.ConditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    errors.HandleError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.IncompleteUploadError: HTTPStatus.BAD_REQUEST,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AuditUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AuditSpaceError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StorageFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.StorageFailedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.BooksUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DrainingError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: errors.ServerError) -> int:
    """The HTTP status of an error; a class that is new takes its parent's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def status_line(status: int) -> str:
    """`404 Not Found` of 404."""
    return f"{status} {HTTPStatus(status).phrase}"


def dav_error(
    error: errors.ServerError, *, status: int | None = None, condition: str = ""
) -> DAVError:
    """The error as wsgidav carries it; `src_exception` says that it is on record.

    Args:
        error: What the VFS or access raised.
        status: A status that fits the method better than the table's.
        condition: The pre- or postcondition of RFC 4918, section 16, that failed.
    """
    status = status_of(error) if status is None else status
    headers = []
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    found = DAVErrorCondition(condition) if condition else None
    if isinstance(error, errors.LockedError) and error.paths:
        found = DAVErrorCondition(PRECONDITION_CODE_MissingLockToken)
        for path in error.paths:
            found.add_href(href_of(path))
    return DAVError(
        status,
        str(error),
        src_exception=error,
        err_condition=found,
        add_headers=headers,
    )


class _Translated:
    """A class: a generator costs five times as much, and every request has one."""

    __slots__ = ("_overrides",)

    def __init__(self, overrides: Mapping[type[errors.ServerError], int]) -> None:
        self._overrides = overrides

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, errors.ServerError):
            found = (s for k, s in self._overrides.items() if isinstance(error, k))
            raise dav_error(error, status=next(found, None)) from error


def translated(
    overrides: Mapping[type[errors.ServerError], int] = _NO_OVERRIDES,
) -> _Translated:
    """Turn our errors into wsgidav's.

    Args:
        overrides: Statuses that the method's specification asks for.

    Raises:
        DAVError: Any of our errors was raised inside.
    """
    return _Translated(overrides)
