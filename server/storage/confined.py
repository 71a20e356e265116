"""Opening files below a folder without ever following a link.

`openat2(2)` does it in one call (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
RESOLVE_NO_MAGICLINKS). Where the kernel lacks it, each component is opened with
`O_NOFOLLOW` from its parent's descriptor, which is as safe and slower.
"""

import ctypes
import errno
import os
from functools import lru_cache
from typing import Final

_SYS_OPENAT2: Final = 437  # the same number on every Linux architecture
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RETRIES_MAX: Final = 64


class _OpenHow(ctypes.Structure):
    _fields_ = [  # type: ignore[mutable-override]  # ctypes names it so
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


_HOW_BYTES: Final = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


@lru_cache(maxsize=64)
def _how(flags: int, mode: int) -> ctypes.Array[_OpenHow]:
    """How to open, as the kernel reads it; the same few are asked for all day."""
    beneath = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    return (_OpenHow * 1)(_OpenHow(flags, mode, beneath))


class Confined:
    """Opens and renames below descriptors; raises OSError like `os` does."""

    def __init__(self, *, openat2: bool = True) -> None:
        """Load the C library.

        Args:
            openat2: False walks the components even where the kernel has `openat2`.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._openat2 = openat2 and self._has_openat2()

    def open(
        self, folder: int, parts: tuple[str, ...], flags: int, mode: int = 0
    ) -> int:
        """Open `parts` below the descriptor `folder`; no part may be a link.

        Raises:
            OSError: ELOOP or EXDEV for a link, else what `open(2)` says.
        """
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        if self._openat2:
            return self._call(folder, "/".join(parts) or ".", flags, mode)
        return _walk(folder, parts, flags, mode)

    def rename_new(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        """Rename; EEXIST when the target is there (`renameat2` RENAME_NOREPLACE)."""
        result = self._libc.renameat2(
            folder,
            os.fsencode(name),
            to_folder,
            os.fsencode(to_name),
            ctypes.c_uint(_RENAME_NOREPLACE),
        )
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)

    def _call(self, folder: int, path: str, flags: int, mode: int) -> int:
        how = _how(flags, mode)
        number = 0
        for _ in range(_RETRIES_MAX):
            fd: int = self._libc.syscall(
                _SYS_OPENAT2,
                folder,
                os.fsencode(path),
                how,
                _HOW_BYTES,
            )
            if fd >= 0:
                return fd
            number = ctypes.get_errno()
            # EAGAIN: a rename elsewhere raced the walk (openat2(2)); try again.
            if number not in {errno.EAGAIN, errno.EINTR}:
                break
        raise OSError(number, os.strerror(number), path)

    def _has_openat2(self) -> bool:
        try:
            os.close(self._call(_AT_FDCWD, ".", os.O_PATH | os.O_DIRECTORY, 0))
        except OSError:
            return False
        return True


def _walk(folder: int, parts: tuple[str, ...], flags: int, mode: int) -> int:
    here = os.dup(folder)
    try:
        for part in parts[:-1]:
            step = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, step, dir_fd=here)
            os.close(here)
            here = below
        fd = os.open(parts[-1] if parts else ".", flags, mode, dir_fd=here)
    finally:
        os.close(here)
    return fd
