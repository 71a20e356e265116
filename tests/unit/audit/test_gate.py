"""The gate: intent before effect, one outcome, every refusal on record."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.gate import Act, Gate
from server.model.clock import SystemClock
from server.model.errors import (
    AuditUnavailableError,
    NotFoundError,
    RightsRefusedError,
    SessionCutError,
)
from server.model.event import Fields
from server.model.operation import Operation, Outcome
from tests.support.trail import WHO, acts, audit_settings, open_journal, read_stream
from tests.support.waiting import until


class Clock(SystemClock):
    """Time that a test can push forward."""

    ahead_ns = 0

    def mono_ns(self) -> int:
        """The machine's clock and what the test has added."""
        return super().mono_ns() + self.ahead_ns


class Store:
    """A gate over a journal in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.journal = open_journal(folder)
        self.gate = Gate(self.journal, clock=self.clock, settings=audit_settings())

    def records(self) -> list[Fields]:
        """What was recorded through the gate."""
        return acts(read_stream(self.folder))

    def glance(self, session: str = "01JSESSION", path: str = "/private") -> None:
        """One listing."""
        who: Fields = {**WHO, "session": session}
        self.gate.glance(who, Operation.LIST, folder_path=path, path=path, folder="")

    def close(self) -> None:
        """As the daemon does."""
        self.gate.close()
        self.journal.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store; closed at the end."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


def _run(store: Store, error: Exception | None, *, begin: bool) -> Act:
    with store.gate.act(WHO, Operation.DELETE, raw="/private//a") as act:
        act.note(path="/private/a", detail={"one": 1})
        if begin:
            act.begin()
        if error is not None:
            raise error
    return act


def test_an_act_is_an_intent_and_an_outcome(store: Store) -> None:
    """Who, what and where stand there before the effect, the end after it."""
    _run(store, None, begin=True)

    intent, outcome = store.records()

    assert (intent["phase"], outcome["phase"]) == ("intent", "outcome")
    assert intent["act"] == outcome["act"]
    assert outcome["outcome"] == "done"
    assert intent["path_raw"] == "/private//a"
    assert intent["login"] == "alice"
    assert outcome["duration_us"] >= 0


def test_the_intent_is_durable_when_begin_returns(store: Store) -> None:
    """The effect comes next; a power cut then must leave the intent."""
    with store.gate.act(WHO, Operation.DELETE, raw="/private/a") as act:
        act.begin()
        synced = store.journal._sync._durable
        assert synced == store.journal._position.seq


def test_a_refusal_is_one_record_with_stage_and_rule(store: Store) -> None:
    """The trail says who refused and why; no intent, for nothing began."""
    with pytest.raises(RightsRefusedError):
        _run(store, RightsRefusedError("No.", rule="delete"), begin=False)

    (record,) = store.records()

    assert (record["phase"], record["outcome"]) == ("event", "refused")
    assert (record["stage"], record["rule"]) == ("rights", "delete")
    assert record["reason"] == "no_right"


@pytest.mark.parametrize(
    ("error", "begin", "outcome", "reason"),
    [
        (NotFoundError("gone"), True, "failed", "not_found"),
        (SessionCutError("device_locked"), True, "aborted", "session_cut"),
        (SessionCutError("device_locked"), False, "refused", "session_cut"),
        (ZeroDivisionError(), True, "failed", "internal"),
    ],
)
def test_an_error_becomes_the_outcome(
    store: Store, error: Exception, *, begin: bool, outcome: str, reason: str
) -> None:
    """Every end of an act has a word in the trail."""
    with pytest.raises(type(error)):
        _run(store, error, begin=begin)

    last = store.records()[-1]

    assert (last["outcome"], last["reason"]) == (outcome, reason)


def test_the_outcome_is_written_once(store: Store) -> None:
    """A handle may be closed by the client and by the session's end."""
    act = _run(store, None, begin=True)

    act.close(Outcome.ABORTED)
    act.fail(NotFoundError("late"))
    act.progress(bytes=5)

    assert [record.get("outcome") for record in store.records()] == [None, "done"]


def test_a_kept_act_stays_open_for_its_handle(store: Store) -> None:
    """An open file's outcome comes at its close."""
    with store.gate.act(WHO, Operation.READ, raw="/private/a") as act:
        act.begin()
        act.keep()
    assert not act.closed

    act.progress(bytes=10)
    act.close(Outcome.DONE, wait=False, bytes=20, detail={"two": 2})

    assert [r["phase"] for r in store.records()] == ["intent", "progress", "outcome"]


