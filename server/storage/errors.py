"""From the kernel's error numbers to ours: one total table with a default."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def translated() -> Iterator[None]:
    """Raise a `ServerError` for each OSError of the block."""
    try:
        yield
    except OSError as error:
        raise _error(error) from error


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
