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
from typing import BinaryIO, Final, Protocol, Self, Unpack

import sqlalchemy as sa

from server.audit import export, find, hashchain, history, segment, stats
from server.audit.act import Act
from server.audit.export import Exported, Form
from server.audit.hashchain import ChainError
from server.audit.headings import Language
from server.audit.index import Index, oldest_first
from server.audit.index import Row as Row  # noqa: PLC0414 - callers name it from here
from server.audit.limit import QueryTimeoutError, time_limit
from server.audit.manifest import Notary
from server.audit.person import Person
from server.audit.query import Query
from server.audit.stats import By
from server.audit.tables import RECORDS, STREAMS
from server.audit.tail import Tail, Wish
from server.db.engine import Connection
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome

_COUNT_S_MAX: Final = 5.0
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
        self,
        url: str,
        *,
        journal: Path,
        node: str,
        gate: Recording,
        who: Fields,
        notary: Notary,
    ) -> None:
        """Read the DB at `url`.

        Args:
            url: The audit DB.
            journal: `state_dir/journal`, to tell what is not indexed yet.
            node: This machine's name.
            gate: Where the reading is recorded.
            who: Who reads.
            notary: Signs the manifests of exports.
        """
        self._index = Index(url)
        self._journal = journal
        self._node = node
        self._gate = gate
        self._who = who
        self._notary = notary
        self.query_timeout_s: float = 30
        """Seconds that a search may take."""

    def search(self, query: Query) -> list[Row]:
        """Find one page of records, newest first.

        Raises:
            NotFoundError: `query.before` or `query.after` names no row.
            QueryTimeoutError: It took too long.
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The search cannot be recorded.
        """
        with (
            self._index.reading() as connection,
            time_limit(connection, self.query_timeout_s),
        ):
            found = find.records(connection, query)
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

    def history(
        self, path: str, *, contract: str = "", login: str = ""
    ) -> Iterator[Row]:
        """Yield every act on a file, oldest first, under all names it has had.

        Args:
            path: One of its names.
            contract: Whose file, where several contracts have one of that name.
            login: Whose `/private`, where several logins have one.

        Raises:
            NotFoundError: No record names it.
            SeveralFilesError: It has to be said whose is meant.
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The search cannot be recorded.
        """
        asked: dict[str, Json] = {"path": path, "contract": contract, "login": login}
        self._tell_view("history", asked)
        file = history.find_file(self._index, path, contract, login)
        yield from history.acts(self._index, history.spans(self._index, file))

    def person(self, query: Query) -> dict[str, Json]:
        """Add up what a login did.

        Args:
            query: The login, its contract and the time.

        Raises:
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The search cannot be recorded.
        """
        self._tell_view("who", query.as_detail())
        lines = oldest_first(self._index, query.conditions())
        return Person().add(lines).facts()

    def stats(self, query: Query, by: list[By]) -> list[Row]:
        """Count acts.

        Args:
            query: Which.
            by: What they are counted by.

        Raises:
            QueryTimeoutError: It took too long.
            UnavailableError: The DB cannot be read.
            AuditUnavailableError: The search cannot be recorded.
        """
        self._tell_view("stats", query.as_detail())
        with (
            self._index.reading() as connection,
            time_limit(connection, self.query_timeout_s),
        ):
            return stats.count(connection, query, by)

    def export(
        self,
        file: BinaryIO,
        query: Query,
        form: Form,
        *,
        language: Language = Language.EN,
        moved: Callable[[float], None] = lambda _share: None,
    ) -> tuple[Exported, bytes]:
        """Write all records that a query finds, oldest first.

        Args:
            file: Takes the bytes.
            query: Paging and limit are not looked at.
            form: How records are written.
            language: Of the CSV's headings.
            moved: Told which share of the records lies behind, 0 to 1.

        Returns:
            What was written, and its signed manifest.

        Raises:
            UnavailableError: The DB cannot be read, or no key is there to sign with.
            AuditUnavailableError: The export cannot be recorded; if it was already
                begun, what was written must not be used.
        """
        conditions = query.conditions()
        self._notary.require_key()
        with self._gate.act(self._who, Operation.AUDIT_EXPORT) as act:
            act.note(detail={"query": query.as_detail(), "format": form})
            act.begin()
            lines = oldest_first(self._index, conditions, moved=moved)
            exported = export.write(file, lines, form, language=language)
            act.note(
                detail={
                    "count": exported.count,
                    "first": exported.first,
                    "last": exported.last,
                },
                sha256=exported.sha256,
                bytes=exported.bytes,
            )
            signed = self._notary.sign(exported, form, query.as_detail())
        return exported, signed

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

    def rows(self) -> int | None:
        """How many records the DB holds; None when counting takes too long.

        Raises:
            UnavailableError: The DB cannot be read.
        """
        try:
            with (
                self._index.reading() as connection,
                time_limit(connection, _COUNT_S_MAX),
            ):
                every = sa.select(sa.func.count()).select_from(RECORDS)
                return connection.execute(every).scalar()
        except QueryTimeoutError:
            return None

    def close(self) -> None:
        """Let go of the DB."""
        self._index.close()

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the DB."""
        self.close()

    def _tell_view(self, view: str, query: dict[str, Json]) -> None:
        asked: Json = {name: value for name, value in query.items() if value}
        detail: dict[str, Json] = {"view": view, "query": asked}
        self._gate.event(self._who, Operation.AUDIT_SEARCH, Outcome.DONE, detail=detail)

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
