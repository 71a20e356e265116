"""Copying a part of one file into another, by the kernel where it can."""

import errno
import os
from typing import Final

BLOCK_BYTES: Final = 8 * 1024 * 1024
"""Copied at a time: a few milliseconds, or as many blocks shared at once."""
_NO_KERNEL_COPY: Final = frozenset({
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,
})


def copy_block(source: int, offset: int, copy: int, to: int, length: int) -> int:
    """Copy up to `length` bytes, not more than a block; 0 at the source's end.

    Raises:
        OSError: As the kernel says.
    """
    length = min(length, BLOCK_BYTES)
    try:
        return os.copy_file_range(source, copy, length, offset, to)
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
    block = memoryview(os.pread(source, length, offset))
    done = 0
    while done < len(block):
        done += os.pwrite(copy, block[done:], to + done)
    return done
