"""The history of one file: every act on it, under all the names it has had.

The asked name is followed back through each rename that put a file there, and on
through the last one that took it away when nothing came after. A folder's rename has a
record for each file below, so those count like the file's own. What happened under
another name counts only between the moments that the file had it, and to its end where
it outlasts them: a download that goes on while its file is deleted is part of it.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, cast

import sqlalchemy as sa

from server.audit.index import Index, Row
from server.audit.lookup import by_administrator, concerns
from server.audit.query import Condition
from server.audit.tables import PATHS, RECORDS, key_of
from server.db.engine import Connection
from server.model.errors import NotFoundError
from server.model.event import Json
from server.model.operation import Operation, Outcome, Phase

Moment = tuple[int, int]
"""A record's place in time: `time_us`, then `row`."""

START: Final[Moment] = (-1, -1)
END: Final[Moment] = (2**62, 2**62)

_PRIVATE: Final = "/private"
_PAGE: Final = 500
_SPANS_MAX: Final = 1000
_TREE: Final = (
    Operation.RENAME,
    Operation.DELETE,
    Operation.COPY,
    Operation.RESTORE,
)
"""Acts that have a record for each file of a folder."""
_IN_PLACE: Final = (Operation.WRITE, Operation.DEPOSIT, Operation.RESTORE)
"""Acts that make a file at their path; others make one at their target."""
_MAKES: Final = (*_IN_PLACE, Operation.RENAME, Operation.COPY)


class SeveralFilesError(ValueError):
    """More than one file bears the name; the message says whose."""


@dataclass(frozen=True, slots=True)
class File:
    """A name, and whose: a `/private` is one login's, `/shared` a contract's."""

    path: str
    contract: str
    login: str = ""
    """Only for paths below `/private`."""

    def renamed(self, path: str, login: str) -> "File":
        """Its name after a rename by this login."""
        return File(path, self.contract, login if _is_private(path) else "")


@dataclass(frozen=True, slots=True)
class Span:
    """A name, and the time in which it was the file's."""

    file: File
    after: Moment = START
    until: Moment = END


@dataclass(frozen=True, slots=True)
class _Move:
    """A rename that was done, as one file saw it."""

    at: Moment
    source: File
    target: File


def find_file(index: Index, path: str, contract: str, login: str) -> File:
    """Whose file a path means.

    Args:
        index: The DB.
        path: As records have it.
        contract: Empty for any.
        login: Whose `/private`; empty for any.

    Raises:
        NotFoundError: No record names it.
        SeveralFilesError: It has to be said whose is meant.
    """
    column = RECORDS.c
    named: list[Condition] = [_is(column.path_id, path) | _is(column.target_id, path)]
    if contract:
        named.append(column.contract == key_of(contract))
    if login:
        named.append(column.login == key_of(login))
    private = _is_private(path)
    whose = [column.contract, column.login] if private else [column.contract]
    named += [owner.is_not(None) for owner in whose]
    if private:
        named.append(~by_administrator())
    with index.reading() as connection:
        found = connection.execute(sa.select(*whose).where(*named).distinct()).all()
    files = [File(path, *owner) for owner in found]
    if not files:
        raise NotFoundError(f"No record names {path}.")
    if len(files) > 1:
        names = sorted(f"{file.login}@{file.contract}".lstrip("@") for file in files)
        raise SeveralFilesError(f"{path} is a name at each of: {', '.join(names)}")
    return files[0]


def spans(index: Index, file: File) -> list[Span]:
    """Every name of a file, with its time.

    The asked name counts for all time: what was there before is part of the answer.
    """
    with index.reading() as connection:
        lineage = _Lineage(connection)
        lineage.found.append(Span(file))
        for move in lineage.moves(Span(file), arriving=True):
            lineage.back(Span(move.source, until=move.at))
        away = lineage.moves(Span(file), arriving=False)
        if away and not lineage.is_made(Span(file, after=away[-1].at)):
            lineage.on(Span(away[-1].target, after=away[-1].at))
        return lineage.found


