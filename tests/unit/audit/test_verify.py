"""Every way to tamper with the trail is found and named; nothing else is."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from server.audit import note, segment
from server.audit.checkpoint import KEYS, CheckpointError
from server.audit.evidence import Report
from server.audit.note import Note, Signer
from server.audit.packer import pack
from server.audit.statements import Checkpoint, Head
from server.audit.verify import Fault
from tests.support.proof import SYSTEM, SignedTrail, altered, relinked
from tests.support.trail import NODE, event

ONE, TWO = f"{NODE}/worker-1", f"{NODE}/worker-2"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SignedTrail:
    """Three days of work, recorded."""
    trail = SignedTrail(tmp_path_factory.mktemp("trail"))
    trail.live()
    trail.record()
    return trail


@pytest.fixture
def trail(template: SignedTrail, tmp_path: Path) -> SignedTrail:
    """A copy to tamper with."""
    return template.copied(tmp_path / "trail")


def first(report: Report) -> tuple[Fault, str]:
    """What is named first."""
    assert report.findings
    return report.findings[0][:2]


def in_db(trail: SignedTrail, *statements: str, **values: object) -> None:
    """Change the DB as its administrator could; `:one` is worker-1's stream."""
    with closing(sqlite3.connect(trail.folder / "audit.db")) as connection:
        for statement in statements:
            connection.execute(statement, {"one": ONE, **values})
        connection.commit()


def test_an_untouched_trail_is_good(trail: SignedTrail) -> None:
    """A false alarm would teach people not to listen."""
    journals, database = trail.verify_journals(), trail.verify_database(strict=False)

    assert journals.findings == database.findings == []
    assert journals.records == database.records > 900
    assert journals.checkpoints >= 6
    assert len(trail.keys.notes()) == 4
    assert len(segment.segments(trail.journal / "worker-1")) > 2


def test_a_row_changed_in_the_db_is_named(trail: SignedTrail) -> None:
    """Somebody else's login in an old record."""
    in_db(
        trail,
        "UPDATE records SET record = replace(record, 'alice', 'mallo') "
        "WHERE stream = :one AND seq = 77",
    )

    assert first(trail.verify_database()) == (Fault.CHANGED, f"{ONE}:77")


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("login", "SET login = 'bob'"),
        ("path", "SET path_id = (SELECT max(id) FROM paths) + 1"),
        ("path", "SET path_id = NULL"),
    ],
)
def test_a_column_changed_in_the_db_is_named(
    trail: SignedTrail, column: str, change: str
) -> None:
    """The record is whole, but a search would no longer find it."""
    in_db(trail, f"UPDATE records {change} WHERE stream = :one AND seq = 77")

    report = trail.verify_database()

    assert first(report) == (Fault.INDEX, f"{ONE}:77")
    assert column in report.findings[0].text


def test_a_row_deleted_in_the_db_is_named(trail: SignedTrail) -> None:
    """The plainest wish of somebody who has something to hide."""
    in_db(trail, "DELETE FROM records WHERE stream = :one AND seq IN (80, 81)")

    report = trail.verify_database()

    assert first(report) == (Fault.MISSING, f"{ONE}:80")
    assert "80 to 81" in report.findings[0].text


def test_rows_that_changed_places_in_the_db_are_named(trail: SignedTrail) -> None:
    """A login after the deed would be another story."""
    in_db(
        trail,
        "UPDATE records SET seq = -1 WHERE stream = :one AND seq = 90",
        "UPDATE records SET seq = 90 WHERE stream = :one AND seq = 91",
        "UPDATE records SET seq = 91 WHERE stream = :one AND seq = -1",
    )

    assert first(trail.verify_database()) == (Fault.REORDERED, f"{ONE}:90")


def test_a_row_inserted_into_the_db_is_named(trail: SignedTrail) -> None:
    """A record that nobody recorded, well linked at the very end."""
    lines = trail.lines("worker-1")
    forged = list(
        relinked([*lines, altered(lines[-1], id=f"{ONE}:{len(lines) + 1}")], len(lines))
    )[-1]
    seq = len(lines) + 1
    in_db(
        trail,
        "INSERT INTO records (seq, record, stream, time_us, phase, operation) "
        "SELECT seq + 1, :record, stream, time_us, phase, operation "
        "FROM records WHERE stream = :one ORDER BY seq DESC LIMIT 1",
        record=forged.decode()[:-1],
    )

    assert first(trail.verify_database()) == (Fault.INSERTED, f"{ONE}:{seq}")


