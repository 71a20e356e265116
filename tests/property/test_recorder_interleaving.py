"""Whatever happens in whatever order, the DB ends up with every record once.

Streams write, crash and come back; a crash tears what was not synced at any byte. The
recorder is restarted, dies in the middle of a transaction, or loses its DB.
"""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.audit import recorder as recorder_module
from server.audit import segment
from server.audit.recorder import Recorder
from server.audit.tables import RECORDS, STREAMS
from server.db.engine import Connection, Role, open_engine, reading
from tests.support.trail import NODE, event, open_journal, read_stream, stream_lines

SLOTS = ("worker-1", "worker-2", "cli")
BATCH = 9
"""Small, so that positions fall anywhere."""


class DiesBeforeCommitError(Exception):
    """The recorder's process is gone."""


class DyingRecorder(Recorder):
    """Dies when all rows of a batch are in, before they count."""

    def _write(self, rows: object, read: object) -> None:
        def die(_connection: Connection) -> None:
            raise DiesBeforeCommitError

        sa.event.listen(self._require_engine(), "commit", die)
        super()._write(rows, read)  # type: ignore[arg-type]  # passed on as they are

    def _require_engine(self) -> sa.Engine:
        assert self._engine is not None
        return self._engine


class World:
    """Three streams, a DB and a recorder, and what may befall them."""

    def __init__(self, folder: Path) -> None:
        self.journals = folder / "journal"
        self.path = folder / "audit.db"
        self.url = f"sqlite:///{self.path}"
        self.streams = {
            slot: open_journal(self.journals, slot, segment_bytes_max=65536)
            for slot in SLOTS
        }
        self.recorder = Recorder(self.journals, self.url, node=NODE)
        self.number = 0

    def write(self, slot: str, size: int) -> None:
        """One record, large or small; not yet synced."""
        self.number += 1
        self.streams[slot].append(event(self.number, path="/" + "字" * size))

    def sync(self, slot: str, _size: int) -> None:
        """What was written is durable."""
        self.streams[slot].settle()

    def crash(self, slot: str, size: int) -> None:
        """Power goes: any part of what was not synced is on the disk."""
        journal = self.streams[slot]
        synced = segment.read_synced(journal.folder)
        last = segment.segments(journal.folder)[-1]
        durable = synced.offset if last.first == synced.segment else 0
        length = last.path.stat().st_size
        journal.close()
        for later in segment.segments(journal.folder):
            if later.first > last.first:
                later.path.unlink()
        with last.path.open("r+b") as file:
            file.truncate(durable + (size * 37) % (length - durable + 1))
        (journal.folder / segment.SYNCED).write_bytes(segment.format_synced(synced))
        self.streams[slot] = open_journal(self.journals, slot, segment_bytes_max=65536)

    def record(self, _slot: str, _size: int) -> None:
        """One batch."""
        self.recorder.step()

    def restart(self, _slot: str, _size: int) -> None:
        """The recorder begins anew with what the DB says."""
        self.recorder._let_go()

    def die(self, _slot: str, _size: int) -> None:
        """The recorder is killed in its transaction."""
        self.recorder._let_go()
        dying = DyingRecorder(self.journals, self.url, node=NODE)
        try:
            dying.step()
        except DiesBeforeCommitError:
            pass
        finally:
            dying._let_go()

    def lose_db(self, _slot: str, _size: int) -> None:
        """The index is gone."""
        self.recorder._let_go()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def end(self) -> None:
        """All streams stop; the recorder records the rest."""
        for journal in self.streams.values():
            journal.close()
        assert self.recorder.drain(60)


_ACTIONS: tuple[Callable[[World, str, int], None], ...] = (
    World.write,
    World.write,
    World.write,
    World.sync,
    World.crash,
    World.record,
    World.record,
    World.restart,
    World.die,
    World.lose_db,
)
_STEPS = st.lists(
    st.tuples(st.sampled_from(_ACTIONS), st.sampled_from(SLOTS), st.integers(0, 4000)),
    max_size=40,
)


_TORN_BEHIND_THE_DURABLE: Final = [
    (World.write, "worker-2", 2021),
    (World.record, "worker-2", 0),
    (World.crash, "worker-2", 3976),
    (World.crash, "worker-2", 292),
    (World.write, "worker-2", 297),
    (World.record, "worker-2", 0),
]
"""A recorder that had read further than it may would remember what was torn."""


@given(steps=_STEPS)
@example(steps=_TORN_BEHIND_THE_DURABLE)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_every_durable_record_is_in_the_db_once(
    steps: list[tuple[Callable[[World, str, int], None], str, int]],
) -> None:
    """The one promise of the recorder, over everything that may interrupt it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder_module, "BATCH_RECORDS", BATCH)
        world = World(Path(folder))
        for act, slot, size in steps:
            act(world, slot, size)
        world.end()

        _require_whole(world)


def _require_whole(world: World) -> None:
    engine = open_engine(world.url, Role.AUDIT_READER)
    with reading(engine) as connection:
        rows = connection.execute(sa.select(RECORDS).order_by(RECORDS.c.row)).all()
        places = connection.execute(sa.select(STREAMS)).all()
    engine.dispose()
    for slot in SLOTS:
        stream = f"{NODE}/{slot}"
        chain = read_stream(world.journals, slot)  # each link is checked
        mine = [row for row in rows if row.stream == stream]
        assert [f"{row.record}\n".encode() for row in mine] == list(
            stream_lines(world.journals, slot)
        )
        assert [row.seq for row in mine] == list(range(1, len(chain) + 1))
        assert all(before.row < after.row for before, after in pairwise(mine))
        (place,) = [place for place in places if place.stream == stream]
        assert (place.seq, place.hash) == (len(chain), chain[-1]["hash"])
