"""From the kernel's error numbers to ours: one total table with a default."""

import errno
import logging
from types import TracebackType
from typing import Final

from server.model.errors import (
    ExistsError,
    IsFolderError,
    LinkRefusedError,
    NotEmptyError,
    NotFolderError,
    NotFoundError,
    PathRefusedError,
    ServerError,
    StorageFailedError,
    StorageFullError,
)

log = logging.getLogger(__name__)

_STATE: Final[dict[int, tuple[type[ServerError], str]]] = {
    errno.ENOENT: (NotFoundError, "There is no such file or folder."),
    errno.EEXIST: (ExistsError, "There is a file or folder of that name already."),
    errno.ENOTEMPTY: (NotEmptyError, "The folder is not empty."),
    errno.ENOTDIR: (NotFolderError, "A part of the path is not a folder."),
    errno.EISDIR: (IsFolderError, "That is a folder."),
    errno.ENOSPC: (StorageFullError, "The disk is full."),
    errno.EDQUOT: (StorageFullError, "The quota is used up."),
    errno.EFBIG: (StorageFullError, "The file would be too large."),
}


class _Translated:
    """A class, because a generator costs five times as much and every act has many."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise _error(error) from error


_TRANSLATED: Final = _Translated()


def translated() -> _Translated:
    """Raise a `ServerError` for each OSError of the block."""
    return _TRANSLATED


def _error(error: OSError) -> ServerError:
    if error.errno in _STATE:
        kind, message = _STATE[error.errno]
        return kind(message)
    if error.errno in {errno.ELOOP, errno.EXDEV}:
        return LinkRefusedError("Links are not followed.")
    if error.errno == errno.ENAMETOOLONG:
        return PathRefusedError("The name is too long.", rule="name_length")
    if error.errno == errno.EINVAL:
        return NotFolderError("A folder cannot be moved into itself.")
    log.error("storage call failed", extra={"errno": error.errno})
    return StorageFailedError("The store cannot reach its disk; nothing was done.")
