"""The room where connections wait that have nothing to do: one thread, one epoll."""

import logging
import selectors
import threading
import time
from collections.abc import Callable
from typing import Final

from server.webdav.connection import Connection

log = logging.getLogger(__name__)

_TICK_S: Final = 0.25


class Waiting:
    """Hands a connection to `wake` when bytes came or its time is over."""

    def __init__(self, wake: Callable[[Connection], None]) -> None:
        """Start with an empty room."""
        self._wake = wake
        self._selector = selectors.EpollSelector()
        self._lock = threading.Lock()  # Guards the selector's map and _open.
        self._open = True
        self._checked_s = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name="webdav-waiting", daemon=True
        )

    def start(self) -> None:
        """Watch the room."""
        self._thread.start()

    def put(self, connection: Connection) -> bool:
        """Let a connection wait; False when the room is closed.

        One that has its next request already queues again instead.
        """
        with self._lock:
            if not self._open:
                return False
            if connection.inbox.holds_head:
                self._wake(connection)
                return True
            self._selector.register(
                connection.socket, connection.interest, data=connection
            )
            return True

    def close(self) -> list[Connection]:
        """Empty the room and hand back who waited there."""
        with self._lock:
            self._open = False
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            left = [key.data for key in self._selector.get_map().values()]
            self._selector.close()
        return left

    def _run(self) -> None:
        while self._open:
            try:
                self._watch()
            except Exception:
                log.exception("webdav waiting room failed")
                time.sleep(_TICK_S)

    def _watch(self) -> None:
        for key, _ in self._selector.select(_TICK_S):
            self._take(key.data)
        now_s = time.monotonic()
        if now_s - self._checked_s >= _TICK_S:
            self._checked_s = now_s
            self._expire(now_s)

    def _take(self, connection: Connection) -> None:
        with self._lock:
            self._selector.unregister(connection.socket)
        self._wake(connection)

    def _expire(self, now_s: float) -> None:
        with self._lock:
            waiting = [key.data for key in self._selector.get_map().values()]
        for connection in waiting:
            if connection.deadline_s < now_s:
                # A worker ends it: that writes a record and may take a moment.
                connection.expired = True
                self._take(connection)
