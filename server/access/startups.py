"""How many connections may wait for their login: random early drop.

As OpenSSH's `MaxStartups`: from `begin` waiting connections on, new ones are refused
with `percent` per cent, rising to all of them at `full`; so a flood does not shut
everybody out, for honest clients try again. One source alone has a bound of its own.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from server.auth.attempt import source_key
from server.model.identity import Source

_RANDOM: Final = random.SystemRandom()


class Startups:
    """The connections of one listener that have not logged in yet. Thread-safe."""

    def __init__(
        self,
        rule: str,
        source_max: int,
        *,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        """Bound by `rule`, `begin:percent:full`, and by `source_max` a source.

        Args:
            rule: As the settings checked it.
            source_max: Of one IPv4 address or IPv6 /64.
            chance: Draws from 0 up to 1.
        """
        self._begin, self._percent, self._full = map(int, rule.split(":"))
        self._source_max = source_max
        self._chance = chance
        self._waiting = 0
        self._of_source: Counter[str] = Counter()
        self._lock = threading.Lock()  # Guards the counts. Taken before none.

    def enter(self, source: Source) -> str:
        """Count a connection in; the rule that leaves no room, or empty."""
        key = source_key(source)
        with self._lock:
            if self._of_source[key] >= self._source_max:
                return "startups_source_max"
            if self._dropped():
                return "startups"
            self._waiting += 1
            self._of_source[key] += 1
            return ""

    def leave(self, source: Source) -> None:
        """A counted connection has logged in or is gone."""
        key = source_key(source)
        with self._lock:
            self._waiting -= 1
            self._of_source[key] -= 1
            if self._of_source[key] <= 0:
                del self._of_source[key]

    @property
    def waiting(self) -> int:
        """How many are counted."""
        return self._waiting

    def _dropped(self) -> bool:
        if self._waiting < self._begin:
            return False
        if self._waiting >= self._full:
            return True
        over = (self._waiting - self._begin) / (self._full - self._begin)
        return self._chance() * 100 < self._percent + (100 - self._percent) * over
