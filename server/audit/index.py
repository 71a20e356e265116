"""The audit DB as its readers see it: opened read-only, found again when replaced."""

import json
import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Final, NamedTuple

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
_TELL_EVERY: Final = 1000
_SPOOLED_BYTES: Final = 1 << 20
"""What is kept in memory of where the records are; the rest goes into a file."""
_NUMBERS: Final = "q"
_PLACE_BYTES: Final = 2 * array(_NUMBERS).itemsize
_MADE_ANEW: Final = "The audit index was made anew meanwhile: ask again."
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


def oldest_first(
    index: Index,
    conditions: list[Condition],
    *,
    moved: Callable[[float], None] = lambda _share: None,
) -> Iterator[Line]:
    """Yield all records that are there now and meet the conditions, by their time.

    Which ones is asked once and kept beside, so that a folder of a million records is
    not sorted again for each page. The records come page by page, so that no long
    transaction keeps the recorder's log from being folded in.

    Args:
        index: The DB.
        conditions: On `RECORDS`.
        moved: Told which share lies behind, 0 to 1.

    Raises:
        UnavailableError: The DB cannot be read, or was made anew meanwhile.
    """
    file = index.look()
    with SpooledTemporaryFile(_SPOOLED_BYTES) as places:
        count = _choose(index, conditions, places)
        places.seek(0)
        for done in range(0, count, _PAGE):
            if done % _TELL_EVERY == 0:
                moved(done / count)
            numbers = array(_NUMBERS, places.read(_PAGE * _PLACE_BYTES))
            lines = _lines(index, dict(zip(numbers[::2], numbers[1::2], strict=True)))
            if index.look() != file:
                raise UnavailableError(_MADE_ANEW)
            yield from lines
    moved(1.0)


def _choose(index: Index, conditions: list[Condition], file: IO[bytes]) -> int:
    """Write row number and time of each record in their order; returns how many."""
    column, count = RECORDS.c, 0
    wanted = (
        sa
        .select(column.row, column.time_us)
        .where(*conditions)
        .order_by(column.time_us, column.row)
    )
    with index.reading() as connection:
        _spare_memory(connection)
        found = connection.execution_options(yield_per=_TELL_EVERY).execute(wanted)
        for some in found.partitions():
            file.write(array(_NUMBERS, chain.from_iterable(some)).tobytes())
            count += len(some)
    return count


def _lines(index: Index, places: dict[int, int]) -> list[Line]:
    """The records at these places, in this order; what went meanwhile is left out.

    Args:
        index: The DB.
        places: Row numbers, and the time of each.

    Raises:
        UnavailableError: Another record is there: the DB was made anew.
    """
    column = RECORDS.c
    asked = sa.select(column.row, column.record, column.time_us)
    with index.reading() as connection:
        _spare_memory(connection)
        found = connection.execute(asked.where(column.row.in_(list(places))))
        lines = {row: Line(row, record, time_us) for row, record, time_us in found}
    if any(places[row] != line.time_us for row, line in lines.items()):
        raise UnavailableError(_MADE_ANEW)
    return [lines[row] for row in places if row in lines]


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
