"""Opening a database on both systems."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from server.db.engine import DatabaseError, Role, open_engine, reading, writing


def test_a_transaction_is_rolled_back_whole_when_it_fails(database_url: str) -> None:
    """Half an administration act must never be seen."""
    engine = open_engine(database_url, Role.ACCOUNTS)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))

    def insert_and_fail() -> None:
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()

    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    engine.dispose()


def test_concurrent_writers_wait_for_each_other(database_url: str) -> None:
    """No writer may see 'database is locked' because another one is at work."""
    engine = open_engine(database_url, Role.ACCOUNTS)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (0)"))

    def add(_: int) -> None:
        with writing(engine) as connection:
            connection.execute(text("UPDATE t SET n = n + 1"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))

    with reading(engine) as connection:
        assert connection.execute(text("SELECT n FROM t")).scalar_one() == 40
    engine.dispose()


def test_reading_goes_on_while_a_writer_holds_its_transaction(
    database_url: str,
) -> None:
    """The poll of the revision must not queue behind an administration act."""
    engine = open_engine(database_url, Role.ACCOUNTS)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))

    with writing(engine) as writer:
        writer.execute(text("INSERT INTO t VALUES (1)"))
        with reading(engine) as reader:
            seen = reader.execute(text("SELECT count(*) FROM t")).scalar_one()

    assert seen == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("role", "mode"), [(Role.ACCOUNTS, "truncate"), (Role.AUDIT_WRITER, "wal")]
)
def test_each_sqlite_file_gets_the_journal_mode_of_its_role(
    tmp_path: Path, role: Role, mode: str
) -> None:
    """WAL with several writing processes can corrupt SQLite below 3.51.3."""
    engine = open_engine(f"sqlite:///{tmp_path / 'test.db'}", role)

    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()

    assert found == mode
    engine.dispose()


def test_an_audit_reader_cannot_write(database_url: str) -> None:
    """The recorder is the only writer of the trail's database."""
    writer = open_engine(database_url, Role.AUDIT_WRITER)
    with writing(writer) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    reader = open_engine(database_url, Role.AUDIT_READER)

    with (
        pytest.raises(DatabaseError, match=r"read-?\s?only|readonly"),
        writing(reader) as connection,
    ):
        connection.execute(text("INSERT INTO t VALUES (1)"))

    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize("url", ["", "mysql://root@localhost/x", "nonsense"])
def test_an_unsupported_url_is_a_value_error(url: str) -> None:
    """The settings' reader turns it into words for the operator."""
    with pytest.raises(ValueError, match="database"):
        open_engine(url, Role.ACCOUNTS)
