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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from server.model.quota import Usage
from server.storage.disk import FILE_MODE, Disk

FOLDER: Final = ".quota"
_HEAD: Final = struct.Struct("<4sBBHqqI")
_HELD: Final = struct.Struct("<32s16sqqqIB")
_MAGIC: Final = b"kqc1"
_COUNTED: Final = _MAGIC + b"\x01"
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

    def take(self) -> None:
        self.lock.acquire()
        _flock(self.fd, fcntl.LOCK_EX)

    def give(self) -> None:
        _flock(self.fd, fcntl.LOCK_UN)
        self.lock.release()

    def read(self) -> Counter:
        return Counter.parse(os.pread(self.fd, _BYTES_MAX, 0))

    def write(self, counter: Counter) -> None:
        os.pwrite(self.fd, counter.pack(), 0)


class _Window:
    """A contract's window, shared by all acts of this process."""

    __slots__ = ("acts", "lock", "turn", "window")

    def __init__(self, turn: int, window: int) -> None:
        self.turn = turn
        self.window = window
        self.acts = 0
        self.lock = threading.Lock()  # Guards acts. Held while the window is waited for
        # only when no act of this process is in it.

    def enter(self) -> None:
        # Who counts holds the turn while the acts before it end; not under our lock,
        # which they need for that.
        _flock(self.turn, fcntl.LOCK_SH)
        _flock(self.turn, fcntl.LOCK_UN)
        with self.lock:
            if self.acts == 0:
                _flock(self.window, fcntl.LOCK_SH)
            self.acts += 1

    def leave(self) -> None:
        with self.lock:
            self.acts -= 1
            if self.acts == 0:
                _flock(self.window, fcntl.LOCK_UN)


Key = tuple[str, str]
"""A contract's id and a scope's name."""


class Counters:
    """The counters of all contracts. Thread-safe; methods raise OSError."""

    def __init__(self, disk: Disk) -> None:
        """Keep them on this disk."""
        self._disk = disk
        self._files: dict[Key, _File] = {}
        self._windows: dict[str, _Window] = {}
        self._guard = threading.Lock()  # Guards both. Taken before none.

    @contextmanager
    def changing(self, keys: Sequence[Key]) -> Iterator[list[Counter]]:
        """Counters to oneself, in the order of `keys`; kept if the block ends well."""
        files = [self._file(key) for key in keys]
        taken: list[_File] = []
        try:
            for _, file in sorted(zip(keys, files, strict=True), key=_by_key):
                file.take()
                taken.append(file)
            found = [file.read() for file in files]
            yield found
            for file, counter in zip(files, found, strict=True):
                file.write(counter)
        finally:
            for file in taken:
                file.give()

    def look(self, key: Key) -> Counter:
        """A counter as it is just now."""
        return self._file(key).read()

    def is_counted(self, key: Key) -> bool:
        """Whether a counter may be trusted; the quickest look."""
        return os.pread(self._file(key).fd, len(_COUNTED), 0) == _COUNTED

    @contextmanager
    def acting(self, contract_id: str) -> Iterator[None]:
        """Between an effect and its counting nobody counts the disk."""
        window = self._windows.get(contract_id) or self._open_window(contract_id)
        window.enter()
        try:
            yield
        finally:
            window.leave()

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
            for window in self._windows.values():
                os.close(window.turn)
                os.close(window.window)
            self._windows.clear()

    def _file(self, key: Key) -> _File:
        found = self._files.get(key)
        if found is not None:
            return found
        with self._guard:
            if key not in self._files:
                self._files[key] = _File(self._open(*key))
            return self._files[key]

    def _open_window(self, contract_id: str) -> _Window:
        with self._guard:
            if contract_id not in self._windows:
                self._windows[contract_id] = _Window(
                    self._open(contract_id, _TURN), self._open(contract_id, _WINDOW)
                )
            return self._windows[contract_id]

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


def _by_key(pair: tuple[Key, _File]) -> Key:
    return pair[0]
