"""The audit DB fails in every way it can: clients notice nothing, nothing is lost."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.fault.test_kill import check
from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.waiting import until

CLIENTS = 4
LOCKED_S = 6
SUFFIXES = ("", "-wal", "-shm")


@contextmanager
def locked(db: Path) -> Iterator[None]:
    """Another process holds the only lock for writing."""
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_S)  # the length of the fault
        yield
        connection.execute("ROLLBACK")


@contextmanager
def immutable(db: Path) -> Iterator[None]:
    """Nothing can be written any more, by root neither."""
    files = [f"{db}{suffix}" for suffix in SUFFIXES]
    if subprocess.run(["chattr", "+i", *files], check=False).returncode != 0:
        pytest.skip("no file can be made immutable here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


@contextmanager
def deleted(db: Path) -> Iterator[None]:
    for suffix in SUFFIXES:
        Path(f"{db}{suffix}").unlink(missing_ok=True)
    yield


@contextmanager
def overwritten(db: Path) -> Iterator[None]:
    """Garbage where pages were, in the open file."""
    with db.open("r+b") as file:
        file.write(os.urandom(65536))
    yield


@contextmanager
def replaced_by_garbage(db: Path) -> Iterator[None]:
    garbage = db.with_name("garbage")
    garbage.write_bytes(os.urandom(65536))
    garbage.replace(db)
    yield


@contextmanager
def replaced_by_an_old_one(db: Path) -> Iterator[None]:
    """A backup was put back while the daemon ran."""
    until(lambda: db.with_name("old").exists(), what="there is an old copy")
    for suffix in SUFFIXES[1:]:
        Path(f"{db}{suffix}").unlink(missing_ok=True)
    db.with_name("old").replace(db)
    yield


FAULTS = [
    locked,
    immutable,
    deleted,
    overwritten,
    replaced_by_garbage,
    replaced_by_an_old_one,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
def test_clients_do_not_notice_and_every_record_gets_there_once(
    store: Daemon, tmp_path: Path, fault: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """The journal is the truth; the DB catches up, or is built anew, by itself."""
    db = store.state / "audit.db"
    store.start()
    store.wait_indexed()
    store.stop()
    shutil.copy(db, db.with_name("old"))
    store.start()
    ledger = Ledger(tmp_path / "ledger")

    with Crowd(store, ledger, clients=CLIENTS, seed=1):
        until(lambda: ledger.count("ok") > 20, what="the clients work")
        with fault(db):
            worked = ledger.count("ok")
            until(lambda: ledger.count("ok") > worked + 40, what="they go on")
    store.wait_indexed()

    answers = Counter(entry.answer for entry in ledger.entries)
    assert answers.keys() == {"ok"}
    assert store.stop() == 0
    ledger.close()
    assert check(store, ledger) == []
    wanted = Counter(record["id"] for record in store.records())
    assert Counter(row["id"] for row in store.rows()) == wanted
