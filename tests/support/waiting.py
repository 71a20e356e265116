"""Waiting for something to become true, with a deadline instead of a guess."""

import time
from collections.abc import Callable

POLL_S = 0.01


def until(
    holds: Callable[[], object], *, what: str = "it holds", deadline_s: float = 10.0
) -> None:
    """Return as soon as `holds()` is true.

    Raises:
        AssertionError: It was not within `deadline_s` seconds.
    """
    end = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s in vain until {what}")
        time.sleep(POLL_S)
