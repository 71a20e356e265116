"""Retention takes what is due, leaves a stub that verifies, and survives a crash."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.audit import find, segment
from server.audit import released as released_module
from server.audit.checkpoint import KEYS
from server.audit.exported import verify_export
from server.audit.gate import Gate
from server.audit.query import Query
from server.audit.recorder import Recorder
from server.audit.released import RowDropper, retentions
from server.audit.retention import Due, Pruner
from server.audit.segment import Segment
from server.audit.tables import RECORDS
from server.audit.verify import Fault
from server.db.engine import Role, open_engine, reading
from server.model.errors import UnavailableError
from tests.support.proof import SYSTEM, SignedTrail
from tests.support.trail import NODE, audit_settings, event, read_stream

ONE = f"{NODE}/worker-1"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SignedTrail:
    """Three days of work, recorded; the fourth day has begun."""
    trail = SignedTrail(tmp_path_factory.mktemp("trail"))
    trail.live()
    trail.record()
    return trail


@pytest.fixture
def trail(template: SignedTrail, tmp_path: Path) -> SignedTrail:
    """A copy to prune."""
    copied = template.copied(tmp_path / "trail")
    copied.clock.days = 3
    return copied


def pruner(trail: SignedTrail, kind: type[Pruner] = Pruner, **values: object) -> Pruner:
    """Keeps one day before today."""
    return kind(
        trail.journal,
        trail.keys,
        [trail.own, trail.copy],
        node=NODE,
        clock=trail.clock,
        settings=audit_settings(retention_days=1, **values),
    )


def prune(trail: SignedTrail, pruner: Pruner) -> list[Due]:
    """One run of the keeper's job; rows go with the recorder's next batches."""
    keeper = trail.open("keeper")
    gate = Gate(keeper, clock=trail.clock, settings=trail.settings)
    try:
        return pruner.run(gate, SYSTEM)
    finally:
        gate.close()
        keeper.close()


def record(trail: SignedTrail) -> list[str]:
    """Record and delete rows; returns the streams found damaged."""
    damaged: list[str] = []
    released = RowDropper(trail.own)
    released.look()
    assert Recorder(
        trail.journal,
        trail.url,
        node=NODE,
        on_damage=lambda stream, _: damaged.append(stream),
        released=released,
    ).drain(30)
    return damaged


def first_seq(trail: SignedTrail, slot: str = "worker-1") -> int:
    """The first record that the journal holds."""
    return segment.segments(trail.journal / slot)[0].first


def test_whole_days_go_and_what_stays_verifies(trail: SignedTrail) -> None:
    """Pruning never looks like tampering, in the journals and in the DB."""
    days = {record["time"][:10] for record in read_stream(trail.journal)}
    before = trail.verify_journals().records

    dropped = prune(trail, pruner(trail))
    damaged = record(trail)

    assert len(days) == 3
    journals, database = trail.verify_journals(), trail.verify_database()
    assert journals.findings == database.findings == []
    assert damaged == []
    assert {due.stream for due in dropped} >= {ONE, f"{NODE}/keeper"}
    gone = sum(due.count for due in dropped)
    assert gone > 500
    assert journals.records < before - 500
    assert database.records == journals.records
    kept = [line for line in trail.lines("worker-1") if b"/private/0-" in line]
    assert kept == []
    assert any(b"/private/2-" in line for line in trail.lines("worker-1"))


def test_a_db_made_anew_does_not_bring_back_what_was_dropped(
    trail: SignedTrail,
) -> None:
    """The journals begin later now, and the recorder knows why."""
    prune(trail, pruner(trail))
    (trail.folder / "audit.db").unlink()

    damaged = record(trail)

    report = trail.verify_database()
    assert damaged == []
    assert report.findings == []
    assert report.records == trail.verify_journals().records


def test_a_deletion_beyond_the_stub_is_still_found(trail: SignedTrail) -> None:
    """Tampering never looks like pruning."""
    prune(trail, pruner(trail))
    segment.segments(trail.journal / "worker-1")[0].path.unlink()
    first = first_seq(trail)

    (found,) = trail.verify_journals().findings

    assert found.fault is Fault.MISSING
    assert found.where.startswith(ONE)
    assert f"to {first - 1}" in found.text


class Crashing(Pruner):
    """Dies when the retention is signed and on record, before anything is removed."""

    def _keep(self, written: str) -> None:
        super()._keep(written)
        raise KeyboardInterrupt


def test_a_crash_before_the_removal_is_finished_by_the_next_run(
    trail: SignedTrail,
) -> None:
    """What was signed holds: it is done once, and said once more."""
    with pytest.raises(KeyboardInterrupt):
        prune(trail, pruner(trail, Crashing))
    begun = first_seq(trail)
    assert begun == 1
    assert trail.verify_journals().findings == []

    assert prune(trail, pruner(trail)) == []

    assert first_seq(trail) > 1
    assert record(trail) == []
    assert trail.verify_journals().findings == []
    assert trail.verify_database().findings == []
    assert len(retentions(trail.own)) == 1


def test_a_crash_amid_the_removal_leaves_what_verifies(trail: SignedTrail) -> None:
    """Segments go oldest first, so what is left is an end of the stream."""
    due = next(due for due in pruner(trail).plan() if due.stream == ONE)
    with pytest.raises(KeyboardInterrupt):
        prune(trail, pruner(trail, Crashing))
    due.segments[0].path.unlink()

    assert trail.verify_journals().findings == []

    prune(trail, pruner(trail))
    assert trail.verify_journals().findings == []
    assert first_seq(trail) == due.head.seq + 1


def test_the_archive_holds_what_went_and_verifies_alone(
    trail: SignedTrail, tmp_path: Path
) -> None:
    """Compressed JSON Lines, checkpoints and certificates: all that a reader needs."""
    archive = tmp_path / "archive"
    archive.mkdir()
    lines = trail.lines("worker-1")

    dropped = prune(trail, pruner(trail, archive_dir=archive))

    due = next(due for due in dropped if due.stream == ONE)
    files = sorted((archive / NODE / "worker-1").iterdir())
    held = [
        line
        for path in files
        for line in segment.lines(Segment(int(path.name[:20]), path))
    ]
    assert held == lines[: due.head.seq]
    assert (archive / NODE / KEYS).exists()
    reports = _verified(trail, files)
    assert [found for report in reports for found in report.findings] == []
    assert sum(report.records for report in reports) == due.count


def _verified(trail: SignedTrail, files: Sequence[Path]) -> list[object]:
    beside = type(trail.own)(files[0].parent.parent)
    return [verify_export(path, None, [beside], root=trail.root) for path in files]


def test_a_held_contracts_records_never_go(trail: SignedTrail) -> None:
    """A hold binds while it lasts; the other streams go on losing what is due."""
    held = pruner(trail)
    held.keeping = lambda: {"main": None}

    dropped = prune(trail, held)

    assert {due.stream for due in dropped} == {f"{NODE}/keeper"}
    assert first_seq(trail) == 1
    assert retentions(trail.own)[-1].policy == "days 1; main held"

    assert ONE in {due.stream for due in prune(trail, pruner(trail))}
    record(trail)
    assert trail.verify_journals().findings == []
    assert trail.verify_database().findings == []


def test_a_contract_keeps_its_records_for_its_own_time(trail: SignedTrail) -> None:
    """Two days instead of one: the second day stays, the first goes."""
    longer = pruner(trail)
    longer.keeping = lambda: {"main": 2, "branch": 30}

    dropped = prune(trail, longer)

    assert ONE in {due.stream for due in dropped}
    lines = trail.lines("worker-1")
    assert not any(b"/private/0-" in line for line in lines)
    assert any(b"/private/1-" in line for line in lines)


def test_accounts_that_cannot_be_asked_drop_nothing(trail: SignedTrail) -> None:
    """Whether a contract is held is not known then."""

    def away() -> dict[str, int | None]:
        raise UnavailableError("The accounts database does not answer.")

    blind = pruner(trail)
    blind.keeping = away

    with pytest.raises(UnavailableError):
        prune(trail, blind)
    assert first_seq(trail) == 1


def test_recording_and_searching_go_on_while_a_month_is_deleted(
    trail: SignedTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few rows a transaction: between two of them the recorder takes new records."""
    monkeypatch.setattr(released_module, "_ROWS", 20)
    prune(trail, pruner(trail))
    released = RowDropper(trail.own)
    released.look()
    recorder = Recorder(trail.journal, trail.url, node=NODE, released=released)
    worker = trail.open("worker-1")
    left: list[int] = []

    for number in range(5):
        worker.append(event(number, path=f"/private/new-{number}"))
        worker.settle()
        recorder.step()
        assert released.pending
        left.append(_rows(trail, f"/private/new-{number}"))
    worker.close()

    assert recorder.drain(30)
    assert all(before > after for before, after in pairwise(left))
    assert trail.verify_database().findings == []


