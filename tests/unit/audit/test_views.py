"""What an administrator reads with `sqlite3` or `psql`, and who may write."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from server.audit.journal import Journal
from server.audit.recorder import Recorder
from server.db.engine import Role, open_engine, reading
from server.db.migrate import Chain, upgrade
from server.model.event import Fields
from tests.support.trail import NODE, event, open_journal

GRANTS = Path(__file__).parents[3] / "config" / "postgresql-grants.sql"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(tmp_path / "journal")
    opened.append(_part("A", "intent", operation="write", path="/a"))
    opened.append(_part("B", "intent", operation="read", path="/b"))
    opened.append(_part("B", "progress", operation="read", bytes=5))
    opened.append(
        _part("A", "outcome", operation="write", path="/a", outcome="done", bytes=7)
    )
    opened.append(event(3, outcome="refused", stage="rights", rule="delete"))
    opened.settle()
    yield opened
    opened.close()


def _part(act: str, phase: str, **facts: object) -> Fields:
    fields = event(1)
    del fields["outcome"]
    return {**fields, "act": act, "phase": phase, **facts}  # type: ignore[typeddict-item]  # facts by their names


def _record(journal: Journal, url: str) -> None:
    assert Recorder(journal.folder.parent, url, node=NODE).drain(20)


def test_an_act_is_one_row_of_the_view(journal: Journal, database_url: str) -> None:
    """An administrator counts acts, not the records that make them."""
    _record(journal, database_url)

    engine = open_engine(database_url, Role.AUDIT_READER)
    with reading(engine) as connection:
        asked = sa.text(
            "SELECT act, outcome, moved_bytes, stage, begun_us <= ended_us AS ended "
            "FROM audit_acts WHERE operation NOT LIKE 'system.%' ORDER BY act"
        )
        rows = [tuple(row) for row in connection.execute(asked)]
    engine.dispose()

    assert rows == [
        ("A", "done", 7, None, True),
        ("B", "open", None, None, None),
        ("act-3", "refused", None, "rights", True),
    ]


def test_the_view_tells_utc_and_local_time(journal: Journal, tmp_path: Path) -> None:
    """The documented command, as it is typed: read-only, on a store in Tokyo."""
    _record(journal, f"sqlite:///{tmp_path / 'audit.db'}")
    program = (
        "import sqlite3, sys; c = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', "
        'uri=True); print(*c.execute("SELECT (julianday(begun_local) - '
        "julianday(begun_utc)) * 24 FROM audit_acts WHERE act = 'A'\").fetchone())"
    )

    told = subprocess.run(
        ["python3", "-c", program, tmp_path / "audit.db"],
        env={"TZ": "Asia/Tokyo", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert round(float(told.stdout), 3) == 9


@pytest.fixture
def roles(postgres_url: str) -> Iterator[str]:
    """A database with the audit schema and the roles of the grants."""
    upgrade(postgres_url, Chain.AUDIT)
    owner = _connect(postgres_url)
    owner.execute(GRANTS.read_text("utf-8").encode())
    yield postgres_url
    for role in ("kagikura_recorder", "kagikura_reader"):
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    owner.close()


def _connect(url: str, user: str = "postgres") -> "psycopg.Connection[tuple[object]]":
    parsed = sa.make_url(url)
    return psycopg.connect(
        host=str(parsed.query["host"]),
        user=user,
        dbname=parsed.database,
        autocommit=True,
    )


def test_the_recorder_needs_no_more_than_its_role(journal: Journal, roles: str) -> None:
    """It adds records and moves its own position, and can change none."""
    url = roles.replace("postgres@", "kagikura_recorder@")
    _record(journal, url)

    with _connect(roles, "kagikura_recorder") as writer:
        for statement in (
            "UPDATE records SET record = ''",
            "DELETE FROM records",
            "TRUNCATE records",
            "DROP TABLE records",
            "SELECT record FROM records",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(statement.encode())
    with _connect(roles) as owner:
        (count,) = owner.execute("SELECT count(*) FROM records").fetchone() or (0,)
    assert count == 7


def test_a_reader_reads_and_nothing_else(journal: Journal, roles: str) -> None:
    """An auditor with psql must not be able to change what he audits."""
    _record(journal, roles)

    with _connect(roles, "kagikura_reader") as reader:
        (count,) = reader.execute(
            "SELECT count(*) FROM audit_acts WHERE act IN ('A', 'B')"
        ).fetchone() or (0,)
        for statement in (
            "INSERT INTO upkeep VALUES ('x', 1)",
            "UPDATE streams SET seq = 0",
            "DELETE FROM records",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.encode())
    assert count == 2
