"""The old content of a file that is changed where it stands: cloned, or copied.

A clone (`FICLONE`, ioctl_ficlone(2)) shares the blocks until one side changes and costs
nothing; btrfs, XFS and others can. Elsewhere a file up to a bound is copied.
"""

import errno
import fcntl
import os
import stat
from typing import Final

from server.storage.disk import FILE_MODE, Disk
from server.storage.port import Kept
from server.storage.tree import copy_content

_FICLONE: Final = 0x40049409
_NO_CLONE: Final = frozenset({
    errno.EBADF,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTTY,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EXDEV,
})


def keep_content(
    disk: Disk, source: int, places: tuple[int, int], act: str, *, copy_bytes_max: int
) -> Kept:
    """Put what `source` holds now in the trash, under the act's id.

    Args:
        disk: Renames and flushes.
        source: A descriptor of a regular file.
        places: The contract's stage and trash; while it is made, the copy lies in
            the first, so that the trash never holds a part of a file.
        act: Has nothing staged and nothing in the trash.
        copy_bytes_max: A longer file is not copied.

    Raises:
        OSError: As the kernel says; nothing is left behind.
    """
    stage, trash = places
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    copy = disk.confined.open(stage, (act,), flags, FILE_MODE)
    try:
        kept = _fill(source, copy, copy_bytes_max)
        if kept is Kept.NOT:
            os.unlink(act, dir_fd=stage)
            return kept
        status = os.fstat(source)
        os.fchmod(copy, stat.S_IMODE(status.st_mode))
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
        disk.flush(copy)
        disk.confined.rename_new(stage, act, trash, act)
    except OSError:
        os.unlink(act, dir_fd=stage)
        raise
    finally:
        os.close(copy)
    disk.flush(trash)
    return kept


def _fill(source: int, copy: int, copy_bytes_max: int) -> Kept:
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    else:
        return Kept.CLONED
    if os.fstat(source).st_size > copy_bytes_max:
        return Kept.NOT
    copy_content(source, copy)
    return Kept.COPIED
