"""The journal: chained, durable before it says so, taken over after any end."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import override

from server.audit import segment
from server.audit.journal import Journal
from server.audit.recovery import JournalDamagedError
from server.audit.stream import StreamBusyError
from server.model.clock import SystemClock
from server.model.errors import AuditUnavailableError
from server.settings.schema import AuditSettings
from tests.support.trail import acts, event, open_journal, read_stream
from tests.support.waiting import until


class CountingJournal(Journal):
    """Counts syncs, and lets a test hold them up."""

    syncs = 0
    hold: threading.Event | None = None

    @override
    def _fdatasync(self, fd: int) -> None:
        if self.hold is not None:
            self.hold.wait(10)
        self.syncs += 1
        super()._fdatasync(fd)


class FailingJournal(Journal):
    """Its disk fails one sync, once, and then pretends to be well."""

    fails = False
    tries = 0

    @override
    def _fdatasync(self, fd: int) -> None:
        self.tries += 1
        if self.fails:
            self.fails = False
            raise OSError(5, "Input/output error")
        super()._fdatasync(fd)


def _run_together(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_records_chain_over_restarts(tmp_path: Path) -> None:
    """A restart must not be a seam at which records can vanish."""
    for start in (0, 10, 20):
        journal = open_journal(tmp_path)
        for number in range(start, start + 10):
            journal.append(event(number))
        journal.close()

    paths = [record["path"] for record in acts(read_stream(tmp_path))]

    assert paths == [f"/private/{number}" for number in range(30)]


def test_a_second_writer_is_turned_away(tmp_path: Path) -> None:
    """Two writers of one stream would break its chain."""
    journal = open_journal(tmp_path)

    with pytest.raises(StreamBusyError):
        open_journal(tmp_path)

    journal.close()
    open_journal(tmp_path).close()


def test_concurrent_waiters_share_syncs(tmp_path: Path) -> None:
    """Forty people saving at once must not wait for forty disk flushes."""
    journal = open_journal(tmp_path, kind=CountingJournal)
    assert isinstance(journal, CountingJournal)
    journal.hold = threading.Event()
    before = journal.syncs
    written = threading.Barrier(41)

    def save(number: int) -> None:
        seq = journal.append(event(number))
        written.wait(10)
        journal.wait(seq)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    written.wait(10)
    journal.hold.set()
    for thread in threads:
        thread.join(10)
    syncs = journal.syncs - before
    journal.close()

    assert syncs <= 3
    assert len(acts(read_stream(tmp_path))) == 40


def test_appending_goes_on_while_a_sync_runs(tmp_path: Path) -> None:
    """A slow disk delays those who wait, not those who only write."""
    journal = open_journal(tmp_path, kind=CountingJournal)
    assert isinstance(journal, CountingJournal)
    journal.hold = threading.Event()
    waiter = threading.Thread(target=journal.wait, args=(journal.append(event(0)),))
    waiter.start()

    numbers = [journal.append(event(number)) for number in range(1, 50)]

    assert len(numbers) == 49
    assert waiter.is_alive()
    journal.hold.set()
    waiter.join(10)
    journal.close()


def test_a_record_that_nobody_waits_for_is_durable_soon(tmp_path: Path) -> None:
    """The outcome of a read is not awaited, but a power cut a second later is."""
    journal = open_journal(tmp_path)

    seq = journal.append(event(1))

    until(lambda: segment.read_synced(journal.folder).seq >= seq, deadline_s=6)
    journal.close()


def test_process_durability_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """The operator chose speed; the answer must not hang on a sync."""
    journal = open_journal(tmp_path, kind=CountingJournal, durability="process")
    assert isinstance(journal, CountingJournal)
    journal.hold = threading.Event()

    journal.wait(journal.append(event(1)))

    journal.hold.set()
    journal.close()


def test_a_failed_sync_is_never_retried(tmp_path: Path) -> None:
    """After it the kernel calls lost pages clean: a second sync would lie."""
    failures: list[str] = []
    journal = open_journal(tmp_path, kind=FailingJournal)
    assert isinstance(journal, FailingJournal)
    journal._on_failure = lambda: failures.append("told")
    seq = journal.append(event(1))
    journal.settle()
    journal.fails, journal.tries = True, 0
    seq = journal.append(event(2))

    with pytest.raises(AuditUnavailableError):
        journal.wait(seq)
    with pytest.raises(AuditUnavailableError):
        journal.wait(seq)
    with pytest.raises(AuditUnavailableError):
        journal.append(event(3))

    journal.close()
    assert journal.tries == 1
    assert failures == ["told"]


def test_all_waiters_hear_of_a_failed_sync(tmp_path: Path) -> None:
    """Nobody may take a record for durable that is not."""
    journal = open_journal(tmp_path, kind=FailingJournal)
    assert isinstance(journal, FailingJournal)
    refused: list[int] = []
    journal.fails = True

    def save(number: int) -> None:
        try:
            journal.wait(journal.append(event(number)))
        except AuditUnavailableError:
            refused.append(number)

    _run_together(8, save)

    journal.close()
    assert sorted(refused) == list(range(8))


def test_segments_roll_and_the_last_one_tells_the_open_acts(tmp_path: Path) -> None:
    """A handle open for days must be found without reading days of journal."""
    journal = open_journal(tmp_path, segment_bytes_max=65536)
    intent = event(0, act="old", phase="intent", operation="read")
    journal.append({**intent, "path": "/private/film.mkv"})
    journal.append(event(0, act="old", phase="progress", bytes=67108864))
    while len(segment.segments(journal.folder)) < 3:
        journal.append(event(1))
    journal.close()

    again = open_journal(tmp_path, segment_bytes_max=65536)
    again.close()

    (found,) = again.open_acts
    assert found.intent["path"] == "/private/film.mkv"
    assert found.progress is not None
    assert found.progress["bytes"] == 67108864
    read_stream(tmp_path)


def test_open_acts_are_found_after_a_crash_too(tmp_path: Path) -> None:
    """Recovery starts from what the dead process had begun."""
    journal = open_journal(tmp_path)
    journal.append(event(1, act="done", phase="intent"))
    journal.append(event(1, act="done", phase="outcome"))
    journal.append(event(2, act="cut", phase="intent"))
    journal.settle()
    _crash(journal)

    again = open_journal(tmp_path)
    again.close()

    assert [act.id for act in again.open_acts] == ["cut"]


def test_the_start_record_names_the_siblings_heads(tmp_path: Path) -> None:
    """A stream cannot vanish without another one missing it."""
    other = open_journal(tmp_path, "keeper")
    other.append(event(1))
    other.close()
    open_journal(tmp_path).close()

    start = next(
        record
        for record in read_stream(tmp_path)
        if record["operation"] == "system.start"
    )
    last = read_stream(tmp_path, "keeper")[-1]

    assert isinstance(start["detail"], dict)
    seq = int(last["id"].rpartition(":")[2])
    assert start["detail"]["heads"] == {
        "node-1/keeper": {"seq": seq, "hash": last["hash"]}
    }


def test_a_journal_whose_folder_is_gone_fails_closed(tmp_path: Path) -> None:
    """Writing into an unlinked file would be writing nowhere."""
    journal = open_journal(tmp_path / "journal")
    (tmp_path / "journal").rename(tmp_path / "elsewhere")

    until(lambda: journal.failed, deadline_s=6)

    with pytest.raises(AuditUnavailableError):
        journal.append(event(1))
    journal.close()


def test_durable_records_that_are_missing_keep_the_stream_closed(
    tmp_path: Path,
) -> None:
    """Cutting the journal's end must not look like a crash."""
    journal = open_journal(tmp_path)
    for number in range(20):
        journal.append(event(number))
    journal.close()
    (only,) = segment.segments(journal.folder)
    os.truncate(only.path, only.path.stat().st_size // 2)

    with pytest.raises(JournalDamagedError):
        open_journal(tmp_path)


def test_a_changed_record_keeps_the_stream_closed(tmp_path: Path) -> None:
    """An edit in the middle is damage, not a torn end."""
    journal = open_journal(tmp_path)
    journal.append(event(1))
    journal.append(event(2))
    journal.settle()
    _crash(journal)
    (only,) = segment.segments(journal.folder)
    text = only.path.read_bytes()
    only.path.write_bytes(text.replace(b"/private/1", b"/private/7"))

    with pytest.raises(JournalDamagedError):
        open_journal(tmp_path)


def _crash(journal: Journal) -> None:
    """Leave everything as a killed process would: nothing more is written."""
    journal._closing.set()
    journal._keeper.join()
    journal._close_files()
    os.close(journal._lock_fd)


def test_a_brief_writer_tells_its_first_start_only(tmp_path: Path) -> None:
    """Commands come and go; their starts and stops would bury what they did."""
    for _ in range(3):
        journal = Journal.open(
            tmp_path,
            node="node-1",
            slot="cli",
            clock=SystemClock(),
            settings=AuditSettings(reserve_bytes=65536),
            brief=True,
        )
        journal.append({"operation": "admin.line.add", "phase": "event"})
        journal.close()

    (segment_file,) = (tmp_path / "cli").glob("*.jsonl")
    lines = segment_file.read_text(encoding="utf-8").splitlines()
    told = [json.loads(line)["operation"] for line in lines]
    assert told == [
        "system.segment",
        "system.start",
        *["admin.line.add"] * 3,
    ]
