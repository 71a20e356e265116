"""Pages of the search: exactly what was asked, on both databases, along indexes."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.office import write_stream
from server.audit import find
from server.audit.limit import QueryTimeoutError, time_limit
from server.audit.paths import fold, remove_unused
from server.audit.query import Query
from server.audit.recorder import Recorder
from server.audit.tables import PATHS, RECORDS, source_key, source_range
from server.db.engine import Connection, Engine, Role, open_engine, reading, writing

NODE = "node-1"
ROWS = 700


@pytest.fixture
def engine(tmp_path: Path, database_url: str) -> Iterator[Engine]:
    """Two streams of an office, recorded."""
    with _recorded(tmp_path, database_url) as opened:
        yield opened


@contextmanager
def _recorded(folder: Path, url: str) -> Iterator[Engine]:
    for seed, slot in enumerate(("worker-1", "worker-2")):
        write_stream(folder / "journal", NODE, slot, rows=ROWS, seed=seed)
    assert Recorder(folder / "journal", url, node=NODE).drain(60)
    opened = open_engine(url, Role.AUDIT_READER)
    yield opened
    opened.dispose()


def _expected(connection: Connection, query: Query) -> list[int]:
    """What the conditions alone say, with no cleverness."""
    statement = (
        sa
        .select(RECORDS.c.row)
        .where(*query.conditions())
        .order_by(RECORDS.c.time_us.desc(), RECORDS.c.row.desc())
    )
    return list(connection.execute(statement).scalars())


def _questions(connection: Connection) -> list[dict[str, object]]:
    """One filter each, with values that are there."""
    chance = random.Random(3)  # noqa: S311 - repeatable
    rows = connection.execute(sa.select(RECORDS).order_by(RECORDS.c.row)).all()
    some = chance.choice([row for row in rows if row.sha256])
    moved = chance.choice([row for row in rows if row.target_id])
    named = connection.execute(sa.select(PATHS.c.id, PATHS.c.path)).all()
    paths = {number: path for number, path in named}  # noqa: C416 - rows are no pairs
    times = sorted(row.time_us for row in rows)
    return [
        {"since_us": times[400], "until_us": times[900]},
        {"login": some.login},
        {"device": some.device},
        {"device": some.device_name},
        {"line": "osaka"},
        {"source": some.source_ip},
        {"source": "10.1.0.0/16"},
        {"source": "10.0.0.0/8"},
        {"protocol": "webdav"},
        {"operation": "read"},
        {"operation": "write"},
        {"outcome": "refused"},
        {"outcome": "done"},
        {"contract": "branch"},
        {"session": some.session},
        {"act": some.act},
        {"sha256": some.sha256},
        {"path": paths[some.path_id]},
        {"path": paths[moved.target_id]},
        {"path": "/shared"},
        {"under": "/shared"},
        {"under": paths[some.path_id].rpartition("/")[0]},
        {"contains": "請求"},
        {"contains": "山"},
        {"contains": "請求書"},
        {"contains": "ACME"},
        {"contains": "_済_"},
        {"contains": ".pdf"},
        {"contains": "nothing of that kind"},
        {"contains": "%"},
    ]


@pytest.mark.parametrize("size", ["as it is", "large"])
def test_any_two_filters_find_what_their_conditions_say(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """Three ways lead to a page; the way must never show in what is found.

    A large DB takes the other ways: their bounds are made small for that.
    """
    if size == "large":
        monkeypatch.setattr(find, "_SAMPLE", 5)
        monkeypatch.setattr(find, "_PROBE", 40)
        monkeypatch.setattr(find, "_MEMBERS_FEW", 3)
    with reading(engine) as connection:
        questions = _questions(connection)
        pairs = itertools.combinations_with_replacement(questions, 2)
        wrong = [
            asked
            for left, right in pairs
            if not (left.keys() & right.keys() and left != right)
            and not _agrees(connection, asked := {**left, **right})
        ]

    assert wrong == []


def _agrees(connection: Connection, asked: dict[str, object]) -> bool:
    query = Query(**asked, limit=15)  # type: ignore[arg-type]  # values by their names
    expected = _expected(connection, query)
    return find.page(connection, query) == expected[:15]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"login": "sato"},
        {"under": "/shared"},
        {"contains": "請求"},
        {"source": "10.1.0.0/16", "outcome": "done"},
        {"path": "/shared"},
    ],
)
def test_pages_lead_to_the_oldest_and_back(
    engine: Engine, asked: dict[str, str]
) -> None:
    """Both directions show every record once, and the same pages."""
    with reading(engine) as connection:
        expected = _expected(connection, Query(**asked))  # type: ignore[arg-type]  # values by their names
        pages = [find.page(connection, Query(**asked, limit=100))]  # type: ignore[arg-type]  # values by their names
        while pages[-1]:
            before = _id(connection, pages[-1][-1])
            query = Query(**asked, limit=100, before=before)  # type: ignore[arg-type]  # values by their names
            pages.append(find.page(connection, query))
        back: list[list[int]] = []
        first = pages[-2][0]
        while True:
            query = Query(**asked, limit=100, after=_id(connection, first))  # type: ignore[arg-type]  # values by their names
            page = find.page(connection, query)
            if not page:
                break
            back.append(page)
            first = page[0]

    assert list(itertools.chain(*pages)) == expected
    assert back[::-1] == pages[:-2]


def _id(connection: Connection, row: int) -> str:
    found = connection.execute(sa.select(RECORDS).where(RECORDS.c.row == row)).one()
    return f"{found.stream}:{found.seq}"


PAIRS: dict[str, Query] = {
    "time": Query(since_us=1_770_000_000_000_000, until_us=1_780_000_000_000_000),
    "login": Query(login="sato"),
    "device": Query(device="laptop-1"),
    "line": Query(line="osaka"),
    "source": Query(source="10.1.0.2"),
    "network": Query(source="10.1.0.0/24"),
    "protocol": Query(protocol="webdav"),
    "operation": Query(operation="delete"),
    "outcome": Query(outcome="refused"),
    "contract": Query(contract="branch"),
    "session": Query(session="x"),
    "act": Query(act="x"),
    "sha256": Query(sha256="ab" * 32),
    "path": Query(path="/shared"),
    "prefix": Query(under="/shared/経理部"),
    "substring": Query(contains="請求書"),
    "time and login": Query(since_us=1_770_000_000_000_000, login="sato"),
    "time and path": Query(since_us=1_770_000_000_000_000, path="/shared"),
    "time and outcome": Query(since_us=1_770_000_000_000_000, outcome="refused"),
    "login and operation": Query(login="sato", operation="delete"),
    "login and path": Query(login="sato", path="/shared"),
    "login and prefix": Query(login="sato", under="/shared/経理部"),
    "path and operation": Query(path="/shared", operation="list"),
    "prefix and operation": Query(under="/shared/経理部", operation="list"),
    "outcome and login": Query(outcome="refused", login="sato"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_each_question_goes_along_indexes(engine: Engine, name: str) -> None:
    """Ten million rows must never be read through for a page."""
    plans = _plans(engine, PAIRS[name])

    assert plans
    assert [plan for plan in plans if _reads_all(plan)] == []
    assert [plan for plan in plans if "ix_records" in plan or "paths" in plan]


def test_a_login_and_a_folder_go_along_the_logins_own_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All targets of ten million rows, one by one, took more than a second.

    Whoever has few renames is led through those alone; a folder of few names is
    looked up by them, never through all renames of a busy login. (PostgreSQL's planner
    has histograms to choose by.)
    """
    query = Query(login="sato", under="/shared/経理部")
    with _recorded(tmp_path, f"sqlite:///{tmp_path / 'audit.db'}") as engine:
        by_names = "".join(_plans(engine, query))
        monkeypatch.setattr(find, "_MEMBERS_FEW", 0)
        by_login = "".join(_plans(engine, query))

    assert "ix_records_target (target_id=?" in by_names
    assert "ix_records_login_targets" not in by_names
    assert "ix_records_login_targets (login=?" in by_login


