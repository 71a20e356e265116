"""What retention released: the stubs it left, and the rows that go by them."""

import threading
from typing import Final

import sqlalchemy as sa

from server.audit import paths
from server.audit.checkpoint import RETENTION, CheckpointFolder
from server.audit.note import Note, NoteError
from server.audit.statements import Head, Retention, StatementError
from server.audit.tables import RECORDS
from server.db.engine import Connection
from server.model.errors import UnavailableError

_ROWS: Final = 2000
_PATHS: Final = 5000
_PAGES: Final = 500
_SPARE: Final = 5
_NO_MORE: Final = -1
_INCREMENTAL: Final = 2
"""What `PRAGMA auto_vacuum` says of a file that can be cut."""


def retentions(folder: CheckpointFolder) -> list[Retention]:
    """All retentions that were signed, oldest first.

    Raises:
        UnavailableError: The file cannot be read.
    """
    try:
        return [
            Retention.parse(Note.parse(written).text)
            for written in folder.kept(RETENTION)
        ]
    except (NoteError, StatementError) as error:
        raise UnavailableError(f"The retentions cannot be read: {error}.") from error


def dropped(folder: CheckpointFolder) -> dict[str, Head]:
    """How far each stream's beginning is gone."""
    found = retentions(folder)
    last = found[-1].streams if found else {}
    return {stream: gone.head for stream, gone in last.items()}


class RowDropper:
    """Deletes rows that a retention released; asked by the recorder between batches.

    Small transactions, so that recording and searching go on. Freed pages are used
    again by new rows, so no VACUUM is needed; of what a SQLite file has too many, some
    are given back each time.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        """Delete what the retentions of `folder` say."""
        self._folder = folder
        self._look = threading.Event()
        self._path = 0

    @property
    def pending(self) -> bool:
        """Whether there may be rows to delete."""
        return self._look.is_set()

    def look(self) -> None:
        """What the retentions say is on record now: go by it."""
        self._look.set()

    def heads(self) -> dict[str, Head]:
        """How far each stream's beginning is gone."""
        return dropped(self._folder)

    def delete_some(self, connection: Connection) -> None:
        """Delete a few rows; then paths that no row names; then give room back."""
        if self._delete_rows(connection):
            self._path = 0
            return
        if self._path >= 0:
            last = paths.remove_unused(connection, self._path, _PATHS)
            self._path = last or _NO_MORE
        elif not _give_back(connection):
            self._look.clear()
            self._path = 0

    def _delete_rows(self, connection: Connection) -> int:
        for stream, head in self.heads().items():
            few = (
                sa
                .select(RECORDS.c.row)
                .where(RECORDS.c.stream == stream, RECORDS.c.seq <= head.seq)
                .order_by(RECORDS.c.seq)
                .limit(_ROWS)
            )
            gone = connection.execute(
                sa.delete(RECORDS).where(RECORDS.c.row.in_(few))
            ).rowcount
            if gone:
                return gone
        return 0


def _give_back(connection: Connection) -> bool:
    """Cut some unused pages off a SQLite file; whether there may be more.

    A fifth of the file stays for new rows. A file of an earlier release keeps all.
    """
    if connection.dialect.name != "sqlite":
        return False

    def told(pragma: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())

    unused, pages = told("freelist_count"), told("page_count")
    if told("auto_vacuum") != _INCREMENTAL or unused * _SPARE <= pages:
        return False
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("internal error: no connection")
    # One page a step: all steps must be made.
    driver.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    return True