def _rows(trail: SignedTrail, newest: str) -> int:
    """How many rows there are; the newest can be found already."""
    engine = open_engine(trail.url, Role.AUDIT_READER)
    with reading(engine) as connection:
        (found,) = find.records(connection, Query(path=newest))
        assert found["path"] == newest
        asked = sa.select(sa.func.count()).select_from(RECORDS)
        count = connection.execute(asked).scalar_one()
    engine.dispose()
    return count


def test_room_is_given_back_when_much_has_gone(trail: SignedTrail) -> None:
    """A file that once held ten times as much does not stay as large for ever."""
    path = trail.folder / "audit.db"
    before = path.stat().st_size
    trail.clock.days = 4
    prune(trail, pruner(trail))

    record(trail)

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    assert path.stat().st_size < before
    assert unused * 5 <= pages


def test_without_its_archive_nothing_is_dropped(
    trail: SignedTrail, tmp_path: Path
) -> None:
    """An archive that is not mounted is no reason to lose records."""
    with pytest.raises(UnavailableError):
        prune(trail, pruner(trail, archive_dir=tmp_path / "away"))

    assert first_seq(trail) == 1
    assert retentions(trail.own) == []
    told = read_stream(trail.journal, "keeper")[-2]
    assert (told["operation"], told["outcome"]) == ("retention", "failed")


def test_what_the_db_does_not_hold_is_not_due(trail: SignedTrail) -> None:
    """The index must be able to catch up."""
    (trail.journal / "worker-1" / segment.RECORDED).unlink()

    assert ONE not in {due.stream for due in pruner(trail).plan()}


def test_a_second_retention_tells_of_the_first(trail: SignedTrail) -> None:
    """Each stub is whole: the newest alone says what is gone."""
    prune(trail, pruner(trail))
    trail.clock.days = 4
    record(trail)
    checkpointer = trail.checkpointer()
    checkpointer.start()
    checkpointer.finish()

    prune(trail, pruner(trail))

    first, second = retentions(trail.own)
    assert first.streams.keys() <= second.streams.keys()
    assert second.number == 2
    assert trail.verify_journals().findings == []


def test_a_clock_that_jumps_forward_makes_nothing_due(trail: SignedTrail) -> None:
    """Ten years on the wall are not ten years lived: the trail must not be dropped."""
    lived = [due.head for due in pruner(trail).plan()]
    trail.clock.days = 3650

    jumped = [due.head for due in pruner(trail).plan()]

    assert lived
    assert jumped == lived
