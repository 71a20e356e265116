"""Locks on ranges of a file's bytes that belong to one descriptor (fcntl(2), "OFD").

They hold between processes and, where the file system is shared, between nodes; the
kernel drops them with the descriptor, so that a process that dies leaves none behind.
No byte needs to exist, and nobody who does not ask is stopped.
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from typing import Final

_FLOCK: Final = struct.Struct("hhqqi4x")
"""`struct flock` with 64-bit offsets: type, whence, start, length, pid."""
_BUSY: Final = frozenset({errno.EAGAIN, errno.EACCES})
_PAUSES_S: Final = (0.0, 0.0, 0.0002, 0.001, 0.005)
"""Between the tries of one that waits; the last one again and again."""

READ: Final = fcntl.F_RDLCK
WRITE: Final = fcntl.F_WRLCK
FREE: Final = fcntl.F_UNLCK


def take(fd: int, kind: int, start: int, length: int) -> bool:
    """Lock a range (READ, WRITE) or free it (FREE); false when another has it.

    Args:
        fd: Open for reading for READ, for writing for WRITE.
        kind: One of the three.
        start: First byte.
        length: Bytes; 0 for all from there.

    Raises:
        OSError: As the kernel says; ENOLCK and others where there are no such locks.
    """
    asked = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, asked)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def wait(
    fd: int,
    kind: int,
    place: tuple[int, int],
    *,
    seconds: float,
    between: Callable[[], None] | None = None,
) -> None:
    """As `take`, again and again; `between` is called after each try in vain.

    Raises:
        TimeoutError: The other did not let go within `seconds`.
    """
    deadline_s, tries = 0.0, 0
    while not take(fd, kind, *place):
        if between is not None:
            between()
        now_s = time.monotonic()
        deadline_s = deadline_s or now_s + seconds
        if now_s > deadline_s:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        time.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
        tries += 1


def blocker(fd: int, kind: int, start: int, length: int) -> int:
    """What another descriptor holds there that forbids `kind`; FREE for nothing.

    Raises:
        OSError: As the kernel says.
    """
    asked = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
    found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
    return int(_FLOCK.unpack(found)[0])
