"""The audit DB as its readers see it: opened read-only, found again when replaced."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import sqlalchemy as sa

from server.audit.dbfile import DatabaseFile, Identity
from server.audit.query import Condition
from server.audit.tables import RECORDS
from server.db.engine import Connection, DatabaseError, Role, open_engine, reading
from server.model.errors import NotFoundError, UnavailableError
from server.model.event import Json

Row = dict[str, Json]
"""A record's fields and its `row` number."""


class Line(NamedTuple):
    """A record as stored: its canonical line, hash and all, without the line feed."""

    row: int
    record: str
    time_us: int


_PAGE: Final = 200
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Index:
    """A read-only connection to the audit DB, made anew when its file was replaced."""

    def __init__(self, url: str) -> None:
        """Read the DB at `url`; nothing is opened yet."""
        self.url = url
        self._engine = open_engine(url, Role.AUDIT_READER)
        self._file = DatabaseFile(url)
        self._opened = self._file.look()

    def look(self) -> Identity | None:
        """Which file the DB is now; None for a server's."""
        return self._file.look()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the DB.

        Raises:
            UnavailableError: It cannot be read.
        """
        seen = self._file.look()
        if seen != self._opened:
            self._engine.dispose()
            self._opened = seen
        try:
            with reading(self._engine) as connection:
                yield connection
        except DatabaseError as error:
            raise UnavailableError(
                "The audit index cannot be read now; the trail itself goes on."
            ) from error

    def close(self) -> None:
        """Let go of the DB."""
        self._engine.dispose()


def rows_of(connection: Connection, statement: sa.Select[int, str]) -> list[Row]:
    """Records, whole, from a statement that selects `row` and `record`."""
    return [
        {"row": row, **json.loads(record)}
        for row, record in connection.execute(statement)
    ]


def oldest_first(index: Index, conditions: list[Condition]) -> Iterator[Line]:
    """Yield all records that are there now and meet the conditions, by their time.

    Page by page, so that no long transaction keeps the recorder's log from being
    folded in; what comes in meanwhile is left out.

    Raises:
        UnavailableError: The DB cannot be read.
    """
    column = RECORDS.c
    with index.reading() as connection:
        top = connection.execute(sa.select(sa.func.max(column.row))).scalar() or 0
    page = (
        sa
        .select(column.row, column.record, column.time_us)
        .where(*conditions, column.row <= top)
        .order_by(column.time_us, column.row)
        .limit(_PAGE)
    )
    statement = page
    while True:
        with index.reading() as connection:
            _spare_memory(connection)
            lines = [Line(*found) for found in connection.execute(statement)]
        yield from lines
        if len(lines) < _PAGE:
            return
        at = sa.tuple_(lines[-1].time_us, lines[-1].row)
        statement = page.where(sa.tuple_(column.time_us, column.row) > at)


def _spare_memory(connection: Connection) -> None:
    """Keep few pages: who reads all once reads none twice."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA cache_size=-256")


def split_id(record_id: str) -> tuple[str, int]:
    """Stream and number of a record.

    Raises:
        NotFoundError: That is no record's `id`.
    """
    stream, _, seq = record_id.rpartition(":")
    if not stream or not _NUMBER.fullmatch(seq):
        raise NotFoundError(f"The index holds no record {record_id}.")
    return stream, int(seq)


def place(connection: Connection, record_id: str) -> tuple[int, int]:
    """Row number and time of the record with this `id`.

    Raises:
        NotFoundError: It is not there.
    """
    stream, seq = split_id(record_id)
    statement = sa.select(RECORDS.c.row, RECORDS.c.time_us).where(
        RECORDS.c.stream == stream, RECORDS.c.seq == seq
    )
    found = connection.execute(statement).one_or_none()
    if found is None:
        raise NotFoundError(f"The index holds no record {record_id}.")
    return found.row, found.time_us
