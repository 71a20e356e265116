"""Keys shown beside a right password, kept for an administrator to approve.

They are written by a thread a moment later and not before the answer: a refusal must
take as long as any other.
"""

import logging
import threading
from collections import OrderedDict
from typing import Final

from server.auth import pending
from server.auth.pending import PendingKey
from server.db.engine import DatabaseError, Engine, writing
from server.model.clock import Clock

log = logging.getLogger(__name__)

WAITING_MAX: Final = 256
"""Keys that wait to be written; more are dropped: they will be shown again."""
DAY_US: Final = 24 * 3600 * 1_000_000


class PendingKeys:
    """What this process was shown. Thread-safe, bounded."""

    def __init__(self, engine: Engine, *, clock: Clock, days: int) -> None:
        """Write into the accounts of `engine`; keys are kept for `days`."""
        self._engine = engine
        self._clock = clock
        self._keep_us = days * DAY_US
        self._waiting: OrderedDict[tuple[str, str], PendingKey] = OrderedDict()
        self._lock = threading.Lock()  # Guards _waiting. Taken before none.

    def note(self, key: PendingKey) -> None:
        """Take a key in; nothing is written yet."""
        name = key.login_id, key.key_sha256
        with self._lock:
            before = self._waiting.get(name)
            if before is not None and before.proved:
                return
            if before is not None or len(self._waiting) < WAITING_MAX:
                self._waiting[name] = key

    def flush(self) -> None:
        """Write what waits; what cannot be written is dropped, and the log says so."""
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), OrderedDict()
        if not waiting:
            return
        try:
            with writing(self._engine) as connection:
                pending.note(
                    connection,
                    waiting,
                    now_us=self._clock.time_us(),
                    keep_us=self._keep_us,
                )
        except DatabaseError as error:
            log.warning("pending keys not written", extra={"error": str(error)})
