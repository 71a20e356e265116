"""Room for the trail: levels, and the reserve for the bad hour.

Measured is the smaller of the spool budget that is left and the disk's free space,
as percent of the budget (or of the disk, when that is smaller). A level is entered at
its bound and left a little above it, so that service comes back once and for good.
The measuring runs on the journal's own thread; an act reads one attribute.
"""

import errno
import logging
import os
import threading
from dataclasses import dataclass
from enum import IntEnum, unique
from pathlib import Path
from typing import Final

from server.audit import segment
from server.settings.schema import AuditSettings

log = logging.getLogger(__name__)

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_STEP_BYTES: Final = 65536
_FLOOR_BYTES_MAX: Final = 1048576


@unique
class Level(IntEnum):
    """What may still be done, audit.md "Fail closed, in steps"."""

    OK = 0
    WARNING = 1
    NO_UPLOADS = 2
    RESERVE = 3


_ENTER_PERCENT: Final = {Level.WARNING: 20, Level.NO_UPLOADS: 5, Level.RESERVE: 0}
_LEAVE_PERCENT: Final = {Level.WARNING: 25, Level.NO_UPLOADS: 7, Level.RESERVE: 2}


def next_level(left_percent: float, level: Level) -> Level:
    """The level that follows from the room that is left and the level before."""
    for higher in (Level.RESERVE, Level.NO_UPLOADS, Level.WARNING):
        bounds = _LEAVE_PERCENT if level >= higher else _ENTER_PERCENT
        if left_percent <= bounds[higher]:
            return higher
    return Level.OK


@dataclass(frozen=True, slots=True)
class Room:
    """What is left for all streams of a node, looked at from outside."""

    level: Level
    left_percent: int
    spool_bytes: int


def measure(journal: Path, settings: AuditSettings) -> Room:
    """Look at the room without taking part.

    A process that comes back from a higher level stays there a little longer.

    Raises:
        OSError: The folder cannot be looked at.
    """
    slots = segment.slots(journal)
    spool = sum(segment.spool_bytes(journal / slot) for slot in slots)
    disk = os.statvfs(journal)
    budget = settings.spool_bytes_max
    capacity = max(min(budget, disk.f_blocks * disk.f_frsize), 1)
    left = min(budget - spool, disk.f_bavail * disk.f_frsize)
    percent = 100 * left / capacity
    level = next_level(percent, Level.OK)
    reserves = [journal / slot / segment.RESERVE for slot in slots]
    if any(
        path.stat().st_size < settings.reserve_bytes
        for path in reserves
        if path.exists()
    ):
        level = Level.RESERVE
    return Room(level, max(min(int(percent), 100), 0), spool)


class Reserve:
    """A preallocated file that gives its blocks back when the disk is full."""

    def __init__(self, path: Path, size: int) -> None:
        """Take `size` bytes of the disk, or as much as there is."""
        self._lock = threading.Lock()  # Guards the file's size. Taken before none.
        self._size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held = os.fstat(self._fd).st_size
        if self._held > size:
            os.ftruncate(self._fd, size)
            self._held = size
        self.refill()

    @property
    def missing(self) -> int:
        """Bytes that were given back and not yet taken again."""
        return self._size - self._held

    def release(self, needed: int) -> bool:
        """Give back room for a record of `needed` bytes.

        Returns:
            Whether there was anything left to give.
        """
        with self._lock:
            if self._held == 0:
                return False
            step = max(_STEP_BYTES, -(-needed // 4096) * 4096 * 2)
            self._held = max(self._held - step, 0)
            os.ftruncate(self._fd, self._held)
            return True

    def refill(self) -> None:
        """Take the missing bytes from the disk again, if it has them."""
        with self._lock:
            if self._held >= self._size:
                return
            try:
                os.posix_fallocate(self._fd, 0, self._size)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                os.ftruncate(self._fd, self._held)
            else:
                self._held = self._size

    def close(self) -> None:
        """Let go of the file; its blocks stay taken."""
        os.close(self._fd)


class Space:
    """The level of one stream; all streams of a node share the spool budget."""

    def __init__(self, folder: Path, settings: AuditSettings) -> None:
        """Measure for the stream in `folder`; its parent holds the node's others."""
        self._folder = folder
        self._budget = settings.spool_bytes_max
        self.level = Level.OK
        self.left_percent = 100
        self.reserve = Reserve(folder / segment.RESERVE, settings.reserve_bytes)
        self.refresh()

    def exhausted(self) -> None:
        """The disk has just refused a record: only the reserve is left."""
        self._enter(Level.RESERVE, 0)

    def refresh(self) -> None:
        """Measure anew, and make the reserve whole again if there is room.

        Raises:
            OSError: The folder cannot be looked at.
        """
        capacity, free = self._disk()
        floor = min(_FLOOR_BYTES_MAX, capacity // 100)
        missing = self.reserve.missing
        if missing and free >= missing + 2 * floor:
            self.reserve.refill()
            capacity, free = self._disk()
        if self.reserve.missing:
            self._enter(Level.RESERVE, 0)
            return
        left = min(self._budget - self._spool(), free - floor)
        percent = 100 * left / capacity
        self._enter(next_level(percent, self.level), percent)

    def close(self) -> None:
        """Let go of the reserve's file."""
        self.reserve.close()

    def _disk(self) -> tuple[int, int]:
        disk = os.statvfs(self._folder)
        capacity = min(self._budget, disk.f_blocks * disk.f_frsize)
        return max(capacity, 1), disk.f_bavail * disk.f_frsize

    def _spool(self) -> int:
        journal = self._folder.parent
        return sum(
            segment.spool_bytes(journal / slot) for slot in segment.slots(journal)
        )

    def _enter(self, level: Level, percent: float) -> None:
        self.left_percent = max(int(percent), 0)
        if level == self.level:
            return
        before, self.level = self.level, level
        log.log(
            logging.WARNING if level > before else logging.INFO,
            "trail space level changed",
            extra={
                "level": level.name,
                "before": before.name,
                "left_percent": self.left_percent,
            },
        )
