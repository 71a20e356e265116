"""What makes a stream one process's own: its lock, its stamps, its siblings' heads."""

import fcntl
import os
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from server.audit import hashchain, segment
from server.audit.hashchain import ChainError
from server.model.clock import Clock, rfc3339
from server.model.errors import AuditUnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome, Phase, Protocol

_DAY_US: Final = 86_400_000_000
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class StreamBusyError(AuditUnavailableError):
    """Another process is writing this stream."""

    reason = "stream_busy"


class Stamps:
    """What the journal adds to each record. Used under the journal's lock."""

    def __init__(self, *, node: str, slot: str, clock: Clock) -> None:
        """Stamp for the stream `node/slot`."""
        self.stream = f"{node}/{slot}"
        self._node = node
        self._clock = clock
        self._boot = _BOOT_ID.read_text(encoding="ascii").strip()
        self._second = (-1, "")

    def stamp(self, fields: Fields, *, seq: int, prev: str) -> Fields:
        """The whole record but its hash."""
        return {
            **fields,
            "id": f"{self.stream}:{seq}",
            "time": self._time(),
            # Kept exact for every JSON reader; it wraps after 104 days.
            "mono_ns": self._clock.mono_ns() & hashchain.EXACT_MAX,
            "boot": self._boot,
            "node": self._node,
            "prev": prev,
        }

    def day(self) -> int:
        """Today (UTC), in days since the epoch."""
        return day_of(self._clock.time_us())

    def _time(self) -> str:
        second, micros = divmod(self._clock.time_us(), 1_000_000)
        if self._second[0] != second:
            self._second = (second, rfc3339(second * 1_000_000)[:20])
        return f"{self._second[1]}{micros:06d}Z"


def day_of(time_us: int) -> int:
    """The day (UTC) of a time, in days since the epoch."""
    return time_us // _DAY_US


def system_record(operation: Operation, detail: Json) -> Fields:
    """A record of the house itself."""
    return {
        "phase": Phase.EVENT,
        "protocol": Protocol.SYSTEM,
        "operation": operation,
        "outcome": Outcome.DONE,
        "detail": detail,
    }


def start_detail(folder: Path, node: str) -> Json:
    """What the start record tells: code version, process, the other streams' heads.

    A stream that vanishes later is missed because a sibling has named its head.
    """
    heads: dict[str, Json] = {}
    for slot in segment.slots(folder.parent):
        line = segment.last_line(folder.parent / slot)
        if slot == folder.name or not line:
            continue
        try:
            link = hashchain.parse(line)
        except ChainError:
            heads[f"{node}/{slot}"] = None
        else:
            heads[f"{node}/{slot}"] = {"seq": link.seq, "hash": link.hash}
    return {"version": _version(), "pid": os.getpid(), "heads": heads}


def take_lock(path: Path, patience_s: float) -> int:
    """Lock a stream for this process.

    Returns:
        The descriptor that holds the lock until it is closed.

    Raises:
        StreamBusyError: Still locked by another process after `patience_s` seconds.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.02)
                continue
            os.close(fd)
            raise StreamBusyError(
                "Another process is writing this part of the trail; try again."
            ) from None
        return fd


def _version() -> str:
    try:
        return metadata.version("kagikura")
    except metadata.PackageNotFoundError:
        return "source"
