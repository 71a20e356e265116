"""Search, tail and export: what is found, in which order, and that it is on record."""

import csv
import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.export import cell
from server.audit.gate import Gate
from server.audit.query import Query
from server.audit.recorder import Recorder
from server.audit.search import Reader, Row
from server.model.clock import SystemClock, parse_rfc3339
from server.model.errors import (
    AuditUnavailableError,
    NotFoundError,
    UnavailableError,
)
from server.model.event import Fields
from tests.support.trail import NODE, audit_settings, event, open_journal
from tests.support.waiting import until

AUDITOR: Fields = {"protocol": "cli", "login": "os:root"}

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


class Library:
    """A trail that is recorded, and a reader of it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journals = folder / "journal"
        self.url = url
        self.journal = open_journal(self.journals)
        self.cli = open_journal(self.journals, "cli")
        self.gate = Gate(self.cli, clock=SystemClock(), settings=audit_settings())
        self.write(RECORDS)
        self.record()
        self.reader = Reader(
            url, journal=self.journals, node=NODE, gate=self.gate, who=AUDITOR
        )

    def write(self, records: list[Fields]) -> None:
        """More records of the worker."""
        for fields in records:
            self.journal.append(fields)
        self.journal.settle()

    def record(self) -> None:
        """Have the recorder bring the DB up to date."""
        self.cli.settle()
        assert Recorder(self.journals, self.url, node=NODE).drain(20)

    def own(self, operation: str) -> list[Row]:
        """What was recorded of the reading itself."""
        self.record()
        return self.reader.search(Query(operation=operation))

    def close(self) -> None:
        """Close all."""
        self.reader.close()
        self.gate.close()
        self.cli.close()
        self.journal.close()


@pytest.fixture
def library(tmp_path: Path, database_url: str) -> Iterator[Library]:
    """On SQLite and on PostgreSQL."""
    opened = Library(tmp_path, database_url)
    yield opened
    opened.close()


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

    (row,) = library.own("audit_search")

    assert row["login"] == "os:root"
    assert row["detail"] == {"count": 2, "query": {"login": "bob"}}


def test_a_search_that_cannot_be_recorded_shows_nothing(library: Library) -> None:
    """Reading the trail is an act like any other."""
    library.cli._fail("test", OSError())

    with pytest.raises(AuditUnavailableError):
        library.reader.search(Query())
    with pytest.raises(AuditUnavailableError):
        library.reader.export_csv(io.BytesIO(), Query())


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
            url, journal=tmp_path, node=NODE, gate=library.gate, who=AUDITOR
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
    assert len(library.own("audit_tail")) == 1


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


def test_the_csv_is_what_spreadsheets_read(library: Library) -> None:
    """UTF-8 with BOM, RFC 4180 line ends, every record and field in it."""
    file = io.BytesIO()

    exported = library.reader.export_csv(file, Query(contract="main"))

    text = file.getvalue()
    assert text.startswith(b"\xef\xbb\xbf")
    assert text.count(b"\r\n") == text.count(b"\n") == exported.count + 1
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    assert [row["act"] for row in rows] == [f"act-{n}" for n in (0, 1, 2, 3, 4, 6)]
    assert rows[-1]["path"] == "/private/申告/第1表.pdf"
    assert exported.count == 6


def test_an_export_is_on_record_with_its_hash(library: Library) -> None:
    """A file that turns up elsewhere can be matched with who took it."""
    file = io.BytesIO()
    exported = library.reader.export_csv(file, Query(login="bob"))

    outcome, intent = library.own("audit_export")

    assert exported.sha256 == hashlib.sha256(file.getvalue()).hexdigest()
    assert outcome["sha256"] == exported.sha256
    assert isinstance(outcome["detail"], dict)
    assert outcome["detail"]["count"] == 2
    assert intent["phase"] == "intent"


def test_many_pages_are_exported_once_each(library: Library) -> None:
    """The seams between pages lose and repeat nothing."""
    library.write([event(number) for number in range(1000, 3500)])
    library.record()
    file = io.BytesIO()

    library.reader.export_csv(file, Query(path="", operation="delete", login="alice"))

    text = file.getvalue().decode("utf-8-sig")
    acts = [row["act"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert acts[-2500:] == [f"act-{n}" for n in range(1000, 3500)]
    assert len(acts) == len(set(acts))


@pytest.mark.parametrize("first", list("=+-@\t\r\n\0＝＋－＠"))  # noqa: RUF001 - the full-width forms are meant
def test_no_cell_is_a_formula(first: str) -> None:
    """A file's name must not run code in the auditor's spreadsheet."""
    assert cell(f"{first}cmd|' /C calc'!A0").startswith("'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (True, "true"),
        ("a,b", "a,b"),
        ([[0, 5]], "[[0,5]]"),
        ({"b": "ü", "a": 1}, '{"a":1,"b":"ü"}'),
    ],
)
def test_a_cell_is_plain_text(value: object, text: str) -> None:
    """Structured fields stay readable and can be parsed again."""
    assert cell(value) == text  # type: ignore[arg-type]  # the table's values are JSON


def test_what_is_not_indexed_yet_is_told(library: Library) -> None:
    """A search says "indexed up to ..." instead of hiding the newest acts."""
    library.write([event(7), event(8)])

    behind = {told.stream: told for told in library.reader.indexed_up_to()}
    library.record()
    after = {told.stream: told for told in library.reader.indexed_up_to()}

    assert behind[f"{NODE}/worker-1"].behind == 2
    assert after[f"{NODE}/worker-1"].behind == 0
    assert after[f"{NODE}/worker-1"].time > behind[f"{NODE}/worker-1"].time