def acts(index: Index, found: list[Span]) -> Iterator[Row]:
    """The records of all spans, oldest first, each once.

    A file's record inside a folder's act bears, as `act_outcome`, how that act ended.
    """
    last = START
    parts = (part(index, span) for span in found for part in (_of_span, _outlasting))
    for moment, row in heapq.merge(*parts, key=itemgetter(0)):
        if moment != last:
            last = moment
            yield row


class _Lineage:
    """Goes from name to name, within one view of the DB."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.found: list[Span] = []

    def back(self, span: Span) -> None:
        """The names before: `span.until` is when the file left this one."""
        waiting = [span]
        while waiting and len(self.found) < _SPANS_MAX:
            span = waiting.pop()
            left = [m.at for m in self.moves(span, arriving=False)]
            gone = [*left, *self._removals(span)]
            # The last one is the move that ends the span itself.
            before = [at for at in gone if at < span.until]
            span = replace(span, after=max(before, default=START))
            self.found.append(span)
            arrived = self.moves(span, arriving=True)
            waiting += [Span(move.source, until=move.at) for move in arrived]

    def on(self, span: Span) -> None:
        """The names after: `span.after` is when the file came to this one."""
        while len(self.found) < _SPANS_MAX:
            away = self.moves(span, arriving=False)
            replaced = [m.at for m in self.moves(span, arriving=True)]
            ends = [m.at for m in away[:1]] + self._removals(span)[:1] + replaced[:1]
            until = min(ends, default=END)
            self.found.append(replace(span, until=until))
            if not away or away[0].at != until:
                return
            span = Span(away[0].target, after=until)

    def moves(self, span: Span, *, arriving: bool) -> list[_Move]:
        """Renames that were done, to or from a name, in their order."""
        column = RECORDS.c
        side = column.target_id if arriving else column.path_id
        rows = self._rows(span, side, [column.operation == Operation.RENAME])
        return [
            _Move(
                moment,
                span.file.renamed(str(row["path"]), _owner(row)),
                span.file.renamed(str(row["target"]), _owner(row)),
            )
            for moment, row in rows
            if not _was_replaced(row)
        ]

    def is_made(self, span: Span) -> bool:
        """Whether a file came to be at the name within the span."""
        column = RECORDS.c
        wanted: list[Condition] = [column.operation.in_(_MAKES)]
        here = self._rows(span, column.path_id, wanted)
        return bool(self._rows(span, column.target_id, wanted)) or any(
            row["operation"] in _IN_PLACE for _, row in here
        )

    def _removals(self, span: Span) -> list[Moment]:
        column = RECORDS.c
        deleted: list[Condition] = [column.operation == Operation.DELETE]
        return [moment for moment, _ in self._rows(span, column.path_id, deleted)]

    def _rows(
        self, span: Span, side: "sa.Column[int]", wanted: list[Condition]
    ) -> list[tuple[Moment, Row]]:
        """Done acts of a kind that name the file on this side."""
        column = RECORDS.c
        done = sa.or_(
            column.outcome == Outcome.DONE,
            (column.phase == Phase.PROGRESS) & column.operation.in_(_TREE),
        )
        statement = (
            sa
            .select(column.time_us, column.row, column.record)
            .where(_is(side, span.file.path), *_within(span), done, *wanted)
            .order_by(column.time_us, column.row)
            .limit(_SPANS_MAX)
        )
        rows = _parsed(self._connection, statement)
        return [
            (moment, row)
            for moment, row in rows
            if row.get("outcome", row.get("act_outcome")) == Outcome.DONE
            and concerns(row, span.file.login)
        ]


def _of_span(index: Index, span: Span) -> Iterator[tuple[Moment, Row]]:
    """The acts under one name, page by page."""
    column = RECORDS.c
    ended = sa.alias(RECORDS)
    open_still = ~sa.exists().where(
        ended.c.act == column.act, ended.c.phase == Phase.OUTCOME
    )
    shown = sa.or_(
        column.phase.in_((Phase.OUTCOME, Phase.EVENT)),
        (column.phase == Phase.PROGRESS) & column.operation.in_(_TREE),
        (column.phase == Phase.INTENT) & open_still,
    )
    rest = span
    while True:
        statement = (
            sa
            .select(column.time_us, column.row, column.record)
            .where(_names(rest), *_within(rest), shown)
            .order_by(column.time_us, column.row)
            .limit(_PAGE)
        )
        with index.reading() as connection:
            page = _parsed(connection, statement)
        yield from (found for found in page if concerns(found[1], span.file.login))
        if len(page) < _PAGE:
            return
        rest = replace(rest, after=page[-1][0])


def _outlasting(index: Index, span: Span) -> Iterator[tuple[Moment, Row]]:
    """The outcomes told after a span's end of acts that began within it."""
    if span.until == END:
        return
    column, ended = RECORDS.c, sa.alias(RECORDS)
    statement = (
        sa
        .select(ended.c.time_us, ended.c.row, ended.c.record)
        .join_from(RECORDS, ended, ended.c.act == column.act)
        .where(_names(span), *_within(span), column.phase == Phase.INTENT)
        .where(ended.c.phase == Phase.OUTCOME)
        .where(sa.tuple_(ended.c.time_us, ended.c.row) > sa.tuple_(*span.until))
        .order_by(ended.c.time_us, ended.c.row)
    )
    with index.reading() as connection:
        found = _parsed(connection, statement)
    yield from (row for row in found if concerns(row[1], span.file.login))


