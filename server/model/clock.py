"""Time as a collaborator, so that tests own it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What the product asks of time."""

    def time_us(self) -> int:
        """Wall clock, microseconds since 1970-01-01 UTC."""
        ...

    def mono_ns(self) -> int:
        """Nanoseconds that never go back while the machine is up."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def time_us(self) -> int:
        """Wall clock, microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()


def rfc3339(time_us: int) -> str:
    """Write microseconds since the epoch as `2026-01-31T09:05:07.000123Z`."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def parse_rfc3339(text: str) -> int:
    """Read an RFC 3339 time, or a date alone, as microseconds since the epoch.

    A time without a zone is taken as UTC.

    Raises:
        ValueError: Not such a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
