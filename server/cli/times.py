"""Moments and days that people type."""

import re
from datetime import datetime, time, timedelta
from typing import Final

import typer

_AGO: Final = re.compile(r"(\d+)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DAY_CHARACTERS: Final = len("2026-01-31")


def end_us(text: str) -> int:
    """When something ends, in microseconds since the epoch.

    A date alone means the end of that day in this machine's time zone; a time without a
    zone is this machine's too.
    """
    moment = _moment(text)
    if len(text) == _DAY_CHARACTERS:
        moment = datetime.combine(moment, time.min) + timedelta(days=1)
    end = _microseconds(moment)
    if end <= _microseconds(datetime.now().astimezone()):
        raise typer.BadParameter(f"{text} is in the past")
    return end


def begin_us(text: str) -> int:
    """When something begins, in microseconds since the epoch; a date: its midnight."""
    return _microseconds(_moment(text))


def start_us(text: str) -> int:
    """A moment of the trail: a date, a time, or how long ago (`15m`, `2h`, `7d`)."""
    ago = _AGO.fullmatch(text)
    if ago:
        span = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return _microseconds(datetime.now().astimezone() - span)
    return _microseconds(_moment(text))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no date; write 2027-03-31 or 2027-03-31T18:00:00+09:00"
        ) from None


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def day_us(text: str) -> tuple[int, int]:
    """A day of the trail, midnight to midnight where this machine stands."""
    if text == "today":
        text = datetime.now().astimezone().date().isoformat()
    if len(text) != _DAY_CHARACTERS:
        raise typer.BadParameter(f"{text!r} is no day; write 2026-11-30 or today")
    midnight = datetime.combine(_moment(text), time.min)
    return _microseconds(midnight), _microseconds(midnight + timedelta(days=1))
