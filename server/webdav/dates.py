"""Dates as HTTP and WebDAV write them, made once for each second that is asked for."""

import time
from functools import lru_cache
from typing import Final

_REMEMBERED: Final = 4096
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


@lru_cache(_REMEMBERED)
def http_date(seconds: int) -> str:
    """An IMF-fixdate (RFC 9110, section 5.6.7) of seconds since 1970."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    return (
        f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month - 1]} {year:04d} "
        f"{hour:02d}:{minute:02d}:{second:02d} GMT"
    )


@lru_cache(_REMEMBERED)
def iso_date(seconds: int) -> str:
    """RFC 3339, as `creationdate` wants it (RFC 4918, section 15.1)."""
    year, month, day, hour, minute, second, _, _, _ = time.gmtime(seconds)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}Z"
