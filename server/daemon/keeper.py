"""The life of the keeper: the recorder beside it, and jobs at their times."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from server.daemon.children import Link
from server.model.errors import ServerError

log = logging.getLogger(__name__)

_DRAIN_S: Final = 10
_STOPS: Final = frozenset({signal.SIGTERM})


class Recording(Protocol):
    """The recorder, as the keeper runs it."""

    def run(self, stop: threading.Event) -> None:
        """Record until `stop` is set."""
        ...

    def drain(self, deadline_s: float) -> bool:
        """Record what is there; whether all of it was."""
        ...


@dataclass(slots=True)
class Job:
    """Something to do again and again."""

    name: str
    every_s: float
    run: Callable[[], object]
    at_end: bool = False
    """Once more when the keeper is told to stop."""
    due_s: float = 0.0


def keep_until_told(recorder: Recording, jobs: Sequence[Job], link: Link) -> None:
    """Record, and do the jobs from the supervisor's `go` until SIGTERM."""
    stop = threading.Event()
    thread = threading.Thread(
        target=recorder.run, args=(stop,), name="recorder", daemon=True
    )
    thread.start()
    link.say_ready()
    if link.wait_go():
        log.info("keeping")
        _work(jobs)
        for job in jobs:
            if job.at_end:
                _fence(job)
    stop.set()
    thread.join(_DRAIN_S)


def record_the_rest(recorder: Recording) -> None:
    """Bring the last records to the DB, when every stream of this node has stopped."""
    if not recorder.drain(_DRAIN_S):
        log.warning("the audit DB does not hold every record yet; the journal does")


def _work(jobs: Sequence[Job]) -> None:
    while True:
        for job in jobs:
            if job.due_s <= time.monotonic():
                _fence(job)
                job.due_s = time.monotonic() + job.every_s
        wait_s = max(0.0, min(job.due_s for job in jobs) - time.monotonic())
        if signal.sigtimedwait(_STOPS, wait_s) is not None:
            return


def _fence(job: Job) -> None:
    try:
        job.run()
    except ServerError as error:
        log.warning("job put off", extra={"job": job.name, "reason": error.reason})
    except Exception:
        log.exception("job failed", extra={"job": job.name})