def _parsed(
    connection: Connection, statement: sa.Select[int, int, str]
) -> list[tuple[Moment, Row]]:
    found = []
    for time_us, row, record in connection.execute(statement).all():
        fields: Row = {"row": row, **json.loads(record)}
        if fields["phase"] == Phase.PROGRESS:
            fields["act_outcome"] = _outcome_of(connection, str(fields["act"]))
        found.append(((time_us, row), fields))
    return found


def _outcome_of(connection: Connection, act: str) -> str | None:
    statement = sa.select(RECORDS.c.outcome).where(
        RECORDS.c.act == key_of(act), RECORDS.c.phase == Phase.OUTCOME
    )
    return cast("str | None", connection.execute(statement).scalar())


def _within(span: Span) -> list[Condition]:
    column, file = RECORDS.c, span.file
    at = sa.tuple_(column.time_us, column.row)
    limits: list[Condition] = [column.contract == key_of(file.contract)]
    if file.login:
        limits.append((column.login == key_of(file.login)) | by_administrator())
    if span.after != START:
        limits.append(at > sa.tuple_(*span.after))
    if span.until != END:
        limits.append(at <= sa.tuple_(*span.until))
    return limits


def _names(span: Span) -> Condition:
    column, path = RECORDS.c, span.file.path
    return _is(column.path_id, path) | _is(column.target_id, path)


def _is(side: "sa.Column[int]", path: str) -> Condition:
    ids = sa.select(PATHS.c.id).where(PATHS.c.key == key_of(path), PATHS.c.path == path)
    return side.in_(ids)


def _is_private(path: str) -> bool:
    return path == _PRIVATE or path.startswith(_PRIVATE + "/")


def _owner(row: Row) -> str:
    """Whose private folder a record is about: an administrator's act says so."""
    detail = row.get("detail")
    owner = detail.get("owner") if isinstance(detail, dict) else None
    return str(owner or row.get("login", ""))


def _was_replaced(row: dict[str, Json]) -> bool:
    """Whether it tells a file of a folder that another folder took the place of."""
    detail = row.get("detail")
    return isinstance(detail, dict) and detail.get("replaced") is True
