"""The data folder by its descriptor: what the store and recovery stand on."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, TypeVar

from server.model.errors import (
    NameCollisionError,
    PathRefusedError,
    StorageFailedError,
)
from server.model.name import folded
from server.storage import marks
from server.storage.confined import Confined
from server.storage.port import TRASH as TRASH  # noqa: PLC0414 - beside its like
from server.storage.port import Location

T = TypeVar("T")

STAGE: Final = ".stage"
QUARANTINE: Final = ".quarantine"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
NEVER_HANG: Final = os.O_NONBLOCK | os.O_NOCTTY  # a planted pipe must not stop us
_PROBE: Final = b"user.kagikura.probe"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY


class Held(Generic[T]):
    """An open descriptor for the length of a block, and what the block gets of it.

    A class, because a generator costs five times as much and every act has many.
    """

    __slots__ = ("_fd", "what")

    def __init__(self, fd: int, what: T) -> None:
        """Close `fd` after the block."""
        self._fd = fd
        self.what = what

    def __enter__(self) -> T:
        """What was opened."""
        return self.what

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close it, when there is no block."""
        os.close(self._fd)


class Disk:
    """Opens places below `data_dir`. Its methods raise OSError."""

    def __init__(self, data_dir: Path, *, sync: bool, openat2: bool = True) -> None:
        """Open the data folder.

        Args:
            data_dir: Made if missing.
            sync: Whether files and folder entries are fsynced.
            openat2: False uses the component walk (for kernels without it).
        """
        data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self.confined = Confined(openat2=openat2)
        self.sync = sync
        self._data = os.open(data_dir, _FOLDER | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the data folder's descriptor back."""
        os.close(self._data)

    def open(self, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """Open what lies at `parts` below the data folder."""
        return self.confined.open(self._data, parts, flags, mode)

    def opened(self, parts: tuple[str, ...], flags: int) -> "Held[int]":
        """As `open`, closed after the block."""
        fd = self.open(parts, flags)
        return Held(fd, fd)

    def parent(self, at: Location) -> "Held[tuple[int, str]]":
        """The folder that holds `at`, and the name in it.

        Raises:
            PathRefusedError: `at` is a root, which nobody renames or removes.
        """
        if not at.parts:
            raise PathRefusedError("This folder is fixed.", rule="root")
        folder = self.open(path_of(at)[:-1], _FOLDER)
        return Held(folder, (folder, at.parts[-1]))

    def claimed(self, at: Location) -> "Held[tuple[int, str]]":
        """As `parent`, with the folder to oneself (`flock`, other processes too).

        Between looking at a name and renaming over it nobody else may put something
        there: it would be replaced without going to the trash.
        """
        held = self.parent(at)
        # Some network file systems lock no folders; the race is narrow there too.
        with suppress(OSError):
            fcntl.flock(held.what[0], fcntl.LOCK_EX)
        return held

    def naming(
        self, at: Location, moved: tuple[int, str] | None = None
    ) -> "Held[tuple[int, str]]":
        """As `claimed`, for a name that may be new; `moved` will be gone then.

        Raises:
            NameCollisionError: The folder lets no two names differ only in case.
        """
        held = self.claimed(at)
        if at.collide:
            try:
                require_distinct(*held.what, moved)
            except BaseException:
                held.close()
                raise
        return held

    def special(self, contract_id: str, name: str) -> "Held[int]":
        """A contract's stage, trash or quarantine."""
        return self.opened((contract_id, name), _FOLDER)

    def make(self, parts: tuple[str, ...]) -> None:
        """Make a folder if it is missing."""
        with self.opened(parts[:-1], _FOLDER) as folder:
            try:
                os.mkdir(parts[-1], FOLDER_MODE, dir_fd=folder)
            except FileExistsError:
                return
            self.flush(folder)

    def require_marks(self) -> None:
        """Return when files bear marks of acts (docs/adr/0006) and writers (0025).

        Raises:
            StorageFailedError: The file system keeps no extended attributes, or no
                locks on byte ranges.
        """
        try:
            os.setxattr(self._data, _PROBE, b"1")
            os.removexattr(self._data, _PROBE)
        except OSError as error:
            raise StorageFailedError(
                "data_dir must lie on a file system that keeps extended attributes "
                f"(user.*): {error.strerror}."
            ) from error
        try:
            marks.probe(self._data)
        except OSError as error:
            raise StorageFailedError(
                "data_dir must lie on a file system that locks byte ranges between "
                f"processes (and between nodes that share it): {error.strerror}."
            ) from error

    def room(self) -> os.statvfs_result:
        """How much room there is."""
        return os.fstatvfs(self._data)

    def flush(self, fd: int) -> None:
        """`fsync`, when the settings ask for it."""
        if self.sync:
            os.fsync(fd)

    def flush_free(self, folder: int) -> None:
        """As `flush`, of a claimed folder: nobody else need wait for the disk."""
        if self.sync:
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_UN)
            os.fsync(folder)


def require_distinct(folder: int, name: str, moved: tuple[int, str] | None) -> None:
    """Return when no other name in the folder differs from `name` in case alone.

    Raises:
        NameCollisionError: One does, and it is not the one that is `moved`.
        OSError: The folder cannot be read.
    """
    names = set(os.listdir(folder))
    if name in names:
        return  # no new name
    if moved is not None and os.path.samestat(os.fstat(moved[0]), os.fstat(folder)):
        names.discard(moved[1])
    key = folded(name)
    if any(folded(other) == key for other in names):
        raise NameCollisionError


def path_of(at: Location) -> tuple[str, ...]:
    """Where a location lies below the data folder."""
    return (at.root.contract_id, at.root.area, at.root.id, *at.parts)
