"""The recorder: every record once, whatever happens to the DB."""

import gzip
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from server.audit import segment, trouble
from server.audit.journal import Journal
from server.audit.recorder import Recorder
from server.audit.tables import METADATA, RECORDS, declare_indexes
from server.db.engine import Role, open_engine, reading, writing
from server.db.migrate import Chain, make, upgrade
from tests.support.trail import NODE, event, open_journal, stream_lines
from tests.support.waiting import until


class Scene:
    """Journals, a DB and its recorder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journals = folder / "journal"
        self.url = url
        self.damage: list[tuple[str, str]] = []

    def journal(
        self, slot: str = "worker-1", count: int = 0, **values: object
    ) -> Journal:
        """Open a stream and write so many records."""
        opened = open_journal(self.journals, slot, **values)
        for number in range(count):
            opened.append(event(number))
        opened.settle()
        return opened

    def recorder(self) -> Recorder:
        """A new recorder, as after a restart of the keeper."""
        return Recorder(
            self.journals,
            self.url,
            node=NODE,
            on_damage=lambda stream, text: self.damage.append((stream, text)),
        )

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A recorder at work in the background."""
        stop = threading.Event()
        thread = threading.Thread(target=self.recorder().run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    def stored(self, slot: str = "worker-1") -> list[str]:
        """The DB's records of a stream, by row number."""
        engine = open_engine(self.url, Role.AUDIT_READER)
        try:
            with reading(engine) as connection:
                statement = (
                    sa
                    .select(RECORDS.c.record)
                    .where(RECORDS.c.stream == f"{NODE}/{slot}")
                    .order_by(RECORDS.c.row)
                )
                return list(connection.execute(statement).scalars())
        finally:
            engine.dispose()

    def written(self, slot: str = "worker-1") -> list[str]:
        """The journal's records of a stream."""
        return [line.decode()[:-1] for line in stream_lines(self.journals, slot)]


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Scene:
    """On SQLite and on PostgreSQL."""
    return Scene(tmp_path, database_url)


@pytest.fixture
def local(tmp_path: Path) -> Scene:
    """On SQLite: what only a file can suffer."""
    return Scene(tmp_path, f"sqlite:///{tmp_path / 'audit.db'}")


def test_the_audit_chain_makes_what_the_tables_say(database_url: str) -> None:
    """A column added to the code without a migration breaks the next start."""
    upgrade(database_url, Chain.AUDIT)
    if not RECORDS.indexes:
        declare_indexes()

    engine = open_engine(database_url, Role.AUDIT_WRITER)
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection,
            opts={"version_table": "alembic_version_audit", "include_name": _is_ours},
        )
        differences = compare_metadata(context, METADATA)

    engine.dispose()
    assert differences == []


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Not what only one database has: how it looks for words."""
    known = METADATA.tables.keys() | {"alembic_version_audit"}
    return name in known if kind == "table" else name != "ix_paths_folded"


def test_all_streams_are_copied_whole_and_in_order(scene: Scene) -> None:
    """The DB keeps the canonical lines, so that it can be verified alone."""
    scene.journal("worker-1", 50).close()
    scene.journal("cli", 5).close()

    assert scene.recorder().drain(20)

    assert scene.stored() == scene.written()
    assert scene.stored("cli") == scene.written("cli")


def test_a_restart_neither_doubles_nor_misses(scene: Scene) -> None:
    """The keeper may be killed between any two batches."""
    journal = scene.journal(count=10)
    for _ in range(3):
        assert scene.recorder().drain(20)
        journal.append(event(99))
        journal.settle()
    journal.close()

    assert scene.recorder().drain(20)

    assert scene.stored() == scene.written()


def test_a_batch_that_fails_is_taken_back_whole(scene: Scene) -> None:
    """Rows and position change together or not at all."""
    journal = scene.journal(count=10)
    broken = BrokenRecorder(scene.journals, scene.url, node=NODE)

    assert not broken.drain(0.3)

    assert scene.stored() == []
    assert scene.recorder().drain(20)
    assert scene.stored() == scene.written()
    journal.close()


class BrokenRecorder(Recorder):
    """Dies after the rows are in and before the commit."""

    def _write(self, rows: object, read: object) -> None:
        self._file = Elsewhere()  # type: ignore[assignment]  # the fault itself
        super()._write(rows, read)  # type: ignore[arg-type]  # passed on as they are


class Elsewhere:
    """A file that is another one each time it is looked at."""

    path = None
    looked = 0

    def look(self) -> tuple[int, int]:
        """Never the same."""
        self.looked += 1
        return -self.looked, 0


def test_new_records_are_found_within_a_second(scene: Scene) -> None:
    """An administrator who looks at once must see what was just done."""
    journal = scene.journal(count=1)
    with scene.recording():
        until(lambda: _stored_count(scene) == len(scene.written()), deadline_s=10)
        journal.append(event(2, path="/private/new"))

        until(lambda: "/private/new" in scene.stored()[-1], deadline_s=6)
    journal.close()


def _stored_count(scene: Scene) -> int:
    try:
        return len(scene.stored())
    except sa.exc.SQLAlchemyError:
        return -1


def test_a_deleted_db_is_rebuilt_while_running(local: Scene, tmp_path: Path) -> None:
    """The index is only an index: the journals, packed ones too, hold it all."""
    journal = local.journal(count=300, segment_bytes_max=65536)
    with local.recording():
        until(lambda: _stored_count(local) == len(local.written()))
        until(lambda: segment.segments(journal.folder)[0].packed)
        for name in ("audit.db", "audit.db-wal", "audit.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        journal.append(event(301))
        journal.settle()

        until(lambda: _stored_count(local) == len(local.written()))
    journal.close()
    assert local.stored() == local.written()[: len(local.stored())]


def test_an_older_copy_of_the_db_is_caught_up(local: Scene, tmp_path: Path) -> None:
    """Somebody restores yesterday's DB: nothing may be missing or double."""
    journal = local.journal(count=10)
    assert local.recorder().drain(20)
    old = (tmp_path / "audit.db").read_bytes()
    journal.append(event(11))
    journal.settle()
    assert local.recorder().drain(20)
    (tmp_path / "audit.db").unlink()
    (tmp_path / "audit.db").write_bytes(old)

    assert local.recorder().drain(20)

    assert local.stored() == local.written()
    journal.close()


