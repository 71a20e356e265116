"""Waiting for the accounts database: nobody is served before it answers.

A database server may start after us, or restart while a worker does. Trying on costs
nothing; a process that ends instead would be started again in vain, and a worker that
served without accounts would turn people away for no reason of theirs.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from server.daemon.systemd import notify
from server.db.engine import UnreachableError

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
_TELL_S: Final = 30.0
_PATIENCE: Final = "EXTEND_TIMEOUT_USEC=60000000"
"""sd_notify(3): we do not hang, we wait."""

_Found = TypeVar("_Found")


def when_reachable(
    ask: Callable[[], _Found], *, pause: Callable[[float], bool]
) -> _Found | None:
    """What `ask` returns, as soon as the database answers it.

    Args:
        ask: Works with the database.
        pause: Waits so many seconds; true when there is no more sense in waiting.

    Returns:
        None when `pause` said so.

    Raises:
        DatabaseError: The database answers, but not as it should.
    """
    told_s = 0.0
    while True:
        try:
            found = ask()
        except UnreachableError as error:
            now_s = time.monotonic()
            if not told_s or now_s - told_s >= _TELL_S:
                told_s = now_s
                log.warning(
                    "waiting for the accounts database: it does not answer",
                    extra={"error": str(error.orig)},
                )
            notify(_PATIENCE)
        else:
            if told_s:
                log.info("the accounts database answers")
            return found
        if pause(PAUSE_S):
            return None
