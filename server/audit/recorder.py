"""The recorder: from the journals into the audit DB, whose only writer it is.

How far a stream has come stands in the DB itself and changes in the same transaction
as the rows, so a record is never missed and never doubled, whatever dies when. The DB
may be down, locked, read-only or gone: the journals go on, and the recorder catches
up, from the very first record if it must.
"""

import heapq
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from server.audit import hashchain, segment, trouble
from server.audit.dbfile import DatabaseFile, Identity
from server.audit.follower import Follower
from server.audit.hashchain import ChainError
from server.audit.packer import Packer
from server.audit.released import RowDropper
from server.audit.rows import Store
from server.audit.segment import Position
from server.audit.tables import CHANNEL, STREAMS, TIME_US, Row, row_of
from server.db.engine import (
    Connection,
    DatabaseError,
    Engine,
    Role,
    open_engine,
    writing,
)
from server.db.migrate import Chain, upgrade

log = logging.getLogger(__name__)

BATCH_RECORDS: Final = 10_000
_LARGE: Final = 3
"""So many times more while catching up: fewer pages are written again and again."""
_SHORT_WAY: Final = ("cache_size=-65536", "wal_autocheckpoint=2048", "shrink_memory")
"""A WAL of 16 MiB, so that folding it in keeps no new record waiting for long."""
_LONG_WAY: Final = ("cache_size=-196608", "wal_autocheckpoint=24576")
"""192 MiB of pages and of WAL: a rebuild touches index pages all over. What it took is
given back when it has caught up."""
_POLL_S: Final = 0.1
_WORTHWHILE: Final = 2_000
"""With fewer records than these a batch costs more than its rows do, so the next one
is let grow for `_GATHER_S`: the cores are the front ends' meanwhile."""
_GATHER_S: Final = 0.25
_RETRY_S: Final = 0.5
_BREATH_S: Final = 0.01
"""Between two batches of deletions, for who else wants the disk."""
_COMPLAIN_S: Final = 60.0
_WORDS_MAX: Final = 300
_ADVISORY_LOCK: Final = 0x6B616772  # "kagr"
_time_us: Final = cast("Callable[[Row], int]", itemgetter(TIME_US))
_RUINED: Final = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class Recorder:
    """Copies this node's journals into the audit DB. Used by one thread."""

    def __init__(
        self,
        journal: Path,
        url: str,
        *,
        node: str,
        on_damage: Callable[[str, str], None] = lambda _stream, _text: None,
        released: RowDropper | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            journal: `state_dir/journal`.
            url: The audit DB.
            node: This machine's name; its streams are `node/slot`.
            on_damage: Told the stream and what is wrong, once a stream.
            released: What retention dropped; None for nothing.
        """
        self._journal = journal
        self._url = url
        self._node = node
        self._on_damage = on_damage
        self._released = released
        self._packer = Packer(journal)
        self._store = Store()
        self._engine: Engine | None = None
        self._file = DatabaseFile(url)
        self._opened: Identity | None = None
        self._followers: dict[str, Follower] = {}
        self._damaged: set[str] = set()
        self._complaint = ("", 0.0)
        self._catching_up = False

    def run(self, stop: threading.Event) -> None:
        """Record until `stop` is set; survives whatever the DB does."""
        self._packer.start()
        trouble.clear(self._journal)
        try:
            while not stop.is_set():
                copied = self._fence()
                if copied < _WORTHWHILE:
                    stop.wait(self._pause_s(copied))
        finally:
            self._packer.close()
            self._let_go()

    def _pause_s(self, copied: int) -> float:
        if self._engine is None:
            return _RETRY_S
        if self._releasing:
            return _BREATH_S
        return _GATHER_S if copied else _POLL_S

    def drain(self, deadline_s: float) -> bool:
        """Record what is durable now.

        Args:
            deadline_s: Seconds to try.

        Returns:
            Whether the DB holds it all.
        """
        until = time.monotonic() + deadline_s
        try:
            while time.monotonic() < until:
                if self._fence() == 0 and self._engine and not self._releasing:
                    return True
                if self._engine is None:
                    time.sleep(_POLL_S)
        finally:
            self._let_go()
        return False

    def step(self) -> int:
        """Copy one batch.

        Returns:
            How many records were copied.

        Raises:
            DatabaseError: The DB does not take them; nothing is lost.
            OSError: A segment cannot be read.
        """
        self._require_database()
        self._delete_released()
        ready = self._ready()
        if not ready:
            self._shrink()
            return 0
        batch = BATCH_RECORDS * (_LARGE if self._catching_up else 1)
        each = max(batch // len(ready), 1)
        read = [self._read(follower, each) for follower in ready]
        rows = _merged(read)
        if not rows:
            return 0
        self._write(rows, ready)
        self._publish(ready)
        if not self._catching_up and len(rows) >= BATCH_RECORDS // 2:
            self._catching_up = True
            self._set(_LONG_WAY)
        return len(rows)

    def _shrink(self) -> None:
        """Give back the pages of a long way."""
        if self._catching_up:
            self._catching_up = False
            self._store.forget()
            self._set(_SHORT_WAY)

    def _set(self, pragmas: tuple[str, ...]) -> None:
        """For the one connection that SQLite's engine has."""
        if self._engine is not None and self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                for pragma in pragmas:
                    connection.exec_driver_sql(f"PRAGMA {pragma}")

    def _fence(self) -> int:
        """One batch, with every error logged; the thread's top."""
        try:
            copied = self.step()
        except DatabaseError as error:
            self._complain(error)
            if _is_ruined(error):
                self._set_aside()
        except Exception as error:
            log.debug("recording failed", exc_info=True)
            self._complain(error)
        else:
            if self._complaint[0]:
                self._complaint = ("", 0.0)
                trouble.clear(self._journal)
            return copied
        self._let_go()
        return 0

    def _complain(self, error: Exception) -> None:
        """Log a failure, the same one at most once a minute."""
        text, now = f"{type(error).__name__}: {error}", time.monotonic()
        before, when = self._complaint
        if not before:
            trouble.write(self._journal, _in_words(error), time.time_ns() // 1000)
        if text != before or now - when > _COMPLAIN_S:
            self._complaint = (text, now)
            log.warning("the audit DB takes no records", extra={"error": text})

    def _require_database(self) -> None:
        """Open the DB, or open it anew when its file was taken away."""
        if self._engine is not None and self._opened == self._file.look():
            return
        self._let_go()
        upgrade(self._url, Chain.AUDIT)
        engine = open_engine(self._url, Role.AUDIT_WRITER)
        try:
            self._load(engine)
        except BaseException:
            engine.dispose()
            raise
        self._opened = self._file.look()
        self._engine = engine
        self._set(_LONG_WAY if self._catching_up else _SHORT_WAY)

    def _load(self, engine: Engine) -> None:
        """Take up every stream of this node where the DB has it."""
        with engine.connect() as connection:
            known = {
                row.stream: row for row in connection.execute(sa.select(STREAMS)).all()
            }
        for stream, row in known.items():
            node, _, slot = stream.partition("/")
            if node == self._node:
                position = Position(row.seq, row.segment, row.position_bytes)
                self._follow(slot, position, row.hash)

    def _follow(self, slot: str, position: Position, prev: str) -> None:
        stream = f"{self._node}/{slot}"
        gone = self._released.heads().get(stream) if self._released else None
        if gone is not None and gone.seq > position.seq:
            # A DB made anew: what retention dropped does not come back.
            position, prev = Position(gone.seq, gone.seq + 1, 0), gone.hash
        follower = Follower(self._journal / slot, stream, position, prev)
        self._followers[slot] = follower
        try:
            follower.require_position()
        except (ChainError, FileNotFoundError) as error:
            self._alarm(stream, error)

    def _ready(self) -> list[Follower]:
        """Those with news; streams that have appeared are taken up first."""
        for slot in segment.slots(self._journal):
            if slot not in self._followers:
                self._follow(slot, Position(), hashchain.GENESIS)
        return [
            follower
            for follower in self._followers.values()
            if follower.stream not in self._damaged and follower.ready()
        ]

    def _read(self, follower: Follower, records_max: int) -> list[Row]:
        rows: list[Row] = []
        try:
            rows.extend(
                row_of(link, follower.stream) for link in follower.read(records_max)
            )
        except ChainError as error:
            self._alarm(follower.stream, error)
        return rows

    def _alarm(self, stream: str, error: Exception) -> None:
        """Stop a stream whose journal is not what it was."""
        if stream in self._damaged:
            return
        self._damaged.add(stream)
        text = str(error)
        log.critical("journal damaged", extra={"stream": stream, "error": text})
        self._on_damage(stream, text)

    def _write(self, rows: list[Row], read: list[Follower]) -> None:
        if self._engine is None:
            raise RuntimeError("internal error: no engine")
        with writing(self._engine) as connection:
            _queue_up(connection)
            self._store.insert(connection, rows)
            for follower in read:
                _keep_position(connection, follower)
            _ring(connection)
            if self._opened != self._file.look():
                raise OSError("the audit DB's file was replaced")

    @property
    def _releasing(self) -> bool:
        return self._released is not None and self._released.pending

    def _delete_released(self) -> None:
        """Delete a few of the rows that retention dropped, between two batches."""
        if self._engine and self._released and self._releasing:
            with writing(self._engine) as connection:
                self._released.delete_some(connection)

    def _publish(self, read: list[Follower]) -> None:
        """Tell the journals how far the DB is; never backwards."""
        for follower in read:
            before = segment.read_recorded(follower.folder)
            if follower.position.seq > before.seq:
                segment.write_recorded(follower.folder, follower.position)
            if follower.position.segment > before.segment:
                self._packer.look()

    def _set_aside(self) -> None:
        """Move a file that is no DB any more out of the way; a new one is built."""
        path = self._file.path
        if path is None:
            return
        self._let_go()
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        log.critical("the audit DB is damaged", extra={"kept_as": aside.name})
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(  # noqa: PTH104 - names with a suffix each
                    f"{path}{suffix}", f"{aside}{suffix}"
                )

    def _let_go(self) -> None:
        """Close all; the next batch starts from what the DB says."""
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()
        self._store.forget()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _merged(read: list[list[Row]]) -> list[Row]:
    """By time, but each stream in its own order whatever its clock did.

    Who follows the rows knows by a stream's last number what it has seen of it.
    """
    if len(read) == 1:
        return read[0]
    if all(_ascends(rows) for rows in read):
        return sorted(chain.from_iterable(read), key=_time_us)  # stable
    return list(heapq.merge(*read, key=_time_us))


def _ascends(rows: list[Row]) -> bool:
    times = [_time_us(row) for row in rows]
    return times == sorted(times)


def _queue_up(connection: Connection) -> None:
    """One recorder at a time, so that rows become visible in their order."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def _ring(connection: Connection) -> None:
    """Tell who follows, at the commit; SQLite's readers see the file change."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"NOTIFY {CHANNEL}"))


def _keep_position(connection: Connection, follower: Follower) -> None:
    values = {
        "seq": follower.position.seq,
        "segment": follower.position.segment,
        "position_bytes": follower.position.offset,
        "hash": follower.hash,
    }
    postgres = connection.dialect.name == "postgresql"
    insert = (postgresql if postgres else sqlite).insert(STREAMS)
    statement = insert.values(stream=follower.stream, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["stream"], set_=values)
    )


def _in_words(error: Exception) -> str:
    """The driver's words on one line, without the statement and its values."""
    words = getattr(error, "orig", None) or error
    return " ".join(str(words).split())[:_WORDS_MAX]


def _is_ruined(error: DatabaseError) -> bool:
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlite_errorname", "") in _RUINED