def test_details_merge_and_later_facts_win(store: Store) -> None:
    """What was noted on the way belongs to the outcome too."""
    with store.gate.act(WHO, Operation.WRITE, raw="/private/a") as act:
        act.note(size=1, detail={"one": 1})
        act.begin()
        act.close(Outcome.DONE, size=2, detail={"two": 2})

    outcome = store.records()[-1]

    assert outcome["size"] == 2
    assert outcome["detail"] == {"one": 1, "two": 2}


def test_names_that_are_no_utf_8_are_kept_as_bytes(store: Store) -> None:
    """An old scanner's Shift_JIS name is evidence, not an error."""
    raw = b"/private/\x83e\x83X\x83g".decode("utf-8", "surrogateescape")
    store.gate.act(WHO, Operation.READ, raw=raw).close(Outcome.REFUSED)

    (record,) = store.records()

    assert record["path_raw"] == "base64:L3ByaXZhdGUvg2WDWINn"


def test_a_huge_path_does_not_fill_the_journal(store: Store) -> None:
    """One packet may carry 256 KiB of path; a record may not."""
    raw = "/" + "a" * 200_000
    store.gate.act(WHO, Operation.READ, raw=raw).close(Outcome.REFUSED)

    (record,) = store.records()

    assert len(record["path_raw"]) < 10_000
    assert record["path_raw"].endswith("(200001 characters)")


def test_when_the_journal_is_down_nothing_begins_and_no_refusal_is_told(
    tmp_path: Path,
) -> None:
    """Fail closed: even the refusal that cannot be recorded changes its name."""
    store = Store(tmp_path)
    store.journal._fail("test", OSError())

    with pytest.raises(AuditUnavailableError):
        _run(store, None, begin=True)
    with pytest.raises(AuditUnavailableError):
        _run(store, RightsRefusedError("No.", rule="delete"), begin=False)
    with pytest.raises(AuditUnavailableError):
        store.glance()
    with pytest.raises(AuditUnavailableError):
        store.gate.require_running()

    store.close()
    assert store.records() == []


def test_repeated_listings_make_one_record_and_a_count(store: Store) -> None:
    """A client that polls a folder must not bury the trail."""
    for _ in range(50):
        store.glance()

    assert len(store.records()) == 1
    store.gate.leave("01JSESSION")

    first, counted = store.records()
    assert "detail" not in first
    assert isinstance(counted["detail"], dict)
    assert counted["detail"]["count"] == 49
    assert counted["detail"]["since"] <= first["time"]


def test_listings_are_counted_per_session_and_folder(store: Store) -> None:
    """Who looked where must be told for each."""
    store.glance("a", "/private")
    store.glance("b", "/private")
    store.glance("a", "/shared")

    assert len(store.records()) == 3


def test_a_count_is_told_when_its_window_ends(store: Store) -> None:
    """Nobody has to come back for it to be written."""
    store.glance()
    store.glance()

    until(lambda: len(store.records()) == 2, deadline_s=8)

    assert store.gate._glances._windows == {}


def test_a_new_window_begins_with_a_record_of_its_own(store: Store) -> None:
    """Somebody who looks every minute leaves a record every minute."""
    store.glance()
    store.glance()
    store.clock.ahead_ns += 6 * 10**9
    store.glance()

    assert [record.get("detail") is None for record in store.records()].count(True) == 2


def test_what_is_outstanding_is_told_at_the_end(tmp_path: Path) -> None:
    """A stop of the daemon must not swallow counts."""
    store = Store(tmp_path)
    store.glance()
    store.glance()
    store.close()

    assert len(store.records()) == 2


def test_a_recovered_act_says_so(tmp_path: Path) -> None:
    """The outcome that a crash prevented is written by the next process."""
    store = Store(tmp_path)
    act = store.gate.act(WHO, Operation.WRITE, raw="/private/a")
    act.note(path="/private/a")
    act.begin()
    store.close()

    again = Store(tmp_path)
    (left,) = again.journal.open_acts
    again.gate.recovered(left, Outcome.ABORTED, reason="crash")
    again.gate.settle()
    again.close()

    outcome = again.records()[-1]
    assert outcome["act"] == act.id
    assert (outcome["outcome"], outcome["recovered"]) == ("aborted", True)
    assert outcome["path"] == "/private/a"
    last = Store(tmp_path)
    assert last.journal.open_acts == []
    last.close()
