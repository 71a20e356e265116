"""Search: what is found, in which order, and that it is on record."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.export import Form
from server.audit.manifest import Notary
from server.audit.query import Query
from server.audit.search import Reader, Row
from server.model.clock import SystemClock, parse_rfc3339
from server.model.errors import (
    AuditUnavailableError,
    NotFoundError,
    UnavailableError,
)
from server.model.event import Fields
from tests.support.library import AUDITOR, Library
from tests.support.trail import NODE, event
from tests.support.waiting import until

DEVICE = "01JABCDEFGHJKMNPQRSTVWXYZ0"

RECORDS: list[Fields] = [
    event(0, login="alice", path="/shared/tax", operation="list"),
    event(1, login="alice", path="/shared/tax/2025.pdf", operation="read"),
    event(2, login="bob", path="/shared/taxes/x", device=DEVICE, device_name="scanner"),
    event(3, login="bob", path="/shared/tax/50%_off.pdf", outcome="refused"),
    event(4, path="/private/a", target="/shared/tax/b.pdf", operation="rename"),
    event(5, contract="other", source_ip="198.51.100.9", line="vpn", protocol="webdav"),
    event(6, session="01JOTHER", path="/private/申告/第1表.pdf", sha256="ab" * 32),
]


@pytest.fixture
def library(tmp_path: Path, database_url: str) -> Iterator[Library]:
    """On SQLite and on PostgreSQL."""
    opened = Library(tmp_path, database_url)
    opened.write(RECORDS)
    opened.record()
    yield opened
    opened.close()


def _own(library: Library, operation: str) -> list[Row]:
    """What was recorded of the reading itself."""
    library.record()
    return library.reader.search(Query(operation=operation))


def _numbers(rows: list[Row]) -> list[int]:
    acts = [str(row.get("act", "")) for row in rows]
    return [int(act[4:]) for act in acts if act.startswith("act-")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(login="bob"), [3, 2]),
        (Query(login="bob", outcome="refused"), [3]),
        (Query(contract="other"), [5]),
        (Query(device=DEVICE), [2]),
        (Query(device="scanner"), [2]),
        (Query(line="vpn"), [5]),
        (Query(source="198.51.100.9"), [5]),
        (Query(protocol="webdav"), [5]),
        (Query(operation="rename"), [4]),
        (Query(session="01JOTHER"), [6]),
        (Query(act="act-3"), [3]),
        (Query(sha256="ab" * 32), [6]),
        (Query(path="/shared/tax"), [0]),
        (Query(path="/shared/tax/b.pdf"), [4]),
        (Query(under="/shared/tax"), [4, 3, 1, 0]),
        (Query(under="/shared/tax/"), [4, 3, 1, 0]),
        (Query(under="/shared"), [4, 3, 2, 1, 0]),
        (Query(contains="50%_"), [3]),
        (Query(contains="0%"), [3]),
        (Query(contains="申告"), [6]),
        (Query(contains="B.PDF"), [4]),
        (Query(contains="_"), [3]),
        (Query(login="nobody"), []),
    ],
)
def test_each_filter_finds_its_records_newest_first(
    library: Library, query: Query, found: list[int]
) -> None:
    """An auditor's question must be answered exactly, wildcards taken as text."""
    assert _numbers(library.reader.search(query)) == found


def test_a_time_range_is_half_open(library: Library) -> None:
    """Days laid side by side show every record once."""
    rows = library.reader.search(Query(protocol="sftp", contract="main"))
    middle = parse_rfc3339(str(rows[2]["time"]))

    later = library.reader.search(Query(since_us=middle, contract="main"))
    earlier = library.reader.search(Query(until_us=middle))

    assert _numbers(later)[-1] == _numbers(rows)[2]
    assert set(_numbers(earlier)) == set(range(_numbers(rows)[2]))


def test_a_row_is_the_record_as_written(library: Library) -> None:
    """Nothing is lost on the way: fields that have no column are there too."""
    (row,) = library.reader.search(Query(session="01JOTHER"))

    assert {**RECORDS[6]}.items() <= row.items()
    assert isinstance(row["row"], int)
    assert {"id", "prev", "hash", "boot", "mono_ns"} <= row.keys()


