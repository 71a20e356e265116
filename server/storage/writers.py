"""Who writes which file now, whichever process serves him."""

import os
from contextlib import AbstractContextManager, nullcontext, suppress

from server.model.errors import NotFolderError, NotFoundError
from server.storage import marks
from server.storage.disk import NEVER_HANG, Disk, Held, path_of
from server.storage.errors import translated
from server.storage.file import attributes_of
from server.storage.port import Attributes, Location, StoredFile


class Writers:
    """The marks of open files (`marks`), set and asked for by place."""

    def __init__(self, disk: Disk) -> None:
        """Look below the data folder."""
        self._disk = disk

    def mark(self, file: StoredFile, login_id: str) -> None:
        """Tell that `login_id` has an open file for writing, until it is closed.

        Raises:
            StorageFailedError: Somebody is taking the file away all the time.
        """
        with translated():
            marks.mark(file.descriptor, login_id)

    def require_none(self, at: Location, login_id: str) -> None:
        """Return when nobody but `login_id` has the file open for writing.

        Raises:
            LockedError: Somebody has.
        """
        flags = os.O_RDONLY | NEVER_HANG
        with (
            suppress(NotFoundError, NotFolderError),
            translated(),
            self._disk.opened(path_of(at), flags) as fd,
        ):
            if marks.is_written(fd, login_id):
                raise marks.being_written()

    def kept_away(
        self, at: Location, login_id: str
    ) -> AbstractContextManager[Attributes | None]:
        """Nobody but `login_id` opens the file for writing until the block ends.

        The block gets what the file is; None when it is gone.

        Raises:
            LockedError: Somebody has it open already.
        """
        with translated():
            try:
                fd = self._disk.open(path_of(at), os.O_RDWR | NEVER_HANG)
            except (FileNotFoundError, NotADirectoryError):
                return nullcontext()
            try:
                marks.keep_away(fd, login_id)
                return Held(fd, attributes_of(os.fstat(fd)))
            except BaseException:
                os.close(fd)
                raise
