"""The supervisor: binds, forks, watches, reloads and stops; it serves nothing itself.

It has one thread and holds no lock when it forks. A crashed child is forked again and
recovers its own stream; its end is a record there. At SIGHUP new workers start with
the new settings and the old ones retire: they take no new connections and leave when
their last session has ended, so that no session is dropped.
"""

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from server.daemon import children, sockets
from server.daemon.children import Child, Link
from server.daemon.systemd import notify
from server.model.errors import UnavailableError
from server.settings.schema import Settings

log = logging.getLogger(__name__)

KEEPER: Final = "keeper"
METRICS: Final = "metrics"
"""The listener that the keeper serves."""

_READY_S_MAX: Final = 600
_WINDOW_S: Final = 60
_RESTARTS_QUICK: Final = 10
_RESTARTS_MAX: Final = 100
_PAUSE_S: Final = 0.5
_KILL_AFTER_S: Final = 15

Sockets = dict[str, list[socket.socket]]
"""Listening sockets by the listener's name: `sftp`, `webdav`, `webdav_secret`, and
`metrics`."""


class StartError(UnavailableError):
    """A process could not start; the log says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the process before ended, for the record of the next one."""

    slot: str
    pid: int
    status: int
    """As os.waitstatus_to_exitcode: negative is a signal."""
    retiring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a child is started with."""

    slot: str
    settings: Settings
    sockets: Sockets
    """The child's own copies: it closes them when it takes no more clients."""
    previous: Exit | None = None
    orphans: tuple[str, ...] = ()
    """Worker slots of an earlier run that nobody holds now: recover these too."""


class Roles(Protocol):
    """The two kinds of children; `daemon.build` composes them."""

    def worker(self, start: Start, link: Link) -> int:
        """Serve clients until a signal; returns the exit code."""
        ...

    def keeper(self, start: Start, link: Link) -> int:
        """Record, clean and renew until a signal; returns the exit code."""
        ...


