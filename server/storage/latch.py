"""The latch of a contract: held shortly by many who change files, or by one who locks.

    data_dir/<contract id>/.latch     byte ranges 0 and 1, and a number as content

An act holds it shared from its look at the locks until its effect stands; who takes,
prolongs or drops a lock holds it alone, and raises the number. So nobody writes where a
lock was taken meanwhile, and an unchanged number says that the locks are as they were.
It lies beside the files, and whatever shares them shares it: processes and nodes.
"""

import os
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.model.errors import StorageFailedError
from server.storage import ranges
from server.storage.disk import FILE_MODE, Disk
from server.storage.errors import translated

LATCH: Final = ".latch"
WAIT_S: Final = 10.0
_IDLE_MAX: Final = 64
"""Descriptors of a contract that are kept for the next acts."""
_DOOR: Final = (0, 1)
"""Passed by everybody on the way in, and kept by one who waits to be alone inside: or
he would never be, with others coming and going."""
_ROOM: Final = (1, 1)
_BOTH: Final = (0, 2)
_NUMBER_BYTES: Final = 8


class Latches:
    """The latches of all contracts. Thread-safe: each holder has its own descriptor."""

    def __init__(self, disk: Disk) -> None:
        """Keep them in the data folder."""
        self._disk = disk
        self._idle: dict[str, deque[int]] = defaultdict(deque)
        self._lock = threading.Lock()  # Guards _idle's keys. Taken before none.

    def shared(self, contract_id: str) -> "Shared":
        """Hold it beside others; the number that says what is locked.

        Raises:
            StorageFailedError: Somebody keeps it to himself all the time.
        """
        return Shared(self, contract_id)

    @contextmanager
    def alone(self, contract_id: str) -> Iterator[None]:
        """Hold it alone; the number is another one afterwards, whatever happened.

        Raises:
            StorageFailedError: Others do not let go of it.
        """
        fd = self.take(contract_id)
        try:
            _wait(fd, ranges.WRITE, _DOOR)
            _wait(fd, ranges.WRITE, _ROOM)
            try:
                yield
            finally:
                _raise(fd)
        finally:
            try:
                _free(fd, _BOTH)
            finally:
                self.give(contract_id, fd)

    def number(self, contract_id: str) -> int:
        """The number now; it may be another one by the time that it is looked at."""
        fd = self.take(contract_id)
        try:
            return _number(fd)
        finally:
            self.give(contract_id, fd)

    def close(self) -> None:
        """Give all descriptors back."""
        with self._lock:
            idle, self._idle = self._idle, defaultdict(deque)
        for fds in idle.values():
            for fd in fds:
                os.close(fd)

    def take(self, contract_id: str) -> int:
        """A descriptor of the latch, held by nobody, to be given back."""
        try:
            return self._idle_of(contract_id).pop()
        except IndexError:
            return self._open(contract_id)

    def give(self, contract_id: str, fd: int) -> None:
        """Give a descriptor back."""
        idle = self._idle_of(contract_id)
        if len(idle) < _IDLE_MAX:
            idle.append(fd)
        else:
            os.close(fd)

    def _idle_of(self, contract_id: str) -> deque[int]:
        idle = self._idle.get(contract_id)
        if idle is None:
            with self._lock:
                idle = self._idle[contract_id]
        return idle

    def _open(self, contract_id: str) -> int:
        with translated():
            flags = os.O_RDWR | os.O_CREAT
            return self._disk.open((contract_id, LATCH), flags, FILE_MODE)


class Shared:
    """A latch held beside others for the length of a block.

    A class, because a generator costs more and every change of a file has one.
    """

    __slots__ = ("_contract_id", "_fd", "_latches")

    def __init__(self, latches: Latches, contract_id: str) -> None:
        """Hold nothing yet."""
        self._latches = latches
        self._contract_id = contract_id
        self._fd = -1

    def __enter__(self) -> int:
        """Hold it; the number that says what is locked."""
        fd = self._fd = self._latches.take(self._contract_id)
        try:
            _wait(fd, ranges.READ, _DOOR)
            _wait(fd, ranges.READ, _ROOM)
            _free(fd, _DOOR)
            return _number(fd)
        except BaseException:
            self._let_go(_BOTH)
            raise

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self._let_go(_ROOM)

    def _let_go(self, place: tuple[int, int]) -> None:
        try:
            _free(self._fd, place)
        finally:
            self._latches.give(self._contract_id, self._fd)


def _wait(fd: int, kind: int, place: tuple[int, int]) -> None:
    try:
        ranges.wait(fd, kind, place, seconds=WAIT_S)
    except OSError as error:
        raise StorageFailedError(
            "The server is busy with its locks; nothing was done. Try again."
        ) from error


def _free(fd: int, place: tuple[int, int]) -> None:
    ranges.take(fd, ranges.FREE, *place)


def _number(fd: int) -> int:
    with translated():
        return int.from_bytes(os.pread(fd, _NUMBER_BYTES, 0), "little")


def _raise(fd: int) -> None:
    with translated():
        os.pwrite(fd, (_number(fd) + 1).to_bytes(_NUMBER_BYTES, "little"), 0)
