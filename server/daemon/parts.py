"""The parts that every process of the product is made of, each closed in its turn."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.access.keystore import KeyStore
from server.access.recovery import recover_admin_acts
from server.auth import keeping
from server.auth.keeping import Keeping
from server.auth.snapshot import Snapshot
from server.daemon.children import FAILED
from server.daemon.supervisor import Exit
from server.daemon.trail import CLOCK, SYSTEM, Trail, not_initialised
from server.db.engine import (
    DatabaseError,
    Engine,
    Role,
    is_missing,
    open_engine,
    reading,
)
from server.model.errors import UnavailableError
from server.model.operation import Operation, Outcome
from server.settings.places import Places
from server.settings.schema import Settings
from server.storage.books import Books
from server.storage.disk import Disk
from server.storage.latch import Latches
from server.storage.leftovers import LocalLeftovers
from server.storage.local import LocalStorage
from server.storage.writers import Writers
from server.vfs.lock_table import LockTable
from server.vfs.recovery import Recovery

log = logging.getLogger(__name__)


class AlreadyRunningError(UnavailableError):
    """Another daemon serves this store."""


class AccountsMissingError(UnavailableError):
    """The store has keys but no accounts."""


@contextmanager
def opened_disk(settings: Settings) -> Iterator[Disk]:
    """Open the data folder."""
    disk = Disk(settings.data_dir, sync=settings.storage.sync == "close")
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def opened_accounts(settings: Settings) -> Iterator[Engine]:
    """Open the accounts DB."""
    engine = open_engine(Places(settings).accounts_url, Role.ACCOUNTS)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def opened_books(settings: Settings) -> Iterator[Books]:
    """Open the store's own database."""
    engine = open_engine(Places(settings).store_url, Role.STORE)
    try:
        yield Books(engine)
    finally:
        engine.dispose()


@contextmanager
def opened_locks(
    disk: Disk, books: Books, accounts: Callable[[], Snapshot]
) -> Iterator[LockTable]:
    """Open the table of locks."""
    latches = Latches(disk)
    try:
        yield LockTable(latches, Writers(disk), books, accounts=accounts, clock=CLOCK)
    finally:
        latches.close()


def kept_longer(settings: Settings) -> Keeping:
    """How long contracts keep their records.

    Raises:
        UnavailableError: The accounts cannot be read; then nothing may be dropped.
    """
    require_accounts(settings)
    try:
        with opened_accounts(settings) as engine, reading(engine) as connection:
            return keeping.kept_longer(connection)
    except DatabaseError as error:
        raise UnavailableError("The accounts database does not answer.") from error


def require_initialised(settings: Settings) -> KeyStore:
    """The store's keys.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
    """
    keys = KeyStore(settings.state_dir)
    if not keys.ready:
        raise not_initialised(settings)
    return keys


def require_accounts(settings: Settings) -> None:
    """Refuse a store whose SQLite file of accounts is gone: a new one is empty.

    Raises:
        AccountsMissingError: It is not where the settings say.
    """
    if is_missing(Places(settings).accounts_url):
        raise AccountsMissingError(
            f"The accounts database of {settings.state_dir} is missing: put the file "
            "back, or set [database] url."
        )


def is_running(settings: Settings) -> bool:
    """Whether a daemon of this machine serves the store."""
    try:
        with only_one(settings):
            return False
    except AlreadyRunningError:
        return True


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the store, so that no second daemon of this machine serves it.

    Raises:
        AlreadyRunningError: One does already.
    """
    lock = os.open(Places(settings).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"A daemon is running on {settings.state_dir} already."
            ) from None
        yield
    finally:
        os.close(lock)


def leave_at_once() -> None:
    """The journal can never be written again: the supervisor starts a new process.

    No handler, no flush: whatever would still be done could not be recorded.
    """
    os._exit(FAILED)


def recover(trail: Trail, disk: Disk, books: Books) -> None:
    """Close what the process before left open in this stream, by the disk."""
    recovery = Recovery(
        gate=trail.gate,
        storage=LocalStorage(disk),
        leftovers=LocalLeftovers(disk),
        books=books,
    )
    closed = recovery.close_acts(trail.journal.open_acts)
    if closed:
        trail.gate.event(
            SYSTEM, Operation.SYSTEM_RECOVERY, Outcome.DONE, detail={"acts": closed}
        )
        log.warning("acts recovered", extra={"acts": closed})


def recover_all(trail: Trail, disk: Disk, engine: Engine, books: Books) -> None:
    """As `recover`, and the acts on the accounts too: those know how they ended."""
    recover(trail, disk, books)
    recover_admin_acts(trail.journal.open_acts, engine, trail.gate)


def tell_exit(trail: Trail, previous: Exit | None) -> None:
    """Record how the process before ended."""
    if previous is None or previous.status == 0:
        return
    trail.gate.event(
        SYSTEM,
        Operation.SYSTEM_CHILD_EXIT,
        Outcome.FAILED,
        detail={
            "slot": previous.slot,
            "pid": previous.pid,
            "status": previous.status,
        },
    )
