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
    again by new rows, so the file does not grow and no VACUUM is needed.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        """Delete what the retentions of `folder` say."""
        self._folder = folder
        self._look = threading.Event()

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

    def delete_some(self, connection: Connection) -> int:
        """Delete a few rows, then paths that no row names; returns how many."""
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
        unnamed = paths.remove_unused(connection, _ROWS)
        if unnamed < _ROWS:
            self._look.clear()
        return unnamed
