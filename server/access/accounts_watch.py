"""The newest accounts, followed by their revision."""

import logging
import threading
from collections.abc import Callable

from server.auth.accounts import load_snapshot, read_revision
from server.auth.admission import Admission
from server.auth.snapshot import Snapshot
from server.db.engine import DatabaseError, Engine, reading
from server.model.clock import Clock

log = logging.getLogger(__name__)

_NS = 1_000_000_000


class AccountsWatch:
    """Loads the accounts once and again whenever their revision has moved.

    A database that does not answer leaves the last snapshot in place; `age_s` tells
    how long ago it was last known to be the newest.
    """

    def __init__(self, engine: Engine, *, clock: Clock, poll_ms: int) -> None:
        """Follow the accounts in `engine`; `start` loads them."""
        self._engine = engine
        self._clock = clock
        self._poll_s = poll_ms / 1000
        self._callbacks: list[Callable[[Admission], None]] = []
        self._admission = Admission(Snapshot(revision=-1))
        self._known_ns = 0
        self._answers = True
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # Guards loading. Taken before none of ours.
        self._thread = threading.Thread(
            target=self._run, name="accounts-watch", daemon=True
        )

    def start(self) -> None:
        """Load the accounts and follow them in a thread.

        Raises:
            DatabaseError: They cannot be read.
        """
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the last snapshot stays."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def snapshot(self) -> Snapshot:
        """The newest accounts."""
        return self._admission.snapshot

    def admission(self) -> Admission:
        """The rules over the newest accounts."""
        return self._admission

    @property
    def age_s(self) -> float:
        """Seconds since the accounts were last known to be the newest."""
        return (self._clock.mono_ns() - self._known_ns) / _NS

    def on_change(self, callback: Callable[[Admission], None]) -> None:
        """Call `callback` with each new state, in the thread that found it."""
        self._callbacks.append(callback)

    def refresh(self) -> None:
        """Look for a new revision now.

        Raises:
            DatabaseError: The database does not answer.
        """
        with self._lock:
            asked_ns = self._clock.mono_ns()
            changed = self._load()
            self._known_ns = asked_ns
            if changed:
                for callback in self._callbacks:
                    callback(self._admission)

    def _load(self) -> bool:
        with reading(self._engine) as connection:
            if read_revision(connection) == self._admission.snapshot.revision:
                return False
            self._admission = Admission(load_snapshot(connection))
        return True

    def _run(self) -> None:
        while not self._stopping.wait(self._poll_s):
            self._fence()

    def _fence(self) -> None:
        try:
            self.refresh()
        except DatabaseError as error:
            if self._answers:
                log.warning("accounts cannot be read", extra={"error": str(error)})
            self._answers = False
        except Exception:
            log.exception("accounts watch failed")
        else:
            if not self._answers:
                log.info("accounts can be read again")
            self._answers = True
