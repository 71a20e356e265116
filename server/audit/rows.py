"""Putting a batch of records into the DB; used within the recorder's transaction."""

from collections.abc import Iterable
from typing import Final, cast

from server.audit.paths import PathBook
from server.audit.tables import ROW_COLUMNS, STORED_COLUMNS, Row, insert_text
from server.db.engine import Connection

_STREAM: Final = ROW_COLUMNS.index("stream")
_SEQ: Final = ROW_COLUMNS.index("seq")


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
            connection.exec_driver_sql(insert_text("?"), stored)
        elif _any_there(connection, rows):
            connection.exec_driver_sql(insert_text("%s"), stored)
        else:
            _copy(connection, stored)


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
    names = ", ".join(STORED_COLUMNS)
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("internal error: no connection")
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY records ({names}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
