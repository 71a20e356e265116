"""Group commit: callers that wait at the same time share one `fdatasync`.

One of the waiting threads leads: it syncs for all that was written up to then, while
the others sleep and new records are appended. No lock is held during the sync.
"""

import threading
from collections.abc import Callable

from server.model.errors import AuditUnavailableError

FAILED_TEXT = (
    "The audit trail cannot be written, so nothing may be done. "
    "Try again in a minute; if it stays so, tell the administrator."
)


class GroupSync:
    """Who waits until which record is durable."""

    def __init__(self, flush: Callable[[], int]) -> None:
        """Use `flush` to sync; it returns the last seq that is durable then.

        It raises OSError when the sync failed, and is never called again.
        """
        self._flush = flush
        self._lock = threading.Lock()  # Guards all below. Taken before none.
        self._turn = threading.Condition(self._lock)
        self._waiting = 0
        self._durable = 0
        self._leading = False
        self._failed = False

    def wait(self, seq: int) -> None:
        """Return once the record `seq` is durable, syncing if nobody else does.

        Raises:
            AuditUnavailableError: The sync failed, now or earlier.
        """
        while self._must_lead(seq):
            self._lead()

    def fail(self) -> None:
        """Wake all who wait with an error; nothing becomes durable any more."""
        with self._lock:
            self._failed = True
            self._turn.notify_all()

    def _must_lead(self, seq: int) -> bool:
        with self._lock:
            while self._leading and self._durable < seq and not self._failed:
                self._waiting += 1
                self._turn.wait()
                self._waiting -= 1
            if self._durable >= seq:
                return False
            if self._failed:
                raise AuditUnavailableError(FAILED_TEXT)
            self._leading = True
            return True

    def _lead(self) -> None:
        reached = None
        try:
            reached = self._flush()
        except OSError as error:
            raise AuditUnavailableError(FAILED_TEXT) from error
        finally:
            with self._lock:
                self._leading = False
                if reached is None:
                    self._failed = True
                else:
                    self._durable = max(self._durable, reached)
                if self._waiting:
                    self._turn.notify_all()