class Supervisor:
    """Runs the daemon's processes until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        roles: Roles,
        bound: Sockets,
        orphans: Sequence[str],
        reload: Callable[[], Settings],
    ) -> None:
        """Prepare to run.

        Args:
            settings: To start with.
            roles: What children do.
            bound: Bound sockets, not listening yet.
            orphans: Worker slots that an earlier run left, see `Start.orphans`.
            reload: Reads the settings again; raises ValueError when they are bad.
        """
        self._settings = settings
        self._roles = roles
        self._sockets = bound
        self._orphans = tuple(orphans)
        self._reload = reload
        self._children: dict[str, Child] = {}
        self._restarts: list[float] = []
        self._due: dict[str, tuple[float, Exit]] = {}
        self._serving = False

    def run(self) -> int:
        """Start everything, serve, stop; returns the exit code.

        Raises:
            StartError: A child could not get ready.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, children.SIGNALS)
        try:
            self._start_all()
            self._announce()
            self._serving = True
            return self._watch()
        finally:
            self._stop()

    def _start_all(self) -> None:
        for number in range(1, self._settings.workers + 1):
            orphans = self._orphans if number == 1 else ()
            self._fork(f"worker-{number}", orphans=orphans)
        self._fork(KEEPER)
        for child in self._children.values():
            if not child.wait_ready(_READY_S_MAX):
                raise StartError(f"{child.slot} could not start; see the log above.")
        for bound in self._sockets.values():
            sockets.listen(bound)
        for child in self._children.values():
            child.say_go()

    def _fork(
        self, slot: str, previous: Exit | None = None, orphans: tuple[str, ...] = ()
    ) -> Child:
        start = Start(
            slot=slot,
            settings=self._settings,
            sockets=self._sockets,
            previous=previous,
            orphans=orphans,
        )
        role = self._roles.keeper if slot == KEEPER else self._roles.worker
        child = children.fork(
            slot, lambda link: role(start, link), now_s=time.monotonic()
        )
        self._children[slot] = child
        return child

    def _announce(self) -> None:
        line: dict[str, object] = {"ready": True}
        for name, bound in self._sockets.items():
            host, port = bound[0].getsockname()[:2]
            secret = self._settings.webdav.secret
            plain = name == METRICS or (name == "webdav_secret" and not secret.tls)
            scheme = "http" if plain else "https"
            line[name] = (
                [host, port] if name == "sftp" else f"{scheme}://localhost:{port}/"
            )
        print(json.dumps(line), flush=True)  # noqa: T201 - the ready line is output
        notify("READY=1")

    def _watch(self) -> int:
        while True:
            number = self._next_signal()
            if number in {signal.SIGTERM, signal.SIGINT}:
                return 0
            if number == signal.SIGHUP:
                self._take_new_settings()
            if not self._reap() or not self._restart_due():
                return 1

    def _next_signal(self) -> int:
        if not self._due:
            return signal.sigwaitinfo(children.SIGNALS).si_signo
        first = min(due for due, _ in self._due.values())
        wait_s = max(0.0, first - time.monotonic())
        found = signal.sigtimedwait(children.SIGNALS, wait_s)
        return found.si_signo if found is not None else 0

    def _reap(self) -> bool:
        """Take note of ended children; False when they end too often."""
        while (ended := self._wait(os.WNOHANG)) is not None:
            exit_ = ended
            clean = exit_.status == 0
            if exit_.retiring and clean:
                continue
            log.log(
                logging.INFO if clean else logging.ERROR,
                "child ended",
                extra={"child": exit_.slot, "status": exit_.status},
            )
            now = time.monotonic()
            recent = [at for at in self._restarts if at > now - _WINDOW_S]
            self._restarts = [*recent, now]
            if len(recent) >= _RESTARTS_MAX:
                log.critical("children end too often; giving up")
                return False
            pause_s = _PAUSE_S if len(recent) >= _RESTARTS_QUICK else 0.0
            self._due[exit_.slot] = (now + pause_s, exit_)
        return True

    def _restart_due(self) -> bool:
        now = time.monotonic()
        for slot, (due, exit_) in list(self._due.items()):
            if due > now:
                continue
            del self._due[slot]
            child = self._fork(slot, previous=exit_)
            child.say_go()
            if exit_.retiring:
                # It only has to recover what the retiring one left.
                child.retiring = True
                child.send(children.RETIRE)
        return True

    def _wait(self, options: int) -> Exit | None:
        try:
            pid, status = os.waitpid(-1, options)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        child = next(c for c in self._children.values() if c.pid == pid)
        del self._children[child.slot]
        child.forget()
        code = os.waitstatus_to_exitcode(status)
        return Exit(slot=child.slot, pid=pid, status=code, retiring=child.retiring)

    def _take_new_settings(self) -> None:
        notify("RELOADING=1")
        try:
            settings = self._reload()
        except ValueError as error:
            log.error("settings not reloaded; the old ones stay: %s", error)  # noqa: TRY400 - the text says all
        else:
            self._replace_workers(settings)
        notify("READY=1")

    def _replace_workers(self, settings: Settings) -> None:
        old = [
            child
            for slot, child in self._children.items()
            if slot != KEEPER and not child.retiring
        ]
        self._settings = settings
        used = set(self._children)
        free = (f"worker-{n}" for n in range(1, 4096) if f"worker-{n}" not in used)
        fresh = [self._fork(next(free)) for _ in range(settings.workers)]
        if not all(child.wait_ready(_READY_S_MAX) for child in fresh):
            log.error("a new worker could not start; the old ones stay")
            for child in fresh:
                child.retiring = True
                child.send(signal.SIGTERM)
            return
        for child in fresh:
            child.say_go()
        for child in old:
            child.retiring = True
            child.send(children.RETIRE)
        self._children[KEEPER].send(signal.SIGTERM)  # forked again at once
        log.info("settings reloaded")

    def _stop(self) -> None:
        """Drain the workers, then the keeper, which records what they told last."""
        notify("STOPPING=1")
        for bound in self._sockets.values():
            sockets.close(bound)
        workers = [slot for slot in self._children if slot != KEEPER]
        self._end(workers, self._settings.drain_s + _KILL_AFTER_S)
        if self._serving and KEEPER not in self._children:
            # It was just being replaced; the last records still want a keeper.
            self._fork(KEEPER).say_go()
        self._end([KEEPER], _KILL_AFTER_S)

    def _end(self, slots: list[str], patience_s: float) -> None:
        living = [self._children[slot] for slot in slots if slot in self._children]
        for child in living:
            child.send(signal.SIGTERM)
        until = time.monotonic() + patience_s
        while any(child.slot in self._children for child in living):
            left_s = until - time.monotonic()
            if left_s <= 0:
                self._kill(living)
                return
            if self._wait(os.WNOHANG) is not None:
                continue
            found = signal.sigtimedwait(children.SIGNALS, min(left_s, 1.0))
            if found is not None and found.si_signo in {signal.SIGTERM, signal.SIGINT}:
                for child in living:  # asked twice: no more patience
                    if child.slot in self._children:
                        child.send(signal.SIGTERM)

    def _kill(self, living: list[Child]) -> None:
        for child in living:
            if child.slot in self._children:
                log.critical("child does not end", extra={"child": child.slot})
                child.send(signal.SIGKILL)
        while any(child.slot in self._children for child in living):
            self._wait(0)
