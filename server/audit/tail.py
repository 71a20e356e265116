"""Following the rows: each one once, over restarts and even over a DB made anew.

Rows come in the recorder's order, which a rebuilt DB need not repeat. Within a stream
the order is for ever, so what was seen is kept as a number per stream; the row number
is only the quick way to go on. When the row at the cursor is no longer what it was,
the place is found again by those numbers, and what was seen is left out.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.sql.util import ClauseAdapter

from server.audit.bell import Bell
from server.audit.dbfile import Identity
from server.audit.index import Index, Row, rows_of, split_id
from server.audit.query import Condition, Query
from server.audit.tables import RECORDS, STREAMS
from server.db.engine import Connection
from server.model.errors import NotFoundError, UnavailableError

_PAGE: Final = 1000
_WINDOW_ROWS: Final = 50_000
"""Rows looked through at once; an index on a filter would be gone through each time."""
_PAUSE_S: Final = 0.5
_PAUSE_S_MAX: Final = 5.0

Seen = dict[str, int]
"""The last number seen of each stream."""


class _Found(NamedTuple):
    row: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be followed."""

    after: str
    """The `id` to go on behind; after a filter several, one a stream, with commas."""
    follow: bool
    filters: Query
    last: int
    """How many records to begin with where there is no `after`."""


@dataclass(slots=True)
class _Place:
    row: int
    seen: Seen
    mark: tuple[str, int] | None = None
    """Which record was at `row`."""
    file: Identity | None = None


