"""Opening a database: SQLite as delivered, PostgreSQL by URL.

Which journal mode each SQLite file gets, and why, is written in ADR 0009: the audit DB
has one writing process (WAL), the accounts DB and the store's have several (rollback
journal).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "Connection",
    "DatabaseError",
    "Engine",
    "Role",
    "UnreachableError",
    "is_missing",
    "open_engine",
    "reading",
    "writing",
]

DatabaseError = SQLAlchemyError
"""Whatever goes wrong between us and the database."""
UnreachableError = OperationalError
"""One of these: it does not answer, is locked, or its disk fails. It may come back."""

BUSY_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_S: Final = 5
_READING: Final = "kagikura_reading"


class Role(Enum):
    """What a process does with the database it opens."""

    ACCOUNTS = auto()
    STORE = auto()
    AUDIT_WRITER = auto()
    AUDIT_READER = auto()


_SEVERAL_WRITERS: Final = (
    "foreign_keys=ON",
    "journal_mode=TRUNCATE",
    "synchronous=FULL",
)
_PRAGMAS: Final[dict[Role, tuple[str, ...]]] = {
    Role.ACCOUNTS: _SEVERAL_WRITERS,
    Role.STORE: _SEVERAL_WRITERS,
    Role.AUDIT_WRITER: (
        "page_size=8192",  # of a new file: rows of about 1 KiB
        "auto_vacuum=INCREMENTAL",  # of a new file: retention gives room back
        "foreign_keys=ON",
        "journal_mode=WAL",
        "synchronous=NORMAL",
    ),
    Role.AUDIT_READER: ("query_only=ON",),
}


def open_engine(url: str, role: Role) -> Engine:
    """Make an engine; nothing is connected before its first use.

    Args:
        url: A SQLAlchemy URL, `sqlite:////path` or `postgresql://…` (psycopg 3).
        role: Decides pragmas, the kind of transaction and whether it may write.

    Raises:
        ValueError: Neither SQLite nor PostgreSQL, or no URL at all.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ValueError(f"not a database URL: {error}") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed, role)
        case "postgresql":
            return _open_postgresql(parsed, role)
        case other:
            raise ValueError(f"unsupported database {other!r}: sqlite or postgresql")


def is_missing(url: str) -> bool:
    """Whether there is no SQLite file at `url`, so that opening it would make one."""
    parsed = make_url(url)
    path = parsed.database
    return parsed.get_backend_name() == "sqlite" and not Path(path or "").exists()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database; takes no lock that a writer needs."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            connection.execution_options(**{_READING: True})
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed at the end and rolled back on any error."""
    with engine.begin() as connection:
        yield connection


def _open_sqlite(url: URL, role: Role) -> Engine:
    if role is Role.AUDIT_READER and url.database:
        url = url.set(
            database=f"file:{quote(url.database)}",
            query={"mode": "ro", "uri": "true"},
        )
    # isolation_level None: the driver begins nothing by itself, `_begin` does.
    engine = create_engine(url, connect_args={"isolation_level": None})
    pragmas = (f"busy_timeout={BUSY_TIMEOUT_MS}", *_PRAGMAS[role])

    def _connected(dbapi: Any, _entry: ConnectionPoolEntry) -> None:  # noqa: ANN401 - sqlite3's own type
        cursor = dbapi.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a writer waits for its turn here, not half-way (SQLITE_BUSY on
        # upgrading a read lock is never retried by busy_timeout).
        reads = role is Role.AUDIT_READER or (
            _READING in connection.get_execution_options()
        )
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begin)
    return engine


def _open_postgresql(url: URL, role: Role) -> Engine:
    options = f"-c lock_timeout={BUSY_TIMEOUT_MS}"
    if role is Role.AUDIT_READER:
        options += " -c default_transaction_read_only=on"
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options},
    )
