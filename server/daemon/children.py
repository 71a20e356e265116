"""Child processes of the supervisor: forking, and the two words they exchange.

A child says `ready` when its recovery is done; the supervisor answers `go` once all
are ready and the sockets listen. Signals are blocked in every process and fetched
with sigwait(2), so that no handler ever runs in the middle of something.
"""

import ctypes
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

SIGNALS: Final = frozenset({
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGCHLD,
})
RETIRE: Final = signal.SIGUSR1
"""To a worker: take no new connections, and leave when the last has ended."""
FAILED: Final = 70  # EX_SOFTWARE
_STOPS: Final = {signal.SIGTERM, signal.SIGINT}
_TICK_S: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


class Link:
    """The child's end."""

    def __init__(self, ready: int, go: int) -> None:
        """Hold two pipe ends."""
        self._ready = ready
        self._go = go

    def say_ready(self) -> None:
        """Tell the supervisor that recovery is done."""
        os.write(self._ready, b"r")

    def wait_go(self) -> bool:
        """Wait for leave to serve; False when the supervisor has gone."""
        return os.read(self._go, 1) == b"g"


@dataclass(slots=True, kw_only=True)
class Child:
    """The supervisor's end."""

    slot: str
    pid: int
    started_s: float
    ready: int
    go: int
    is_ready: bool = False
    retiring: bool = False

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether it said so in time; False also when it ended or we shall stop."""
        until_s = time.monotonic() + timeout_s
        while not signal.sigpending() & _STOPS and time.monotonic() < until_s:
            readable, _, _ = select.select([self.ready], [], [], _TICK_S)
            if readable:
                self.is_ready = os.read(self.ready, 1) == b"r"
                break
        return self.is_ready

    def say_go(self) -> None:
        """Let it serve."""
        try:
            os.write(self.go, b"g")
        except BrokenPipeError:
            log.warning("child has gone", extra={"child": self.slot})

    def send(self, number: signal.Signals) -> None:
        """Signal it; it was not reaped yet, so the pid is its own."""
        os.kill(self.pid, number)

    def forget(self) -> None:
        """Close the pipes of a reaped child."""
        os.close(self.ready)
        os.close(self.go)


def fork(slot: str, run: Callable[[Link], int], *, now_s: float) -> Child:
    """Start `run` in a process of its own; its result is the exit code.

    The child gets SIGTERM when the supervisor dies, however it dies.
    """
    ready_out, ready_in = os.pipe()
    go_out, go_in = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(ready_in)
        os.close(go_out)
        return Child(slot=slot, pid=pid, started_s=now_s, ready=ready_out, go=go_in)
    code = FAILED
    try:
        os.close(ready_out)
        os.close(go_in)
        _die_with(parent)
        code = run(Link(ready_in, go_out))
    except BaseException:
        log.exception("process failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(FAILED)
