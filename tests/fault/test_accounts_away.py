"""The accounts database is away: the daemon waits, whole, and never half-starts."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.daemon import Daemon
from tests.support.people import sftp
from tests.support.waiting import until

WAITING = "waiting for the accounts database"


@contextmanager
def accounts_away(daemon: Daemon) -> Iterator[None]:
    """Nothing can open the database: a folder stands in its place."""
    database, aside = daemon.state / "accounts.db", daemon.state / "aside"
    database.rename(aside)
    database.mkdir()
    yield
    database.rmdir()
    aside.rename(database)


def works(daemon: Daemon) -> bool:
    with sftp(daemon) as client:
        return "private" in client.listdir("/")


def test_a_start_waits_for_the_accounts(store: Daemon) -> None:
    """A database server may come up after us; nobody is let in and nobody is lost."""
    starting = threading.Thread(target=store.start, name="starting")
    (store.folder / "log").touch()
    with accounts_away(store):
        starting.start()
        until(lambda: WAITING in store.log, what="it says what it waits for")
        assert not store.ready
    starting.join(30)

    assert works(store)
    assert "Traceback" not in store.log


def test_a_new_worker_waits_and_then_serves(daemon: Daemon) -> None:
    """One that died meanwhile is not started again and again, and stops when told."""
    with accounts_away(daemon):
        os.kill(daemon.children()["worker-1"], signal.SIGKILL)
        until(lambda: WAITING in daemon.log, what="the new one says so")
        first = daemon.children()["worker-1"]
        os.kill(first, signal.SIGTERM)
        until(lambda: daemon.log.count(WAITING) == 2, what="it ended, the next waits")
    until(lambda: "the accounts database answers" in daemon.log, what="it is back")

    assert works(daemon)
    assert "Traceback" not in daemon.log


def test_missing_accounts_are_not_made_anew(store: Daemon) -> None:
    """An empty database would lock everybody out and look like a healthy store."""
    database = store.state / "accounts.db"
    database.unlink()

    done = store.cli("serve")

    assert done.returncode == 3
    assert "accounts database" in done.stderr
    assert "missing" in done.stderr
    assert not database.exists()
