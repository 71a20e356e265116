"""One authenticated connection while it lives."""

import threading
from collections.abc import Callable

from server.model.errors import SessionCutError
from server.model.event import Fields, actor_fields
from server.model.identity import Actor


class Session:
    """A session that every act names and that can be cut at any moment.

    The front end registers with `on_cut` how its connection is closed; the VFS asks
    `require_live` before each act and each block of data.
    """

    __slots__ = ("_closers", "_cut", "_lock", "actor", "fields", "started_us")

    def __init__(self, actor: Actor, *, started_us: int) -> None:
        """Open a session of `actor`."""
        self.actor = actor
        self.fields: Fields = actor_fields(actor)
        self.started_us = started_us
        self._cut: str | None = None
        self._closers: list[Callable[[], None]] = []
        self._lock = threading.Lock()  # Guards _cut and _closers. Taken before none.

    @property
    def cut_rule(self) -> str | None:
        """What cut the session, or None while it lives."""
        return self._cut

    def on_cut(self, close: Callable[[], None]) -> None:
        """Call `close` when the session is cut; at once if it is cut already."""
        with self._lock:
            if self._cut is None:
                self._closers.append(close)
                return
        close()

    def cut(self, rule: str) -> None:
        """End the session: the first rule stays, closers run once, outside the lock."""
        with self._lock:
            if self._cut is not None:
                return
            self._cut = rule
            closers, self._closers = self._closers, []
        for close in closers:
            close()

    def require_live(self) -> None:
        """Return if the session may go on.

        Raises:
            SessionCutError: It was cut.
        """
        if self._cut is not None:
            raise SessionCutError(self._cut)