def test_rows_cut_off_the_dbs_end_are_named(trail: SignedTrail) -> None:
    """With and without setting the recorder's position back."""
    in_db(trail, "DELETE FROM records WHERE stream = :one AND seq > 200")
    assert first(trail.verify_database()) == (Fault.CUT, f"{ONE}:201")

    in_db(
        trail,
        "UPDATE streams SET seq = 200, hash = (SELECT json_extract(record, '$.hash') "
        "FROM records WHERE stream = :one AND seq = 200) WHERE stream = :one",
    )

    assert "behind" in trail.verify_database().remarks[-1]
    assert first(trail.verify_database(strict=True)) == (Fault.CUT, f"{ONE}:201")


@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_byte_in_a_journal_is_named(
    trail: SignedTrail, *, packed: bool
) -> None:
    """Bit rot or a hand: the first record that is not what it was."""
    found = segment.segments(trail.journal / "worker-1")[1]
    content = bytearray(found.path.read_bytes())
    at = content.index(b"alice", 1000)
    content[at] ^= 1
    seq = found.first + content[:at].count(b"\n")
    found.path.write_bytes(content)
    if packed:
        pack(found, _Never())

    assert first(trail.verify_journals()) == (Fault.CHANGED, f"{ONE}:{seq}")


class _Never:
    """An event that is not set."""

    def is_set(self) -> bool:
        return False


def test_a_broken_compressed_segment_is_named(trail: SignedTrail) -> None:
    """Damage to the file itself is damage to the trail."""
    found = segment.segments(trail.journal / "worker-1")[0]
    pack(found, _Never())
    path = found.path.with_name(found.path.name + ".gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    fault, where = first(trail.verify_journals())

    assert where.startswith(f"{ONE}:")
    assert fault in {Fault.CHANGED, Fault.MISSING}


def test_a_journal_cut_behind_a_checkpoint_is_named(trail: SignedTrail) -> None:
    """The end of the story is what most people would take away."""
    last = segment.segments(trail.journal / "worker-1")[-1]
    lines = last.path.read_bytes().splitlines(keepends=True)
    last.path.write_bytes(b"".join(lines[:-3]))
    (last.path.parent / segment.SYNCED).unlink()
    (last.path.parent / segment.RECORDED).unlink()

    assert first(trail.verify_journals()) == (
        Fault.CUT,
        f"{ONE}:{last.first + len(lines) - 3}",
    )
    with pytest.raises(CheckpointError, match=ONE):
        trail.witness().require_held("worker-1")


def test_a_segment_taken_away_is_named(trail: SignedTrail) -> None:
    """A whole file is easy to lose."""
    found = segment.segments(trail.journal / "worker-1")[1]
    found.path.unlink()

    assert first(trail.verify_journals()) == (Fault.MISSING, f"{ONE}:{found.first}")


def test_a_stream_taken_away_is_named(trail: SignedTrail) -> None:
    """A process's whole story."""
    for file in (trail.journal / "worker-2").iterdir():
        file.unlink()
    (trail.journal / "worker-2").rmdir()

    assert first(trail.verify_journals()) == (Fault.MISSING, TWO)


def test_swapped_streams_are_named(trail: SignedTrail) -> None:
    """What one process did must not become another's."""
    one, two = trail.journal / "worker-1", trail.journal / "worker-2"
    aside = trail.journal / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)

    report = trail.verify_journals()

    assert first(report) == (Fault.FOREIGN, f"{ONE}:1")
    assert (Fault.FOREIGN, f"{TWO}:1") in [found[:2] for found in report.findings]


def test_a_torn_last_line_is_no_error(trail: SignedTrail) -> None:
    """A crash leaves one; the next start cuts and names it."""
    last = segment.segments(trail.journal / "worker-1")[-1]
    with last.path.open("ab") as file:
        file.write(b'{"act":"01M82"')

    report = trail.verify_journals()

    assert report.good
    assert "torn" in report.remarks[-1]


def test_a_record_written_anew_with_its_hash_is_named(trail: SignedTrail) -> None:
    """Hashing again is easy; the next record still names the old hash."""
    trail.rewrite(
        "worker-1", lambda ls: [*ls[:49], altered(ls[49], login="bob"), *ls[50:]]
    )

    assert first(trail.verify_journals()) == (Fault.CHANGED, f"{ONE}:50")


def test_a_range_written_anew_is_held_against_the_checkpoint(
    trail: SignedTrail,
) -> None:
    """All links hold, but a signed head says otherwise."""
    trail.rewrite(
        "worker-1",
        lambda ls: list(
            relinked([*ls[:49], altered(ls[49], login="bob"), *ls[50:]], 50)
        ),
    )

    report = trail.verify_journals()

    assert first(report)[0] is Fault.REWRITTEN
    assert "checkpoint 1" in report.findings[0].text


