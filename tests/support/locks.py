"""The table of locks of a store in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.auth.snapshot import Snapshot
from server.db.engine import Role, open_engine
from server.model.clock import Clock
from server.settings.places import Places
from server.settings.schema import Settings
from server.storage.books import Books
from server.storage.disk import Disk
from server.storage.latch import Latches
from server.storage.tables import METADATA
from server.storage.writers import Writers
from server.vfs.lock_table import LockTable


@contextmanager
def opened_locks(
    settings: Settings, disk: Disk, accounts: Callable[[], Snapshot], clock: Clock
) -> Iterator[LockTable]:
    """Open it, made from the tables: the migration takes ten times as long."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(Places(settings).store_url, Role.STORE)
    METADATA.create_all(engine)
    latches = Latches(disk)
    try:
        yield LockTable(
            latches, Writers(disk), Books(engine), accounts=accounts, clock=clock
        )
    finally:
        latches.close()
        engine.dispose()
