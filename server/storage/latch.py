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

    @contextmanager
    def shared(self, contract_id: str) -> Iterator[int]:
        """Hold it beside others; the number that says what is locked.

        Raises:
            StorageFailedError: Somebody keeps it to himself all the time.
        """
        with self._opened(contract_id) as fd:
            with _freed_on_error(fd):
                _wait(fd, ranges.READ, _DOOR)
                _wait(fd, ranges.READ, _ROOM)
                _free(fd, _DOOR)
                number = _number(fd)
            try:
                yield number
            finally:
                _free(fd, _ROOM)

    @contextmanager
    def alone(self, contract_id: str) -> Iterator[None]:
        """Hold it alone; the number is another one afterwards, whatever happened.

        Raises:
            StorageFailedError: Others do not let go of it.
        """
        with self._opened(contract_id) as fd:
            with _freed_on_error(fd):
                _wait(fd, ranges.WRITE, _DOOR)
                _wait(fd, ranges.WRITE, _ROOM)
            try:
                yield
            finally:
                _raise(fd)
                _free(fd, _ROOM)
                _free(fd, _DOOR)

    def number(self, contract_id: str) -> int:
        """The number now; it may be another one by the time that it is looked at."""
        with self._opened(contract_id) as fd:
            return _number(fd)

    def close(self) -> None:
        """Give all descriptors back."""
        with self._lock:
            idle, self._idle = self._idle, defaultdict(deque)
        for fds in idle.values():
            for fd in fds:
                os.close(fd)

    @contextmanager
    def _opened(self, contract_id: str) -> Iterator[int]:
        idle = self._idle.get(contract_id)
        if idle is None:
            with self._lock:
                idle = self._idle[contract_id]
        try:
            fd = idle.pop()
        except IndexError:
            fd = self._open(contract_id)
        try:
            yield fd
        finally:
            if len(idle) < _IDLE_MAX:
                idle.append(fd)
            else:
                os.close(fd)

    def _open(self, contract_id: str) -> int:
        with translated():
            flags = os.O_RDWR | os.O_CREAT
            return self._disk.open((contract_id, LATCH), flags, FILE_MODE)


def _wait(fd: int, kind: int, place: tuple[int, int]) -> None:
    try:
        ranges.wait(fd, kind, place, seconds=WAIT_S)
    except OSError as error:
        raise StorageFailedError(
            "The server is busy with its locks; nothing was done. Try again."
        ) from error


@contextmanager
def _freed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _free(fd, _BOTH)
        raise


def _free(fd: int, place: tuple[int, int]) -> None:
    ranges.take(fd, ranges.FREE, *place)


def _number(fd: int) -> int:
    with translated():
        return int.from_bytes(os.pread(fd, _NUMBER_BYTES, 0), "little")


def _raise(fd: int) -> None:
    with translated():
        os.pwrite(fd, (_number(fd) + 1).to_bytes(_NUMBER_BYTES, "little"), 0)
