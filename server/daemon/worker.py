"""The life of a worker: recover, say so, serve, and leave without losing anything."""

import logging
import signal
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from server.daemon.children import RETIRE, Link
from server.vfs.filesystem import FileSystem

log = logging.getLogger(__name__)

_STOPS: Final = frozenset({signal.SIGTERM})
_HEEDED: Final = frozenset({signal.SIGTERM, RETIRE})
_TICK_S: Final = 0.2


class FrontEnd(Protocol):
    """A listener of a worker."""

    def start(self) -> None:
        """Accept clients."""
        ...

    def retire(self) -> None:
        """Take no new clients; those there go on."""
        ...

    @property
    def connections(self) -> int:
        """How many connections live."""
        ...

    def drain(self, deadline_s: float) -> None:
        """Take no new clients, let running acts end, break them at the deadline."""
        ...

    def close(self) -> None:
        """Break everything now."""
        ...


def serve_until_told(
    fronts: Sequence[FrontEnd], files: FileSystem, link: Link, *, drain_s: float
) -> None:
    """Serve from the supervisor's `go` until a signal, then drain.

    SIGTERM drains; a second one breaks what still runs. `RETIRE` only stops the
    accepting, and ends when the last connection has gone.
    """
    link.say_ready()
    if not link.wait_go():
        return
    for front in fronts:
        front.start()
    log.info("serving")
    if signal.sigwait(_HEEDED) == RETIRE and _retire(fronts):
        return
    files.drain()
    _drain(fronts, drain_s)


def _retire(fronts: Sequence[FrontEnd]) -> bool:
    """Wait for the last connection; False when SIGTERM came first."""
    for front in fronts:
        front.retire()
    while any(front.connections for front in fronts):
        if signal.sigtimedwait(_STOPS, _TICK_S) is not None:
            return False
    for front in fronts:
        front.close()
    return True


def _drain(fronts: Sequence[FrontEnd], drain_s: float) -> None:
    threads = [
        threading.Thread(target=front.drain, args=(drain_s,), name="drain", daemon=True)
        for front in fronts
    ]
    for thread in threads:
        thread.start()
    began_s = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        if signal.sigtimedwait(_STOPS, _TICK_S) is not None:
            log.warning("told twice to stop: breaking what still runs")
            break
    for front in fronts:
        front.close()
    log.info("drained", extra={"seconds": round(time.monotonic() - began_s, 1)})
