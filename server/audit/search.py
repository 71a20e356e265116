"""Reading the trail: search, tail, export; each reading is itself on record.

Search pages by time, newest first; tail and export go by `row`, the order in which
the recorder inserted, so that they see every row exactly once.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self, Unpack, cast

import sqlalchemy as sa

from server.audit import export, hashchain, segment
from server.audit.act import Act
from server.audit.hashchain import ChainError
from server.audit.index import Index, fetch, place
from server.audit.index import Row as Row  # noqa: PLC0414 - callers name it from here
from server.audit.query import LIMIT_MAX, Condition, Query
from server.audit.tables import RECORDS, STREAMS
from server.audit.tail import Tail, Wish
from server.db.engine import Connection
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome

_PAGE: Final = 1000
_ALL: Final = Query()


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """How far the DB has come with one stream."""

    stream: str
    seq: int
    """The last record that can be found."""
    time: str
    """Its time; empty when there is none."""
    head_seq: int
    """The last record of the journal."""

    @property
    def behind(self) -> int:
        """Records that cannot be found yet."""
        return max(self.head_seq - self.seq, 0)


class Recording(Protocol):
    """What a reader records itself through: the gate, or one opened when needed."""

    def event(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        /,
        **facts: Unpack[Fields],
    ) -> None:
        """See `Gate.event`."""
        ...

    def act(self, who: Fields, operation: Operation, /) -> AbstractContextManager[Act]:
        """See `Gate.act`."""
        ...


class Reader:
    """One reader's view of the audit DB, opened read-only."""

    def __init__(
        self, url: str, *, journal: Path, node: str, gate: Recording, who: Fields
    ) -> None:
        """Read the DB at `url`.

        Args:
            url: The audit DB.
            journal: `state_dir/journal`, to tell what is not indexed yet.
            node: This machine's name.
            gate: Where the reading is recorded.
            who: Who reads.
        """
        self._index = Index(url)
        self._journal = journal
        self._node = node
        self._gate = gate
        self._who = who

    def search(self, query: Query) -> list[Row]:
        """Find one page of records, newest first.

        Raises:
            NotFoundError: `query.before` names no row.
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The search cannot be recorded.
        """
        limit = min(max(query.limit, 1), LIMIT_MAX)
        order = RECORDS.c.time_us.desc(), RECORDS.c.row.desc()
        with self._index.reading() as connection:
            conditions = query.conditions()
            if query.before:
                row, time_us = place(connection, query.before)
                conditions.append(
                    sa.tuple_(RECORDS.c.time_us, RECORDS.c.row)
                    < sa.tuple_(time_us, row)
                )
            found = fetch(connection, conditions, order, limit)
        detail: dict[str, Json] = {"query": query.as_detail(), "count": len(found)}
        self._gate.event(self._who, Operation.AUDIT_SEARCH, Outcome.DONE, detail=detail)
        return found

    def tail(
        self,
        after: str | None,
        *,
        follow: bool,
        stop: threading.Event,
        filters: Query = _ALL,
        last: int = 10,
        pausing: Callable[[str], None] = lambda _reason: None,
    ) -> Iterator[Row]:
        """Yield records in the order they came in, none twice and none left out.

        Args:
            after: The `id` to go on behind, or the last one of several streams with
                commas between; None begins with the last few.
            follow: Go on when the end is reached, until `stop` is set; a DB that is
                away or being rebuilt is waited for.
            stop: Ends the generator within a fraction of a second.
            filters: Only these; paging and limit are not looked at.
            last: How many rows "the last few" are.
            pausing: Told why nothing comes for a while.

        Raises:
            NotFoundError: `after` names no record.
            UnavailableError: Nothing is followed, and the DB cannot be read or does
                not hold `after` yet.
            AuditUnavailableError: The reading cannot be recorded.
        """
        detail: dict[str, Json] = {"query": filters.as_detail(), "follow": follow}
        if after:
            detail["after"] = after
        self._gate.event(self._who, Operation.AUDIT_TAIL, Outcome.DONE, detail=detail)
        tail = Tail(
            self._index,
            Wish(after=after or "", follow=follow, filters=filters, last=last),
            written=self._written,
            pausing=pausing,
        )
        yield from tail.rows(stop)

    def export_csv(self, file: BinaryIO, query: Query) -> export.Exported:
        """Write all records that a query finds, oldest first, as CSV.

        Args:
            file: Takes UTF-8 bytes.
            query: Paging and limit are not looked at.

        Returns:
            How many records, and the SHA-256 of what was written.

        Raises:
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The export cannot be recorded; if it was already
                begun, what was written must not be used.
        """
        with self._gate.act(self._who, Operation.AUDIT_EXPORT) as act:
            act.note(detail={"query": query.as_detail(), "format": "csv"})
            act.begin()
            exported = export.write_csv(file, self._all(query.conditions()))
            act.note(
                detail={"count": exported.count},
                sha256=exported.sha256,
                bytes=exported.bytes,
            )
        return exported

    def indexed_up_to(self) -> list[Indexed]:
        """How far the DB has come with each stream of this node.

        Raises:
            UnavailableError: The DB cannot be read.
        """
        with self._index.reading() as connection:
            known = {
                row.stream: row.seq for row in connection.execute(sa.select(STREAMS))
            }
            times = {
                stream: _time_of(connection, stream, seq)
                for stream, seq in known.items()
            }
        streams = [f"{self._node}/{slot}" for slot in segment.slots(self._journal)]
        return [
            Indexed(
                stream=stream,
                seq=known.get(stream, 0),
                time=times.get(stream, ""),
                head_seq=self._head(stream),
            )
            for stream in streams
        ]

    def close(self) -> None:
        """Let go of the DB."""
        self._index.close()

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the DB."""
        self.close()

    def _following(
        self, cursor: int, conditions: list[Condition], until: int | None = None
    ) -> tuple[list[Row], int, bool]:
        """One page behind `cursor`: rows, the new cursor, whether that was all."""
        with self._index.reading() as connection:
            top = connection.execute(sa.select(sa.func.max(RECORDS.c.row))).scalar()
            end = min(top or 0, until) if until is not None else top or 0
            if end <= cursor:
                return [], cursor, True
            between = [RECORDS.c.row > cursor, RECORDS.c.row <= end, *conditions]
            rows = fetch(connection, between, (RECORDS.c.row.asc(),), _PAGE)
        if len(rows) == _PAGE:
            return rows, cast("int", rows[-1]["row"]), False
        return rows, end, True

    def _all(self, conditions: list[Condition]) -> Iterator[Row]:
        """Every row there is now, page by page."""
        with self._index.reading() as connection:
            newest = sa.select(sa.func.max(RECORDS.c.row))
            until = connection.execute(newest).scalar() or 0
        cursor, ended = 0, False
        while not ended:
            rows, cursor, ended = self._following(cursor, conditions, until)
            yield from rows

    def _written(self, stream: str, seq: int) -> bool:
        """Whether a stream of this node has come so far."""
        return stream.startswith(f"{self._node}/") and self._head(stream) >= seq

    def _head(self, stream: str) -> int:
        line = segment.last_line(self._journal / stream.rpartition("/")[2])
        try:
            return hashchain.parse(line).seq
        except ChainError:
            return 0


def _time_of(connection: Connection, stream: str, seq: int) -> str:
    statement = sa.select(RECORDS.c.record).where(
        RECORDS.c.stream == stream, RECORDS.c.seq == seq
    )
    record = connection.execute(statement).scalar()
    return str(json.loads(record)["time"]) if record else ""