def _reads_all(plan: str) -> bool:
    """Whether the records are gone through without an index."""
    lines = [line for line in plan.splitlines() if "records" in line]
    return any(
        "Seq Scan on records" in line
        or ("SCAN records" in line and "INDEX" not in line)
        for line in lines
    )


def _plans(engine: Engine, query: Query) -> list[str]:
    """How the DB goes about each statement of a search."""
    with _overhearing(engine) as told, reading(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        find.page(connection, query)
        asked = [one for one in told if "records" in one[0] and "SELECT" in one[0]]
        explain = (
            "EXPLAIN "
            if connection.dialect.name == "postgresql"
            else "EXPLAIN QUERY PLAN "
        )
        return [
            "\n".join(
                str(row[-1])
                for row in connection.exec_driver_sql(explain + text, values)
            )
            for text, values in asked
        ]


@contextmanager
def _overhearing(engine: Engine) -> Iterator[list[tuple[str, object]]]:
    told: list[tuple[str, object]] = []

    def hear(*given: object) -> None:
        told.append((str(given[2]), given[3]))

    sa.event.listen(engine, "before_cursor_execute", hear)
    try:
        yield told
    finally:
        sa.event.remove(engine, "before_cursor_execute", hear)


def test_a_question_that_takes_too_long_is_stopped_and_says_so(engine: Engine) -> None:
    """A search must not keep a core busy for minutes, nor end without a word."""
    crossed = RECORDS.alias("a"), RECORDS.alias("b"), RECORDS.alias("c")
    endless = sa.select(sa.func.count()).where(
        crossed[0].c.row != crossed[1].c.row, crossed[1].c.row != crossed[2].c.row
    )
    with (
        reading(engine) as connection,
        pytest.raises(QueryTimeoutError) as told,
        time_limit(connection, 0.05),
    ):
        connection.execute(endless).all()

    assert "audit.query_timeout_s" in str(told.value)
    with reading(engine) as connection, time_limit(connection, 30):
        assert find.page(connection, Query(limit=1))


def test_text_is_compared_in_one_form_and_one_case() -> None:
    """A Mac writes が in two characters, Windows in one."""
    assert fold("か\u3099") == fold("が") == "が"
    assert fold("STRASSE") == fold("straße")
    assert fold("\uff21") == "\uff41" != fold("A")  # full width


def test_paths_that_no_record_names_are_forgotten(
    engine: Engine, tmp_path: Path, database_url: str
) -> None:
    """What retention removes must not live on as a file's name."""
    writer = open_engine(database_url, Role.AUDIT_WRITER)
    with writing(writer) as connection:
        connection.execute(sa.delete(RECORDS).where(RECORDS.c.operation != "list"))
        last = 0
        while last := remove_unused(connection, last, 100):
            pass
    writer.dispose()

    with reading(engine) as connection:
        named = set(connection.execute(sa.select(RECORDS.c.path_id)).scalars()) - {None}
        assert set(connection.execute(sa.select(PATHS.c.id)).scalars()) == named
        assert find.page(connection, Query(contains="acme")) == []


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::ffff:192.0.2.0/120", "192.0.2.7", "192.0.1.7"),
        ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
    ],
)
def test_a_network_is_a_range_of_keys(network: str, inside: str, outside: str) -> None:
    """Addresses as text do not sort as they lie; their keys do."""
    first, last = source_range(network)

    assert first <= (source_key(inside) or "") <= last
    assert not first <= (source_key(outside) or "") <= last
    assert source_key("not an address") is None