def test_a_db_that_is_no_db_is_set_aside_and_rebuilt(
    local: Scene, tmp_path: Path
) -> None:
    """A file of junk must not stop the index for good; it is kept to be looked at."""
    local.journal(count=10).close()
    (tmp_path / "audit.db").write_bytes(b"junk" * 5000)

    assert local.recorder().drain(20)

    assert local.stored() == local.written()
    assert list(tmp_path.glob("audit.db.damaged-*"))


def test_a_locked_db_loses_nothing(local: Scene, tmp_path: Path) -> None:
    """Somebody's backup tool holds the file for a while."""
    journal = local.journal(count=5)
    with local.recording():
        until(lambda: _stored_count(local) == len(local.written()))
        locker = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        for number in range(50):
            journal.wait(journal.append(event(number)))
        assert _stored_count(local) < len(local.written())
        locker.execute("ROLLBACK")
        locker.close()

        until(lambda: _stored_count(local) == len(local.written()), deadline_s=15)
    journal.close()


def test_sealed_segments_are_packed_and_still_read(local: Scene) -> None:
    """A year of journals is kept to rebuild from, at a tenth of its size."""
    journal = local.journal(count=500, segment_bytes_max=65536)
    before = local.written()
    plain = segment.segments(journal.folder)
    with local.recording():
        until(lambda: all(s.packed for s in segment.segments(journal.folder)[:-1]))
    sealed = segment.segments(journal.folder)[:-1]

    assert len(sealed) > 2
    assert not list(journal.folder.glob("*.new"))
    assert gzip.decompress(sealed[0].path.read_bytes()).startswith(b"{")
    assert local.written()[: len(before)] == before
    assert segment.spool_bytes(journal.folder) == 0
    # Who found them before, a verifier perhaps, reads them to the end all the same.
    assert sum(1 for found in plain for _ in segment.lines(found)) == len(before)
    journal.close()


def test_damage_stops_that_stream_alone_and_alarms(scene: Scene) -> None:
    """One bad stream must not hide what the others do, nor pass unseen."""
    scene.journal("worker-1", 20).close()
    scene.journal("cli", 3).close()
    path = scene.journals / "worker-1" / segment.plain_name(1)
    path.write_bytes(path.read_bytes().replace(b"/private/9", b"/private/8"))

    scene.recorder().drain(20)

    assert scene.stored("cli") == scene.written("cli")
    assert len(scene.stored()) == 11
    ((stream, text),) = scene.damage
    assert stream == f"{NODE}/worker-1"
    assert text


def test_a_journal_cut_behind_the_db_is_noticed(scene: Scene) -> None:
    """The DB remembers what the journal had."""
    scene.journal(count=20).close()
    assert scene.recorder().drain(20)
    path = scene.journals / "worker-1" / segment.plain_name(1)
    os.truncate(path, 500)

    scene.recorder().drain(20)

    assert [stream for stream, _ in scene.damage] == [f"{NODE}/worker-1"]


def test_hostile_text_is_stored_on_every_db(scene: Scene) -> None:
    """PostgreSQL takes no NUL and no long index entry; a client may send both."""
    journal = scene.journal()
    journal.append(event(1, login="a\0b", path="/\0" + "ü" * 4000, target="x" * 9000))
    journal.close()

    assert scene.recorder().drain(20)

    assert scene.stored() == scene.written()


def test_what_keeps_the_recorder_is_told_until_it_is_over(
    local: Scene, tmp_path: Path
) -> None:
    """`kagikura status` shows it: the DB itself cannot say why it does not answer."""
    journal = local.journal(count=5)
    (tmp_path / "audit.db").mkdir()
    with local.recording():
        until(lambda: trouble.read(local.journals))
        told = trouble.read(local.journals)
        (tmp_path / "audit.db").rmdir()

        until(lambda: not trouble.read(local.journals))
    journal.close()
    assert told is not None
    assert "open database file" in told.text
    assert local.stored()


def test_an_older_schema_is_migrated_and_filled_again(scene: Scene) -> None:
    """Its rows lack what searches go by; the journals have it all."""
    scene.journal(count=20).close()
    engine = open_engine(scene.url, Role.AUDIT_WRITER)
    with writing(engine) as connection:
        make(connection, Chain.AUDIT, "0001")
        connection.execute(
            sa.text("INSERT INTO streams VALUES (:stream, 5, 1, 100, 'x')").bindparams(
                stream=f"{NODE}/worker-1"
            )
        )
    engine.dispose()

    assert scene.recorder().drain(20)

    assert scene.stored() == scene.written()