def _resigned(trail: SignedTrail, change: Callable[[Checkpoint], Checkpoint]) -> None:
    """Sign every checkpoint file anew with today's key."""
    signer = trail.keys.current().signer
    prev = ""
    for day in trail.own.days():
        made = []
        for written in note.split(day.read_text()):
            checkpoint = change(Checkpoint.parse(Note.parse(written).text))
            if prev:
                checkpoint = Checkpoint(**{**_fields(checkpoint), "prev": prev})
            made.append(signer.sign(checkpoint.text()))
            prev = Note.parse(made[-1]).digest
        day.write_text(note.join(made))


def _fields(checkpoint: Checkpoint) -> dict[str, object]:
    return {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}


def test_an_old_range_signed_with_todays_key_is_named(trail: SignedTrail) -> None:
    """Whoever steals today's key has not got yesterday's."""
    trail.rewrite(
        "worker-1",
        lambda ls: list(
            relinked([*ls[:49], altered(ls[49], login="bob"), *ls[50:]], 50)
        ),
    )
    lines = trail.lines("worker-1")

    def rehead(checkpoint: Checkpoint) -> Checkpoint:
        heads = dict(checkpoint.heads)
        seq = heads[ONE].seq
        heads[ONE] = Head(seq, lines[seq - 1][-67:-3].decode())
        return Checkpoint(**{**_fields(checkpoint), "heads": heads})

    _resigned(trail, rehead)

    report = trail.verify_journals()

    texts = " ".join(found.text for found in report.findings)
    assert first(report)[0] is Fault.CHECKPOINT
    assert "belongs to key" in texts or "two versions" in texts


def test_a_replaced_key_is_named(trail: SignedTrail) -> None:
    """A chain of keys that leads from another root proves nothing."""
    stranger = Signer.new(trail.root.name)
    certificates = trail.own.kept(KEYS)
    text = Note.parse(certificates[2]).text
    trail.own.keep(KEYS, [*certificates[:2], stranger.sign(text), *certificates[3:]])

    report = trail.verify_journals()

    assert first(report)[0] is Fault.KEY
    assert "key 2" in report.findings[0].text


def test_another_root_than_the_given_one_is_named(trail: SignedTrail) -> None:
    """The reader's public key decides, not what lies beside the records."""
    other = Signer.new(trail.root.name).key

    report = trail.verify_journals(root=other)

    assert first(report)[0] is Fault.KEY
    assert "not the given public key" in report.findings[0].text


def test_a_checkpoint_that_does_not_fit_is_named(trail: SignedTrail) -> None:
    """One digit of one head."""
    day = trail.own.days()[0]
    text = day.read_text()
    head = Checkpoint.parse(Note.parse(note.split(text)[0]).text).heads[ONE]
    day.write_text(text.replace(f"{ONE} {head.seq} ", f"{ONE} {head.seq + 1} ", 1))

    assert first(trail.verify_journals())[0] is Fault.CHECKPOINT


def test_the_whole_state_rolled_back_is_noticed_by_the_copy(
    tmp_path: Path, template: SignedTrail
) -> None:
    """An old backup, keys and checkpoints included, is good in itself."""
    trail = template.copied(tmp_path / "now")
    old = trail.copied(tmp_path / "old")
    trail.clock.days = old.clock.days = 3
    checkpointer = trail.checkpointer()
    checkpointer.start()
    journal = trail.open("worker-1")
    journal.wait(journal.append(event(1)))
    journal.close()
    checkpointer.finish()

    assert old.verify_journals().good
    report = old.verify_journals(folders=[old.own, trail.copy])
    assert Fault.CUT in {found.fault for found in report.findings}
    with pytest.raises(CheckpointError, match="old copy"):
        old.witness(old.own, trail.copy).require_held()


def test_the_checkpointer_refuses_to_say_less(trail: SignedTrail) -> None:
    """A journal cut under a running keeper is noticed at the next checkpoint."""
    checkpointer = trail.checkpointer()
    checkpointer.start()
    before = list(trail.own.notes())
    last = segment.segments(trail.journal / "worker-2")[-1]
    last.path.write_bytes(last.path.read_bytes()[:500])

    with pytest.raises(CheckpointError):
        checkpointer.run(_Deaf(), SYSTEM)  # type: ignore[arg-type]  # all it asks

    assert list(trail.own.notes()) == before


class _Deaf:
    """A gate that is told of the refusal and of nothing else."""

    def event(self, _who: object, operation: str, outcome: str, **_: object) -> None:
        assert (operation, outcome) == ("checkpoint", "refused")
