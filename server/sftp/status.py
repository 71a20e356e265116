"""One total table from the error tree to the status codes of SFTP version 3.

Version 3 has nine codes; what happened in detail is in the error's own message, which
most clients show.
"""

from typing import Final

from paramiko.sftp import (
    SFTP_FAILURE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_OP_UNSUPPORTED,
    SFTP_PERMISSION_DENIED,
)

from server.model import errors
from server.sftp.wire import text, u32

STATUS: Final[dict[type[errors.ServerError], int]] = {
    errors.ServerError: SFTP_FAILURE,
    errors.RefusedError: SFTP_PERMISSION_DENIED,
    errors.PathRefusedError: SFTP_PERMISSION_DENIED,
    errors.NameCollisionError: SFTP_FAILURE,
    errors.RightsRefusedError: SFTP_PERMISSION_DENIED,
    errors.LinkRefusedError: SFTP_OP_UNSUPPORTED,
    errors.LoginRefusedError: SFTP_PERMISSION_DENIED,
    errors.SessionCutError: SFTP_PERMISSION_DENIED,
    errors.LimitError: SFTP_FAILURE,
    # SSH_FX_QUOTA_EXCEEDED came with version 6; here the text names the rule.
    errors.QuotaRefusedError: SFTP_FAILURE,
    errors.StateError: SFTP_FAILURE,
    errors.NotFoundError: SFTP_NO_SUCH_FILE,
    errors.ExistsError: SFTP_FAILURE,
    errors.NotEmptyError: SFTP_FAILURE,
    # As OpenSSH answers ENOTDIR.
    errors.NotFolderError: SFTP_NO_SUCH_FILE,
    errors.IsFolderError: SFTP_FAILURE,
    errors.LockedError: SFTP_PERMISSION_DENIED,
    errors.ConditionFailedError: SFTP_FAILURE,
    errors.HandleError: SFTP_FAILURE,
    errors.IncompleteUploadError: SFTP_FAILURE,
    errors.UnavailableError: SFTP_FAILURE,
    errors.AuditUnavailableError: SFTP_FAILURE,
    errors.AuditSpaceError: SFTP_FAILURE,
    errors.StorageFullError: SFTP_FAILURE,
    errors.StorageFailedError: SFTP_FAILURE,
    errors.BooksUnavailableError: SFTP_FAILURE,
    errors.DrainingError: SFTP_FAILURE,
}


def status_body(code: int, message: str) -> bytes:
    """The part of a STATUS reply after its id (filexfer-02, section 7)."""
    return u32(code) + text(message) + text("en")


def status_of(error: errors.ServerError) -> bytes:
    """The part of a STATUS reply after its id that tells an error.

    A layer's own kind of an error (the audit's, say) has the code of its parent.
    """
    code = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return status_body(code, str(error))


OK: Final = status_body(SFTP_OK, "Success")
