"""An open file of the local store, and what the disk says of one."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

from server.model.errors import NotFoundError, StorageFullError
from server.storage.block import copy_block
from server.storage.errors import translated
from server.storage.port import Attributes, Batch, Changes, StoredFile, kept_mode

_ACT: Final = b"user.kagikura.act"
_PERMISSIONS: Final = 0o777
_KEPT_KINDS: Final = frozenset({stat.S_IFREG, stat.S_IFDIR})
_BATCH: Final = 128
"""Entries of a folder that are looked at one after the other: with what is made of them
they fit in a core's cache. 512 took a fifth longer and left 80 MiB in the allocator."""


class LocalFile:
    """A regular file by its descriptor; positioned reads and writes only."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """Take over a descriptor; it is closed when it is no regular file."""
        try:
            require_kept_kind(os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    @property
    def descriptor(self) -> int:
        """The open file's number in this process."""
        return self._fd

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; empty at the end."""
        with translated():
            return os.pread(self._fd, length, offset)

    def read_into(self, offset: int, places: Sequence[memoryview]) -> int:
        """Fill `places` one after the other from `offset`; how many bytes came."""
        with translated():
            return os.preadv(self._fd, places, offset)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`."""
        view = memoryview(data)
        with translated():
            while view:
                written = os.pwrite(self._fd, view, offset)
                if written == 0:
                    raise StorageFullError("The disk is full.")
                offset += written
                view = view[written:]

    def copy_from(self, source: StoredFile, offset: int, to: int, length: int) -> int:
        """Copy up to `length` bytes of another file; how many came, 0 at its end."""
        with translated():
            return copy_block(source.descriptor, offset, self._fd, to, length)

    def attributes(self) -> Attributes:
        """What the file is now."""
        with translated():
            return attributes_of(os.fstat(self._fd))

    def change(self, changes: Changes) -> None:
        """Set size, mode or times."""
        with translated():
            change_descriptor(self._fd, changes)

    def expect(self, length: int) -> None:
        """So many bytes will come; there is room, as far as anybody knows."""

    def give(self) -> int:
        """Hand the descriptor over: to close it is somebody else's now."""
        fd, self._fd = self._fd, -1
        return fd

    def sync(self) -> None:
        """Bring content and size to the disk."""
        with translated():
            os.fsync(self._fd)

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with translated():
                os.close(fd)


def require_kept_kind(status: os.stat_result) -> None:
    """Files and folders exist for us; links, devices and pipes do not.

    Raises:
        NotFoundError: Something else is there.
    """
    if stat.S_IFMT(status.st_mode) not in _KEPT_KINDS:
        raise NotFoundError("There is no such file or folder.")


def attributes_of(status: os.stat_result) -> Attributes:
    """From the kernel's words to ours."""
    mode = status.st_mode
    folder = stat.S_ISDIR(mode)
    return Attributes(  # by position, for folders hold many
        folder,
        0 if folder else status.st_size,
        mode & _PERMISSIONS,
        status.st_mtime_ns,
        status.st_atime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def change_descriptor(fd: int, changes: Changes) -> None:
    """Set size, mode and times in this order (a new size moves the times).

    Raises:
        OSError: As the kernel says.
    """
    status = os.fstat(fd)
    if changes.size is not None:
        os.ftruncate(fd, changes.size)
    if changes.mode is not None:
        is_folder = stat.S_ISDIR(status.st_mode)
        os.fchmod(fd, kept_mode(changes.mode, is_folder=is_folder))
    if changes.atime_ns is not None or changes.mtime_ns is not None:
        atime = status.st_atime_ns if changes.atime_ns is None else changes.atime_ns
        mtime = status.st_mtime_ns if changes.mtime_ns is None else changes.mtime_ns
        os.utime(fd, ns=(atime, mtime))


def set_act(fd: int, act: str) -> None:
    """Mark a staged file or folder with the act that publishes it.

    Raises:
        OSError: The file system keeps no extended attributes.
    """
    os.setxattr(fd, _ACT, act.encode())


def act_of(fd: int) -> str | None:
    """The act that published this file or folder; None when it bears no mark."""
    try:
        return os.getxattr(fd, _ACT).decode()
    except OSError:
        return None


def entries(fd: int) -> Iterator[tuple[str, Attributes]]:
    """What an open folder holds; takes over the descriptor and closes it."""
    return chain.from_iterable(batches(fd))


def batches(fd: int) -> Iterator[Batch]:
    """As `entries`, some hundred at a time.

    Links and special files are left out, and names that are no UTF-8: nothing of
    ours made them.
    """
    found = _batches(fd)
    next(found)  # a generator that was never begun would never close the descriptor
    return found


def _batches(fd: int) -> Iterator[Batch]:
    try:
        with translated(), os.scandir(fd) as found:
            yield []  # nobody gets this one
            while some := list(islice(found, _BATCH)):
                yield _kept(some)
    finally:
        os.close(fd)


def _kept(found: Iterable[os.DirEntry[str]]) -> Batch:
    """Names and attributes of those that exist for us."""
    kept = []
    for entry in found:
        name = entry.name
        if not name.isascii() and not _encodable(name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # removed while we looked
        if stat.S_IFMT(status.st_mode) in _KEPT_KINDS:
            kept.append((name, attributes_of(status)))
    return kept


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
