"""Listings and stats, told once per window: the first at once, repeats as a count.

A client that browses asks the same folder again and again. The first time in a window
of a few seconds is written before the reply; when the window ends, or the session,
one more record tells how often it happened in between.
"""

import logging
import threading
from dataclasses import dataclass
from typing import Final, Protocol

from server.model.clock import Clock, rfc3339
from server.model.errors import AuditUnavailableError
from server.model.event import Fields
from server.model.operation import Operation, Outcome

log = logging.getLogger(__name__)

WINDOWS_MAX: Final = 10_000
"""Folders under watch at once; beyond it the oldest is told early."""

Key = tuple[str, Operation, str, Outcome]


class Recorder(Protocol):
    """What this module asks of the gate."""

    def require_room(self, operation: Operation) -> None:
        """Raise if no act may begin."""
        ...

    def tell(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        *,
        wait: bool,
        essential: bool,
        facts: Fields,
    ) -> None:
        """Write one event."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    who: Fields
    facts: Fields
    path: str


@dataclass(slots=True)
class _Window:
    who: Fields
    facts: Fields
    since_us: int
    until_ns: int
    count: int = 0


class Glances:
    """The open windows of a process, and the thread that ends them."""

    def __init__(self, gate: Recorder, *, clock: Clock, window_s: int) -> None:
        """Count in windows of `window_s` seconds."""
        self._gate = gate
        self._clock = clock
        self._window_ns = window_s * 1_000_000_000
        self._windows: dict[Key, _Window] = {}  # ascending until_ns
        self._changed = threading.Condition()  # Guards all here. Taken before
        # the journal's.
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(
        self,
        who: Fields,
        operation: Operation,
        *,
        folder_path: str,
        path: str,
        facts: Fields,
    ) -> None:
        """Record one glance, or count it.

        Raises:
            AuditUnavailableError: It is not recorded; a refusal is, if it can be.
        """
        refusal = self._refusal(operation)
        outcome = Outcome.REFUSED if refusal else Outcome.DONE
        key = (who.get("session", ""), operation, folder_path, outcome)
        facts = {**facts, "path": folder_path}
        if refusal:
            facts["reason"] = refusal.reason
        self._count(key, _Seen(who, facts, path))
        if refusal:
            raise refusal

    def leave(self, session_id: str) -> None:
        """Tell the counts of one session."""
        with self._changed:
            keys = [key for key in self._windows if key[0] == session_id]
            ended = [(key, self._windows.pop(key)) for key in keys]
        self._tell_all(ended)

    def close(self) -> None:
        """Tell all counts and end the thread."""
        with self._changed:
            self._closed = True
            ended = list(self._windows.items())
            self._windows.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._tell_all(ended)

    def _refusal(self, operation: Operation) -> AuditUnavailableError | None:
        try:
            self._gate.require_room(operation)
        except AuditUnavailableError as error:
            return error
        return None

    def _count(self, key: Key, seen: _Seen) -> None:
        """Count in the open window; else tell this one and open a window."""
        ended: list[tuple[Key, _Window]] = []
        with self._changed:
            now_ns, now_us = self._clock.mono_ns(), self._clock.time_us()
            window = self._windows.get(key)
            if window is not None and now_ns < window.until_ns:
                window.count += 1
                return
            if window is not None:
                ended.append((key, self._windows.pop(key)))
            elif len(self._windows) >= WINDOWS_MAX:
                oldest = next(iter(self._windows))
                ended.append((oldest, self._windows.pop(oldest)))
            self._tell(key, seen.who, {**seen.facts, "path": seen.path})
            self._windows[key] = _Window(
                seen.who, seen.facts, now_us, now_ns + self._window_ns
            )
            self._start()
        self._tell_all(ended)

    def _start(self) -> None:
        """Have a thread that looks at the windows; the lock is held."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(
                target=self._fence, name="audit-glances", daemon=True
            )
            self._thread.start()

    def _fence(self) -> None:
        """The thread's top."""
        while not self._closed:
            try:
                self._tell_all(self._due())
            except Exception:
                log.exception("counts of listings could not be told")

    def _due(self) -> list[tuple[Key, _Window]]:
        """Wait for the next window to end and take what has ended."""
        with self._changed:
            oldest = next(iter(self._windows.values()), None)
            if self._closed:
                return []
            # A new window wakes nobody: it ends no sooner than this wait.
            left_ns = self._window_ns
            if oldest is not None:
                left_ns = oldest.until_ns - self._clock.mono_ns()
            if left_ns > 0:
                self._changed.wait(left_ns / 1e9)
            now_ns = self._clock.mono_ns()
            keys = [key for key, w in self._windows.items() if w.until_ns <= now_ns]
            return [(key, self._windows.pop(key)) for key in keys]

    def _tell_all(self, ended: list[tuple[Key, _Window]]) -> None:
        for key, window in ended:
            if window.count == 0:
                continue
            since = rfc3339(window.since_us)
            facts: Fields = {
                **window.facts,
                "detail": {"count": window.count, "since": since},
            }
            self._tell(key, window.who, facts, essential=True)

    def _tell(
        self, key: Key, who: Fields, facts: Fields, *, essential: bool = False
    ) -> None:
        _, operation, _, outcome = key
        essential = essential or outcome is not Outcome.DONE
        self._gate.tell(
            who, operation, outcome, wait=False, essential=essential, facts=facts
        )
