"""Following the rows: each one once, whatever happens to recorder and DB."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.query import Query
from server.audit.recorder import Recorder
from server.audit.search import Row
from server.model.errors import NotFoundError, UnavailableError
from tests.support.library import Library
from tests.support.trail import NODE, event
from tests.support.waiting import until

WORKERS = ("worker-1", "worker-2", "worker-3")


@pytest.fixture
def library(tmp_path: Path, database_url: str) -> Iterator[Library]:
    """Three workers, on SQLite and on PostgreSQL."""
    opened = Library(tmp_path, database_url, workers=WORKERS)
    yield opened
    opened.close()


class Follower:
    """A tail in a thread; what it yields is collected."""

    def __init__(self, library: Library, *, after: str, filters: Query) -> None:
        self.seen: list[Row] = []
        self.pauses: list[str] = []
        self._stop = threading.Event()
        self._reader = library.open_reader()
        self._rows = self._reader.tail(
            after,
            follow=True,
            stop=self._stop,
            filters=filters,
            pausing=self.pauses.append,
        )
        self._thread = threading.Thread(target=self._collect, name="follower")
        self._thread.start()

    def _collect(self) -> None:
        self.seen.extend(self._rows)

    def wait_for(self, count: int) -> None:
        until(lambda: len(self.seen) >= count, what=f"{count} rows", deadline_s=30)

    def end(self) -> list[str]:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._reader.close()
        return _acts(self.seen)


def _acts(rows: list[Row]) -> list[str]:
    return [str(row["act"]) for row in rows if str(row.get("act")).startswith("act-")]


def _once(library: Library, after: str, **wish: object) -> list[Row]:
    stop = threading.Event()
    return list(library.reader.tail(after, follow=False, stop=stop, **wish))  # type: ignore[arg-type]  # the test's own


def _mixed(library: Library, count: int, seed: int = 1) -> list[str]:
    """Records of all workers, recorded in uneven batches; the acts in any order."""
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    for first in range(0, count, 50):
        numbers = range(first, min(first + 50, count))
        for worker in chance.sample(range(3), 3):
            library.write([event(n) for n in numbers if n % 3 == worker], worker)
            if chance.random() < 0.3:
                library.record()
    library.record()
    return [f"act-{n}" for n in range(count)]


def test_restarts_at_any_cursor_see_the_rest_exactly(library: Library) -> None:
    """A collector that was stopped anywhere goes on behind its last id."""
    _mixed(library, 600)
    whole = _once(library, f"{NODE}/cli:1")
    assert len({row["id"] for row in whole}) == len(whole)
    chance = random.Random(2)  # noqa: S311 - a test's dice

    for _ in range(25):
        place = chance.randrange(len(whole) - 1)
        rest = _once(library, str(whole[place]["id"]))
        known = len(whole) - place - 1
        assert [row["id"] for row in rest[:known]] == [
            row["id"] for row in whole[place + 1 :]
        ]
        assert {row["operation"] for row in rest[known:]} <= {"audit_tail"}


def test_a_follower_lives_through_restarts_of_the_recorder(library: Library) -> None:
    """Each recorder goes on where the DB says, so the rows just go on too."""
    follower = Follower(library, after=f"{NODE}/cli:1", filters=Query(login="alice"))

    acts = _mixed(library, 450)

    follower.wait_for(450)
    assert sorted(follower.end()) == sorted(acts)


def test_a_follower_lives_through_the_loss_of_the_db(library: Library) -> None:
    """The new DB may hold the streams in another order; none is told twice."""
    acts = _mixed(library, 300)
    follower = Follower(library, after=f"{NODE}/cli:1", filters=Query(login="alice"))
    follower.wait_for(150)

    library.lose_db()
    library.write([event(n) for n in range(300, 330)], 1)
    library.record()
    library.write([event(n) for n in range(330, 360)], 2)
    library.record()

    follower.wait_for(360)
    seen = follower.end()
    assert sorted(seen) == sorted([*acts, *(f"act-{n}" for n in range(300, 360))])


def test_a_place_in_each_stream_outlives_the_db(library: Library) -> None:
    """A collector that kept the last id of each stream goes on in any DB."""
    acts = _mixed(library, 300)
    rows = _once(library, f"{NODE}/cli:1")
    taken, last = rows[:170], dict[str, str]()
    for row in taken:
        last[str(row["id"]).rpartition(":")[0]] = str(row["id"])

    library.lose_db()
    library.record()
    rest = _once(library, ",".join(last.values()), filters=Query(login="alice"))

    assert sorted(_acts(taken) + _acts(rest)) == sorted(acts)


def test_rows_before_a_wish_are_not_asked_for_again(library: Library) -> None:
    """Filters leave whole streams apart; they must not begin from their start."""
    library.write([event(n, login="bob") for n in range(5)], 2)
    library.write([event(n) for n in range(5, 9)], 0)
    library.record()
    library.write([event(n) for n in range(9, 12)], 2)
    library.record()
    row = library.reader.search(Query(act="act-8"))[0]

    rest = _once(library, str(row["id"]), filters=Query(protocol="sftp"))

    assert _acts(rest) == ["act-9", "act-10", "act-11"]


def test_what_is_not_indexed_yet_is_waited_for(library: Library) -> None:
    """Right after a loss the collector's record is in the journal alone."""
    library.write([event(n) for n in range(3)])
    library.record()
    (row,) = library.reader.search(Query(act="act-0"))
    library.lose_db()
    follower = Follower(library, after=str(row["id"]), filters=Query(login="alice"))
    until(lambda: follower.pauses, what="the follower waits")

    library.record()

    follower.wait_for(2)
    assert follower.end() == ["act-1", "act-2"]


def test_an_unknown_record_is_told_apart_from_a_late_one(library: Library) -> None:
    """A typing error must not wait for ever; a lag must not look like one."""
    library.write([event(1)])

    with pytest.raises(UnavailableError):
        _once(library, f"{NODE}/worker-1:3")
    with pytest.raises(NotFoundError):
        _once(library, f"{NODE}/worker-1:77")
    with pytest.raises(NotFoundError):
        _once(library, "nonsense")


def test_a_new_row_is_told_quickly_and_waiting_is_not_busy(library: Library) -> None:
    """Bells ring at the commit; nothing asks for rows in between."""
    follower = Follower(library, after="", filters=Query(login="alice"))
    recorder, stop = (
        Recorder(library.journals, library.url, node=NODE),
        threading.Event(),
    )
    thread = threading.Thread(target=recorder.run, args=(stop,))
    thread.start()
    try:
        library.write([event(1)])
        until(lambda: follower.seen, what="the row comes", deadline_s=6)
    finally:
        stop.set()
        thread.join()
    assert follower.end() == ["act-1"]
