"""How many connections may wait for their login, and who makes room.

As OpenSSH's `MaxStartups`: from `begin` waiting connections on, with `percent` per
cent, rising to always at `full`, there is no room for a new one; and one source alone
has a bound of its own. Then the oldest that has proved nothing goes, of the source that
holds most places, so that silent clients keep nobody out, not even their neighbours
behind one address. Each place is safe for `PATIENCE_S`: long enough to show a key,
even while somebody asks for places without end.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.auth.attempt import source_key
from server.model.identity import Source

PATIENCE_S: Final = 3.0
_RANDOM: Final = random.SystemRandom()


def _nothing() -> None:
    """What ends a connection that no front end has yet."""


@dataclass(slots=True, eq=False)
class Place:
    """One connection's place among those that have not logged in."""

    drop: Callable[[], None] = _nothing
    """How its front end ends it; from any thread."""
    proved: bool = False
    """It has proved a device: a person may be typing now."""
    source: Source | None = None
    since_s: float = 0.0
    """Of the monotonic clock; both are filled in by `Startups.enter`."""


class Startups:
    """The connections of one listener that have not logged in yet. Thread-safe."""

    def __init__(
        self,
        rule: str,
        source_max: int,
        *,
        chance: Callable[[], float] = _RANDOM.random,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bound by `rule`, `begin:percent:full`, and by `source_max` a source.

        Args:
            rule: As the settings checked it.
            source_max: Of one IPv4 address or IPv6 /64.
            chance: Draws from 0 up to 1.
            now_s: The monotonic clock.
        """
        self._begin, self._percent, self._full = map(int, rule.split(":"))
        self._source_max = source_max
        self._chance = chance
        self._now_s = now_s
        self._waiting = 0
        # Of each source, the oldest first.
        self._of_source: dict[str, dict[Place, None]] = {}
        self._lock = threading.Lock()  # Guards the counts. Taken before none.

    def enter(self, place: Place, source: Source) -> tuple[str, Place | None]:
        """Give a connection its place.

        Returns:
            The rule that leaves no room, or empty; and whose place it was until now:
            the caller ends that connection.
        """
        key, now_s = source_key(source), self._now_s()
        place.source, place.since_s = source, now_s
        with self._lock:
            rule, crowd = self._full_of(key)
            former = self._oldest(crowd, now_s) if rule else None
            if rule and former is None:
                return rule, None
            if former is not None:
                self._remove(former)
            self._of_source.setdefault(key, {})[place] = None
            self._waiting += 1
            return "", former

    def leave(self, place: Place) -> None:
        """Its connection has logged in or is gone; a second call does nothing."""
        with self._lock:
            self._remove(place)

    @property
    def waiting(self) -> int:
        """How many places are taken."""
        return self._waiting

    def _full_of(self, key: str) -> tuple[str, str]:
        """Which bound is reached, and whose connections fill it."""
        if len(self._of_source.get(key, ())) >= self._source_max:
            return "startups_source_max", key
        if self._dropped():
            return "startups", max(
                self._of_source, key=lambda one: len(self._of_source[one])
            )
        return "", ""

    def _oldest(self, key: str, now_s: float) -> Place | None:
        """The one of this source that has waited longest and proved nothing."""
        for place in self._of_source[key]:
            if now_s - place.since_s < PATIENCE_S:
                return None
            if not place.proved:
                return place
        return None

    def _remove(self, place: Place) -> None:
        if place.source is None:
            return
        key = source_key(place.source)
        places = self._of_source.get(key, {})
        if place not in places:
            return
        del places[place]
        self._waiting -= 1
        if not places:
            del self._of_source[key]

    def _dropped(self) -> bool:
        if self._waiting < self._begin:
            return False
        if self._waiting >= self._full:
            return True
        over = (self._waiting - self._begin) / (self._full - self._begin)
        return self._chance() * 100 < self._percent + (100 - self._percent) * over
