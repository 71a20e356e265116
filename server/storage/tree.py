"""Copying and destroying trees by descriptor; links and special files are left out."""

import os
import shutil
import stat
from collections.abc import Callable

from server.storage.block import BLOCK_BYTES, copy_block
from server.storage.disk import FILE_MODE, FOLDER_MODE, NEVER_HANG
from server.storage.file import entries, require_kept_kind


def copy_tree(
    source: int, folder: int, name: str, *, deep: bool, flush: Callable[[int], None]
) -> int:
    """Copy what `source` is open on to `name` in `folder`; returns the bytes copied.

    Args:
        source: A descriptor of a file or folder; stays open.
        folder: A descriptor of the folder that gets the copy.
        name: Not there yet.
        deep: Whether what lies below a folder is copied too.
        flush: Called with each new descriptor before it is closed.

    Raises:
        OSError: As the kernel says; what was copied so far stays.
    """
    status = os.fstat(source)
    require_kept_kind(status)
    times = (status.st_atime_ns, status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
        copy = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder
        )
    else:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        copy = os.open(name, flags, FILE_MODE, dir_fd=folder)
    try:
        if not stat.S_ISDIR(status.st_mode):
            copied = copy_content(source, copy)
        else:
            copied = _copy_below(source, copy, flush) if deep else 0
        os.utime(copy, ns=times)
        flush(copy)
    finally:
        os.close(copy)
    return copied


def destroy(folder: int, name: str) -> None:
    """Remove a file, or a folder with all below it; nothing there is fine.

    Raises:
        OSError: As the kernel says.
    """
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        # By descriptor on this system, so that no planted link is followed.
        shutil.rmtree(name, dir_fd=folder)


def _copy_below(source: int, copy: int, flush: Callable[[int], None]) -> int:
    copied = 0
    for name, _ in entries(os.dup(source)):
        flags = os.O_RDONLY | os.O_NOFOLLOW | NEVER_HANG
        child = os.open(name, flags, dir_fd=source)
        try:
            copied += copy_tree(child, copy, name, deep=True, flush=flush)
        finally:
            os.close(child)
    return copied


def copy_content(source: int, copy: int) -> int:
    """Copy a file's content to an empty one; returns the bytes copied.

    Raises:
        OSError: As the kernel says.
    """
    copied = 0
    while count := copy_block(source, copied, copy, copied, BLOCK_BYTES):
        copied += count
    return copied
