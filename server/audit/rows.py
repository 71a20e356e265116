"""Putting a batch of records into the DB; used within the recorder's transaction."""

from collections.abc import Iterable
from typing import Final, cast

from server.audit.paths import PathBook
from server.audit.tables import ROW_COLUMNS, STORED_COLUMNS, Row
from server.db.engine import Connection

_STREAM: Final = ROW_COLUMNS.index("stream")
_SEQ: Final = ROW_COLUMNS.index("seq")
_NAMES: Final = ", ".join(STORED_COLUMNS)
_UNLESS_THERE: Final = "ON CONFLICT (stream, seq) DO NOTHING"
_STAGED: Final = 1_000
"""Rows that SQLite takes over at once: so few that they stay in memory."""


class Store:
    """Where rows go. Not thread-safe; after a failed transaction, `forget`."""

    def __init__(self) -> None:
        """Know no path yet."""
        self._paths = PathBook()

    def forget(self) -> None:
        """Trust the DB alone again."""
        self._paths.forget()

    def insert(self, connection: Connection, rows: list[Row]) -> None:
        """Add rows in this order; those that are there already stay as they are.

        PostgreSQL takes them by COPY, unless some are there already.
        """
        named = {cast("str", path) for row in rows for path in row[-2:]}
        named.discard(cast("str", None))
        number = self._paths.require(connection, named).get
        stored = [
            (*own, number(cast("str", path)), number(cast("str", target)))
            for *own, path, target in rows
        ]
        if connection.dialect.name == "sqlite":
            _take_over(connection, stored)
        elif _any_there(connection, rows):
            marks = ", ".join(["%s"] * len(STORED_COLUMNS))
            connection.exec_driver_sql(
                f"INSERT INTO records ({_NAMES}) VALUES ({marks}) {_UNLESS_THERE}",  # noqa: S608 - constants
                stored,
            )
        else:
            _copy(connection, stored)


def _take_over(connection: Connection, rows: list[Row]) -> None:
    """By way of a temporary table, from which one statement takes many.

    Each statement reads the table's last number and writes it back, which for a
    statement a row came to a tenth of the recorder's time. OR ROLLBACK: a row
    that breaks a constraint ends the transaction, so SQLite needs no copy of the pages
    as they were before the statement, which would cost as much.
    """
    marks = ", ".join(["?"] * len(STORED_COLUMNS))
    connection.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS staged ({_NAMES})")
    for start in range(0, len(rows), _STAGED):
        connection.exec_driver_sql(
            f"INSERT INTO temp.staged VALUES ({marks})",  # noqa: S608 - constants
            rows[start : start + _STAGED],
        )
        connection.exec_driver_sql(
            f"INSERT OR ROLLBACK INTO records ({_NAMES}) "  # noqa: S608 - constants
            # WHERE: without it, ON would be read as a join's.
            f"SELECT {_NAMES} FROM temp.staged WHERE true ORDER BY rowid "
            f"{_UNLESS_THERE}"
        )
        connection.exec_driver_sql("DELETE FROM temp.staged")


def _any_there(connection: Connection, rows: list[Row]) -> bool:
    """Whether a row of the batch is there: the DB was tampered with, or restored."""
    spans: dict[str, tuple[int, int]] = {}
    for row in rows:
        stream, seq = cast("str", row[_STREAM]), cast("int", row[_SEQ])
        first, last = spans.get(stream, (seq, seq))
        spans[stream] = min(first, seq), max(last, seq)
    asked = "SELECT 1 FROM records WHERE stream = %s AND seq BETWEEN %s AND %s LIMIT 1"
    return any(
        connection.exec_driver_sql(asked, (stream, *span)).first()
        for stream, span in spans.items()
    )


def _copy(connection: Connection, rows: Iterable[Row]) -> None:
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("internal error: no connection")
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY records ({_NAMES}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