class Tail:
    """One reader's way along the rows. Used by one thread."""

    def __init__(
        self,
        index: Index,
        wish: Wish,
        *,
        written: Callable[[str, int], bool],
        pausing: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            index: The DB.
            wish: What to follow.
            written: Whether a stream's journal has come to this number.
            pausing: Told why nothing comes for a while.
        """
        self._index = index
        self._wish = wish
        self._written = written
        self._pausing = pausing
        self._conditions = wish.filters.conditions()
        self._place: _Place | None = None

    def rows(self, stop: threading.Event) -> Iterator[Row]:
        """Yield the rows; ends at the last one, or when `stop` is set.

        Raises:
            NotFoundError: `after` names no record.
            UnavailableError: The DB cannot be read, and nothing is followed.
        """
        bell = Bell(self._index.url)
        try:
            yield from self._rows(stop, bell)
        finally:
            bell.close()

    def _rows(self, stop: threading.Event, bell: Bell) -> Iterator[Row]:
        pause_s = _PAUSE_S
        while not stop.is_set():
            try:
                rows, ended = self._page()
            except UnavailableError as error:
                if not self._wish.follow:
                    raise
                self._pausing(str(error))
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_S_MAX)
                continue
            pause_s = _PAUSE_S
            yield from rows
            if ended and not self._wish.follow:
                return
            if ended:
                _wait(bell, stop)

    def _page(self) -> tuple[list[Row], bool]:
        """The next rows, and whether there are no more now."""
        with self._index.reading() as connection:
            place = self._found(connection)
            top = _top(connection)
            end = min(top, place.row + _WINDOW_ROWS)
            if end <= place.row:
                return [], True
            rows = _between(connection, place.row, end, self._conditions)
            full = len(rows) == _PAGE
            reached = cast("int", rows[-1]["row"]) if full else end
            place.row, place.mark = _at(connection, reached)
        fresh = [row for row in rows if _is_new(place.seen, row)]
        return fresh, not full and end == top

    def _found(self, connection: Connection) -> _Place:
        """Where to go on, in the DB as it is now."""
        file = self._index.look()
        if self._place is None:
            self._place = self._start(connection)
        elif self._place.file != file or not _holds(connection, self._place):
            self._place.row = _behind(connection, self._place.seen)
        self._place.file = file
        return self._place

    def _start(self, connection: Connection) -> _Place:
        wish = self._wish
        if wish.after:
            return self._behind_ids(connection, wish.after.split(","))
        row = _before_last(connection, self._conditions, wish.last)
        return _Place(row, _seen_at(connection, row))

    def _behind_ids(self, connection: Connection, ids: list[str]) -> _Place:
        named = [split_id(record_id.strip()) for record_id in ids]
        rows = [self._row_of(connection, stream, seq) for stream, seq in named]
        seen = _seen_at(connection, min(rows))
        for stream, seq in named:
            seen[stream] = max(seq, seen.get(stream, 0))
        return _Place(_behind(connection, seen), seen)

    def _row_of(self, connection: Connection, stream: str, seq: int) -> int:
        """The record's row; where it is no longer kept, the place it had."""
        found = _from(connection, stream, seq)
        if found is not None:
            return found.row if found.seq == seq else found.row - 1
        if self._written(stream, seq):
            raise UnavailableError(f"The index does not hold {stream}:{seq} yet.")
        raise NotFoundError(f"The index holds no record {stream}:{seq}.")


def _wait(bell: Bell, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            if bell.rings(stop):
                return
        except UnavailableError:
            return  # the next look at the records says so


def _between(
    connection: Connection, after: int, until: int, conditions: list[Condition]
) -> list[Row]:
    window = (
        sa
        .select(RECORDS)
        .where(RECORDS.c.row > after, RECORDS.c.row <= until)
        .order_by(RECORDS.c.row)
        .limit(_WINDOW_ROWS)
        .subquery()
    )
    wanted = [ClauseAdapter(window).traverse(condition) for condition in conditions]
    statement = (
        sa
        .select(window.c.row, window.c.record)
        .where(*wanted)
        .order_by(window.c.row)
        .limit(_PAGE)
    )
    return rows_of(connection, statement)


def _is_new(seen: Seen, row: Row) -> bool:
    """Whether a row was not seen before; from now on it was."""
    stream, seq = split_id(str(row["id"]))
    if seq <= seen.get(stream, 0):
        return False
    seen[stream] = seq
    return True


def _at(connection: Connection, row: int) -> tuple[int, tuple[str, int] | None]:
    """The last row up to `row`, and which record it is."""
    statement = (
        sa
        .select(RECORDS.c.row, RECORDS.c.stream, RECORDS.c.seq)
        .where(RECORDS.c.row <= row)
        .order_by(RECORDS.c.row.desc())
        .limit(1)
    )
    found = connection.execute(statement).one_or_none()
    return (found.row, (found.stream, found.seq)) if found else (0, None)


def _holds(connection: Connection, place: _Place) -> bool:
    return place.mark is None or _at(connection, place.row) == (place.row, place.mark)


def _before_last(connection: Connection, conditions: list[Condition], last: int) -> int:
    """The row behind which the last few that are wanted lie."""
    if last:
        newest = (
            sa
            .select(RECORDS.c.row)
            .where(*conditions)
            .order_by(RECORDS.c.time_us.desc(), RECORDS.c.row.desc())
            .limit(last)
        )
        rows = connection.execute(newest).scalars().all()
        if rows:
            return int(min(rows)) - 1
    return _top(connection)


def _from(connection: Connection, stream: str, seq: int) -> _Found | None:
    """Row and number of a stream's first record from `seq` on."""
    statement = (
        sa
        .select(RECORDS.c.row, RECORDS.c.seq)
        .where(RECORDS.c.stream == stream, RECORDS.c.seq >= seq)
        .order_by(RECORDS.c.seq)
        .limit(1)
    )
    found = connection.execute(statement).one_or_none()
    return _Found(*found) if found else None


def _seen_at(connection: Connection, row: int) -> Seen:
    """The last number that each stream has up to this row."""
    streams = connection.execute(sa.select(STREAMS.c.stream, STREAMS.c.seq)).all()
    return {
        stream: _last_up_to(connection, stream, newest, row)
        for stream, newest in streams
    }


def _last_up_to(connection: Connection, stream: str, newest: int, row: int) -> int:
    low, high = 0, newest
    middle = int(newest)  # mostly nothing is behind
    while low < high:
        found = _from(connection, stream, middle)
        if found is not None and found.row <= row:
            low = max(middle, found.seq)
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


def _top(connection: Connection) -> int:
    newest = connection.execute(sa.select(sa.func.max(RECORDS.c.row))).scalar()
    return int(newest or 0)


def _behind(connection: Connection, seen: Seen) -> int:
    """The row before the first that was not seen."""
    streams = connection.execute(sa.select(STREAMS.c.stream)).scalars()
    unseen = [
        _from(connection, stream, seen.get(stream, 0) + 1) for stream in streams.all()
    ]
    rows = [found.row for found in unseen if found is not None]
    if rows:
        return min(rows) - 1
    return _top(connection)
