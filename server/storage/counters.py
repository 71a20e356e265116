"""How much is stored, in small files that processes and nodes share under a lock.

    data_dir/<contract id>/.quota/<scope>     one counter: what is used, who writes
    data_dir/<contract id>/.quota/.turn       who wants to count has its turn first
    data_dir/<contract id>/.quota/.window     shared by acts, alone by who counts

A counter is only there where a quota is set. It is never synced: after a crash it is
counted anew from the disk, which is the truth. They lie beside the files, so that nodes
that share the files share them too.

What a process has reserved for a file that grows is *held* in the counter: its name is
the act that staged it, or `#` and the inode of a file that is written in place. Whoever
counts takes what is held in the place of what the file is just now.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from server.model.quota import Usage
from server.storage.disk import FILE_MODE, Disk

FOLDER: Final = ".quota"
_HEAD: Final = struct.Struct("<4sBBHqqI")
_HELD: Final = struct.Struct("<32s16sqqqIB")
_MAGIC: Final = b"kqc1"
_BYTES_MAX: Final = 1 << 22
_TURN: Final = ".turn"
_WINDOW: Final = ".window"


@dataclass(slots=True)
class Held:
    """What one process has reserved for one file or tree that grows."""

    owner: str
    """Of the process slot."""
    charged: Usage
    """What of it is in the counter."""
    end: int
    """Up to where the file may be written."""
    handles: int = 1
    gone: bool = False
    """It was moved out of the scope while it was written: it counts elsewhere."""


@dataclass(slots=True)
class Counter:
    """What a scope uses, reservations included."""

    counted: bool = False
    used: Usage = field(default_factory=Usage)
    level: int = 0
    """The highest share, in per cent, that was warned of."""
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    """By name and owner."""

    def of(self, name: str) -> list[Held]:
        """What all processes hold under a name."""
        return [held for (known, _), held in self.held.items() if known == name]

    @classmethod
    def parse(cls, text: bytes) -> "Counter":
        """Read what `pack` wrote; anything else has to be counted anew."""
        if len(text) < _HEAD.size:
            return cls()
        magic, counted, level, _, stored, files, rows = _HEAD.unpack_from(text)
        if magic != _MAGIC or len(text) < _HEAD.size + rows * _HELD.size:
            return cls()
        held = {}
        for place in range(rows):
            row = _HELD.unpack_from(text, _HEAD.size + place * _HELD.size)
            name, owner = _text(row[0]), _text(row[1])
            held[name, owner] = Held(
                owner, Usage(row[2], row[3]), row[4], row[5], gone=bool(row[6])
            )
        return cls(bool(counted), Usage(stored, files), level, held)

    def pack(self) -> bytes:
        """As the file keeps it."""
        used = (self.used.bytes, self.used.files)
        head = (_MAGIC, self.counted, self.level, 0, *used, len(self.held))
        rows = [
            _HELD.pack(
                name.encode(),
                owner.encode(),
                held.charged.bytes,
                held.charged.files,
                held.end,
                held.handles,
                held.gone,
            )
            for (name, owner), held in self.held.items()
        ]
        return _HEAD.pack(*head) + b"".join(rows)


class _File:
    """One counter's file, open; its lock is among threads, `flock` among processes."""

    __slots__ = ("fd", "lock")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lock = threading.Lock()

    def read(self) -> Counter:
        return Counter.parse(os.pread(self.fd, _BYTES_MAX, 0))

    def write(self, counter: Counter) -> None:
        os.pwrite(self.fd, counter.pack(), 0)


Key = tuple[str, str]
"""A contract's id and a scope's name."""


class Counters:
    """The counters of all contracts. Thread-safe; methods raise OSError."""

    def __init__(self, disk: Disk) -> None:
        """Keep them on this disk."""
        self._disk = disk
        self._files: dict[Key, _File] = {}
        self._guard = threading.Lock()  # Guards _files. Taken before none.

    @contextmanager
    def changing(self, keys: Sequence[Key]) -> Iterator[list[Counter]]:
        """Counters to oneself, in the order of `keys`; kept if the block ends well."""
        with ExitStack() as stack:
            files = {key: self._file(key) for key in sorted(set(keys))}
            for file in files.values():
                stack.enter_context(file.lock)
                stack.enter_context(_flocked(file.fd, fcntl.LOCK_EX))
            found = {key: file.read() for key, file in files.items()}
            yield [found[key] for key in keys]
            for key, file in files.items():
                file.write(found[key])

    def look(self, key: Key) -> Counter:
        """A counter as it is just now."""
        return self._file(key).read()

    @contextmanager
    def acting(self, contract_id: str) -> Iterator[None]:
        """Between an effect and its counting nobody counts the disk."""
        with self._opened(contract_id, _WINDOW) as window:
            with (
                self._opened(contract_id, _TURN) as turn,
                _flocked(turn, fcntl.LOCK_SH),
            ):
                _flock(window, fcntl.LOCK_SH)
            yield  # closing the descriptor gives the lock back

    @contextmanager
    def counting(self, contract_id: str) -> Iterator[None]:
        """No act is between its effect and its counting."""
        with (
            self._opened(contract_id, _TURN) as turn,
            _flocked(turn, fcntl.LOCK_EX),
            self._opened(contract_id, _WINDOW) as window,
            _flocked(window, fcntl.LOCK_EX),
        ):
            yield

    def known(self, contract_id: str) -> list[Key]:
        """The counters that a contract has."""
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY
            with self._disk.opened((contract_id, FOLDER), flags) as folder:
                names = os.listdir(folder)  # noqa: PTH208 - by descriptor
        except FileNotFoundError:
            return []
        return [(contract_id, name) for name in names if not name.startswith(".")]

    def distrust(self, contract_id: str, *, crashed_owner: str = "") -> None:
        """Have every counter of a contract counted from the disk before its next use.

        Args:
            contract_id: Whose.
            crashed_owner: A process slot that holds nothing any more.
        """
        for key in self.known(contract_id):
            with self.changing([key]) as (counter,):
                counter.counted = False
                lost = [held for held in counter.held if held[1] == crashed_owner]
                for held in lost:
                    del counter.held[held]

    def close(self) -> None:
        """Give the descriptors back."""
        with self._guard:
            for file in self._files.values():
                os.close(file.fd)
            self._files.clear()

    def _file(self, key: Key) -> _File:
        found = self._files.get(key)
        if found is not None:
            return found
        with self._guard:
            if key not in self._files:
                self._files[key] = _File(self._open(*key))
            return self._files[key]

    def _open(self, contract_id: str, name: str) -> int:
        place, flags = (contract_id, FOLDER, name), os.O_RDWR | os.O_CREAT
        try:
            return self._disk.open(place, flags, FILE_MODE)
        except FileNotFoundError:
            self._disk.make((contract_id,))
            self._disk.make((contract_id, FOLDER))
            return self._disk.open(place, flags, FILE_MODE)

    @contextmanager
    def _opened(self, contract_id: str, name: str) -> Iterator[int]:
        fd = self._open(contract_id, name)
        try:
            yield fd
        finally:
            os.close(fd)


def _flock(fd: int, how: int) -> None:
    # Where a file system keeps no such locks, one process alone still counts right.
    with suppress(OSError):
        fcntl.flock(fd, how)


@contextmanager
def _flocked(fd: int, how: int) -> Iterator[None]:
    _flock(fd, how)
    try:
        yield
    finally:
        _flock(fd, fcntl.LOCK_UN)


def _text(field_bytes: bytes) -> str:
    return field_bytes.rstrip(b"\0").decode()
