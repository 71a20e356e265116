"""Both front ends know every error."""

import inspect

from server.model import errors
from server.sftp.status import STATUS as SFTP_STATUS
from server.webdav.status import STATUS as HTTP_STATUS
from server.webdav.status import status_of


def _all_errors() -> set[type[errors.ServerError]]:
    return {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ServerError)
    }


def test_both_front_ends_map_every_error_and_no_other() -> None:
    """A new error class that one of them forgets would be a bare failure there."""
    assert SFTP_STATUS.keys() == HTTP_STATUS.keys()
    assert HTTP_STATUS.keys() == _all_errors()


def test_an_unknown_error_takes_the_status_of_its_family() -> None:
    """A subclass that only a front end knows must still have an answer."""

    class OddFullError(errors.StorageFullError):
        """Another way of being full."""

    assert status_of(OddFullError("full")) == 507


def test_what_the_trail_cannot_hold_is_told_apart_by_its_status() -> None:
    """audit.md, "Fail closed": short of space is 507, not writable at all is 503."""
    assert HTTP_STATUS[errors.AuditSpaceError] == 507
    assert HTTP_STATUS[errors.AuditUnavailableError] == 503