def test_pages_follow_each_other_without_gap_or_repeat(library: Library) -> None:
    """Records that come in between two pages shift nothing."""
    library.write([event(number) for number in range(10, 35)])
    library.record()
    pages: list[Row] = []
    before = ""
    while page := library.reader.search(Query(contract="main", limit=7, before=before)):
        pages += page
        before = str(page[-1]["id"])
        library.write([event(99)])
        library.record()

    expected = [*range(34, 9, -1), 6, 4, 3, 2, 1, 0]
    assert _numbers(pages) == expected


def test_a_search_is_on_record(library: Library) -> None:
    """Who looked for what is part of the trail."""
    library.reader.search(Query(login="bob", limit=5))

    (row,) = _own(library, "audit_search")

    assert row["login"] == "os:root"
    assert row["detail"] == {"count": 2, "query": {"login": "bob"}}


def test_a_search_that_cannot_be_recorded_shows_nothing(library: Library) -> None:
    """Reading the trail is an act like any other."""
    library.cli._fail("test", OSError())

    with pytest.raises(AuditUnavailableError):
        library.reader.search(Query())
    with pytest.raises(AuditUnavailableError):
        library.reader.export(io.BytesIO(), Query(), Form.CSV)


def test_an_unknown_page_is_an_error(library: Library) -> None:
    """Silently starting again would repeat rows."""
    for cursor in ("nonsense", "node-1/worker-1:999999", "node-1/worker-1:x"):
        with pytest.raises(NotFoundError):
            library.reader.search(Query(before=cursor))


def test_a_missing_db_is_told_as_unavailable(library: Library, tmp_path: Path) -> None:
    """The CLI then says so instead of failing with a traceback."""
    url = f"sqlite:///{tmp_path / 'none.db'}"
    with (
        Reader(
            url,
            journal=tmp_path,
            node=NODE,
            gate=library.gate,
            who=AUDITOR,
            notary=Notary(library.keys, SystemClock()),
        ) as reader,
        pytest.raises(UnavailableError),
    ):
        reader.search(Query())


def test_tail_goes_on_behind_an_id_to_the_end(library: Library) -> None:
    """A collector resumes where it stopped."""
    rows = library.reader.search(Query(act="act-2"))
    stop = threading.Event()

    following = list(
        library.reader.tail(
            str(rows[0]["id"]), follow=False, stop=stop, filters=Query(contract="main")
        )
    )

    assert _numbers(following) == [3, 4, 6]


def test_tail_begins_with_the_last_few(library: Library) -> None:
    """Without a cursor a person sees what has just happened."""
    stop = threading.Event()

    rows = list(
        library.reader.tail(
            None, follow=False, stop=stop, filters=Query(contract="main"), last=2
        )
    )

    assert _numbers(rows) == [4, 6]
    assert len(_own(library, "audit_tail")) == 1


def test_tail_follows_without_gap_or_repeat(library: Library) -> None:
    """A monitor sees each record once, in the order of the rows."""
    stop, seen = threading.Event(), list[Row]()
    (start,) = library.reader.search(Query(act="act-6"))

    def follow() -> None:
        for row in library.reader.tail(
            str(start["id"]), follow=True, stop=stop, filters=Query(login="carol")
        ):
            seen.append(row)

    thread = threading.Thread(target=follow)
    thread.start()
    for first in range(100, 400, 50):
        batch = [
            event(n, login="carol" if n % 2 else "dave")
            for n in range(first, first + 50)
        ]
        library.write(batch)
        library.record()

    until(lambda: len(seen) >= 150, deadline_s=10)
    stop.set()
    thread.join(10)
    assert _numbers(seen) == list(range(101, 400, 2))


def test_what_is_not_indexed_yet_is_told(library: Library) -> None:
    """A search says "indexed up to ..." instead of hiding the newest acts."""
    library.write([event(7), event(8)])

    behind = {told.stream: told for told in library.reader.indexed_up_to()}
    library.record()
    after = {told.stream: told for told in library.reader.indexed_up_to()}

    assert behind[f"{NODE}/worker-1"].behind == 2
    assert after[f"{NODE}/worker-1"].behind == 0
    assert after[f"{NODE}/worker-1"].time > behind[f"{NODE}/worker-1"].time
