"""Finding one page of records fast, whatever is asked, on both databases.

The order is time, then row. Three ways lead there, all along indexes that give it:

* *in order*: along the index of the rarest filter, newest first, the others checked on
  the way. Which filter is the rarest is measured: the one whose `_SAMPLE`th row lies
  furthest back.
* *by members*: a filter that means many values (a folder, a word in a path, a network)
  is resolved to them; the newest row of each says which can be on the page at all, and
  those are read along their own indexes.
* both: when many values are meant, the newest `_PROBE` rows are looked through first;
  a common word has filled the page by then, and a rare one has few members.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import sqlalchemy as sa

from server.audit import paths
from server.audit.index import Row, place, rows_of
from server.audit.query import LIMIT_MAX, Condition, Query, from_network
from server.audit.tables import KEYED, PATHS, RECORDS, within
from server.db.engine import Connection

_SAMPLE: Final = 2_000
_PROBE: Final = 20_000
_MEMBERS_FEW: Final = 500
_MEMBERS_LISTED: Final = 20_000
"""So many paths of a folder are looked up at once; more are checked one by one."""
_MEMBER: Final = "member"
_PAIRED: Final = ({"login"}, {"operation"})
"""Filters that have an index together with a path."""
_NETWORK_MEMBERS: Final = sa.text(
    """
    WITH RECURSIVE found(key) AS (
        SELECT min(source_key) FROM records WHERE source_key BETWEEN :first AND :last
        UNION ALL
        SELECT (SELECT min(source_key) FROM records
                WHERE source_key > found.key AND source_key <= :last)
        FROM found WHERE found.key IS NOT NULL
    )
    SELECT key FROM found WHERE key IS NOT NULL LIMIT :at_most
    """
)


class Place(NamedTuple):
    """A row's place in the order of pages."""

    time_us: int
    row: int


class Cursor(NamedTuple):
    """Where a page begins, and which way it goes."""

    at: Place | None
    newer: bool


@dataclass(frozen=True, slots=True)
class Members:
    """The values that a filter means, of one column."""

    column: str
    ids: sa.Select[int] | sa.Select[str]
    """All of them, as a statement."""
    condition: Condition
    """The same, checked on a record."""
    sparse: bool = False
    """Most rows have no value: the index of those that have one leads."""


def page(connection: Connection, query: Query) -> list[int]:
    """Find the rows of one page, newest first.

    Raises:
        NotFoundError: `before` or `after` names no row.
        ValueError: `source` is neither an address nor a network.
    """
    search = _Search(connection, query)
    network, meant = query.network(), search.path_conditions()
    if meant:
        also: list[Condition] = []
        if network:
            also.append(from_network(*network))
        places = search.paths(meant, also)
    elif network:
        places = search.network(*network)
    else:
        places = search.in_order(search.equal, [])
    return [found.row for found in search.cut(places)]


def records(connection: Connection, query: Query) -> list[Row]:
    """The records of one page, whole, newest first.

    Raises:
        NotFoundError: `before` or `after` names no row.
        ValueError: `source` is neither an address nor a network.
    """
    rows = page(connection, query)
    asked = sa.select(RECORDS.c.row, RECORDS.c.record).where(RECORDS.c.row.in_(rows))
    found = {cast("int", row["row"]): row for row in rows_of(connection, asked)}
    return [found[row] for row in rows]


class _Search:
    """One question, on its way."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self.connection = connection
        self.query = query
        self.limit = min(max(query.limit, 1), LIMIT_MAX)
        self.equal = query.equalities()
        self.cursor = _cursor(connection, query)
        self.bounds = query.times() + _beyond(self.cursor)

    def cut(self, places: Iterable[Place]) -> list[Place]:
        """The page out of all that was found, newest first."""
        ordered = sorted(set(places), reverse=not self.cursor.newer)[: self.limit]
        return sorted(ordered, reverse=True)

    def path_conditions(self) -> list[Condition]:
        """What must hold of `PATHS`; an index of word parts helps where it can."""
        found = self.query.path_conditions()
        if self.query.contains:
            quick = paths.containing(self.connection, self.query.contains)
            found = quick[:-1] + found
        return found

    def paths(self, meant: list[Condition], also: list[Condition]) -> list[Place]:
        """Rows whose path or target is meant."""
        ids = sa.select(PATHS.c.id).where(*meant)
        listed = list(self.connection.execute(ids.limit(_MEMBERS_FEW + 1)).scalars())
        at_once = len(listed) <= _MEMBERS_FEW or self._is_listable(ids)
        found: list[Place] = []
        for name in ("path_id", "target_id"):
            column = RECORDS.c[name]
            checked = sa.exists().where(
                PATHS.c.id == column, *self.query.path_conditions()
            )
            members = Members(
                name,
                ids,
                column.in_(ids) if at_once else checked.correlate(RECORDS),
                sparse=name == "target_id",
            )
            found += self._resolve(members, listed, also)
        return found

    def _is_listable(self, ids: sa.Select[int]) -> bool:
        """Whether a folder holds few enough paths; a word's are not counted."""
        if self.query.contains:
            return False
        some = ids.limit(_MEMBERS_LISTED + 1).subquery()
        counted = sa.select(sa.func.count()).select_from(some)
        return self.connection.execute(counted).scalar_one() <= _MEMBERS_LISTED

    def network(self, first: str, last: str) -> list[Place]:
        """Rows that came from a network."""
        bound = {"first": first, "last": last, "at_most": _MEMBERS_FEW + 1}
        listed = list(self.connection.execute(_NETWORK_MEMBERS, bound).scalars())
        members = Members(
            "source_key",
            sa.select(sa.column("key")).select_from(
                _NETWORK_MEMBERS
                .bindparams(first=first, last=last, at_most=_MEMBERS_FEW)
                .columns(sa.column("key"))
                .subquery()
            ),
            from_network(first, last),
        )
        if len(listed) > _MEMBERS_FEW:
            return self.in_order(self.equal, [members.condition])
        return self._resolve(members, listed, [])

    def in_order(
        self,
        equal: dict[str, str],
        also: list[Condition],
        *,
        within: Place | None = None,
    ) -> list[Place]:
        """Rows along the index of the rarest filter."""
        leading = self._rarest(equal)
        return self._along(leading, equal, [*also, *self._up_to(within)])

    def _resolve(
        self,
        members: Members,
        listed: list[int] | list[str],
        also: list[Condition],
    ) -> list[Place]:
        few = len(listed) <= _MEMBERS_FEW
        if few and not listed:
            return []
        quick = not self.equal or self.equal.keys() in _PAIRED
        if few and quick:
            return self._by_members(members, also)
        found, whole = self._probe(members, also)
        if whole or len(found) >= self.limit:
            return found
        return self._by_members(members, also)

    def _probe(
        self, members: Members, also: list[Condition]
    ) -> tuple[list[Place], bool]:
        """Look through the first rows; whether those were all."""
        filled: list[Condition] = []
        if members.sparse:
            leading = _sparsest(members.column, self.equal)
            filled.append(RECORDS.c[members.column].is_not(None))
        else:
            leading = self._rarest(self.equal)
        checked = [*also, *filled, members.condition]
        last = self._offset({n: self.equal[n] for n in leading}, _PROBE, filled)
        checked += self._up_to(last)
        return self._along(leading, self.equal, checked), last is None

    def _by_members(self, members: Members, also: list[Condition]) -> list[Place]:
        """The first row of each member tells which can be on the page at all."""
        column = RECORDS.c[members.column]
        meant = members.ids.subquery("meant")
        (value,) = meant.c
        # Few rows have a value of a sparse column: its own index is the shortest way.
        leading = () if members.sparse else tuple(self.equal)
        equal = self._equals(self.equal, leading)
        first = (
            sa
            .select(RECORDS.c.time_us)
            .where(column == value, *equal, *also, *self.bounds)
            .order_by(self._direction(RECORDS.c.time_us))
            .limit(1)
            .scalar_subquery()
        )
        each = sa.select(value.label("value"), first.label("first")).subquery("each")
        asked = (
            sa
            .select(each.c.value, each.c.first)
            .where(each.c.first.is_not(None))
            .order_by(self._direction(each.c.first))
            .limit(self.limit)
        )
        firsts = self.connection.execute(asked).all()
        bounds = list(also)
        if len(firsts) == self.limit:
            bounds += self._up_to(Place(cast("int", firsts[-1].first), 0))
        of_one = [column == sa.bindparam(_MEMBER), *equal, *bounds]
        return self._fetch_each(of_one, [member.value for member in firsts])

    def _fetch_each(
        self, conditions: list[Condition], members: list[int | str]
    ) -> list[Place]:
        """One statement for each member, compiled once."""
        compiled = self._ordered(conditions).compile(dialect=self.connection.dialect)
        order = compiled.positiontup if compiled.positional else None
        found: list[Place] = []
        for member in members:
            given = compiled.construct_params({_MEMBER: member})
            values = given if order is None else tuple(given[name] for name in order)
            rows = self.connection.exec_driver_sql(compiled.string, values)
            found += [Place(*row) for row in rows]
        return found

    def _rarest(self, equal: dict[str, str]) -> tuple[str, ...]:
        """The columns of the index to go along."""
        able = [
            keyed.equal
            for keyed in KEYED
            if keyed.equal
            and not keyed.leads_past
            and equal.keys() >= set(keyed.equal)
            and not (keyed.without and equal[keyed.sparse] == keyed.without)
        ]
        if len(able) <= 1 or self.connection.dialect.name != "sqlite":
            return max(able, key=len, default=())
        pairs = [columns for columns in able if len(columns) > 1]
        single = {name for columns in pairs for name in columns}
        able = pairs + [c for c in able if len(c) == 1 and c[0] not in single]
        if len(able) == 1:
            return able[0]
        return min(able, key=self._reach)

    def _reach(self, columns: tuple[str, ...]) -> tuple[bool, int]:
        """How far back the sample goes; rarer filters come first."""
        last = self._offset({n: self.equal[n] for n in columns}, _SAMPLE, [])
        if last is None:
            return False, 0
        return True, -last.time_us if self.cursor.newer else last.time_us

    def _offset(
        self, equal: dict[str, str], count: int, also: list[Condition]
    ) -> Place | None:
        """The row so many rows along an index; None when there are fewer."""
        time_us = RECORDS.c.time_us
        asked = (
            sa
            .select(time_us)
            .where(
                *(RECORDS.c[name] == value for name, value in equal.items()),
                *_partial(tuple(equal)),
                *also,
                *self.bounds,
            )
            .order_by(self._direction(time_us))
            .limit(1)
            .offset(count)
        )
        found = self.connection.execute(asked).scalar()
        return None if found is None else Place(found, 0)

    def _along(
        self, leading: tuple[str, ...], equal: dict[str, str], also: list[Condition]
    ) -> list[Place]:
        """Rows by one index."""
        conditions = self._equals(equal, leading)
        return self._fetch([*conditions, *_partial(leading), *also])

    def _equals(
        self, equal: dict[str, str], leading: tuple[str, ...]
    ) -> list[Condition]:
        """The filters; SQLite is kept from choosing an index on those not leading."""
        hide = self.connection.dialect.name == "sqlite"
        return [
            (
                sa.literal_column(f"+records.{name}", sa.Text())
                if hide and name not in leading
                else RECORDS.c[name]
            )
            == value
            for name, value in equal.items()
        ]

    def _fetch(self, conditions: list[Condition]) -> list[Place]:
        asked = self._ordered(conditions)
        return [Place(*found) for found in self.connection.execute(asked)]

    def _ordered(self, conditions: list[Condition]) -> sa.Select[int, int]:
        return (
            sa
            .select(RECORDS.c.time_us, RECORDS.c.row)
            .where(*conditions, *self.bounds)
            .order_by(
                self._direction(RECORDS.c.time_us), self._direction(RECORDS.c.row)
            )
            .limit(self.limit)
        )

    def _direction(self, column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return column.asc() if self.cursor.newer else column.desc()

    def _up_to(self, last: Place | None) -> list[Condition]:
        """Not beyond the time of `last`, in the page's direction."""
        if last is None:
            return []
        time_us = RECORDS.c.time_us
        if self.cursor.newer:
            return [time_us <= last.time_us]
        return [time_us >= last.time_us]


def _cursor(connection: Connection, query: Query) -> Cursor:
    named = query.after or query.before
    if not named:
        return Cursor(None, newer=False)
    row, time_us = place(connection, named)
    return Cursor(Place(time_us, row), newer=bool(query.after))


def _sparsest(column: str, equal: dict[str, str]) -> tuple[str, ...]:
    """The columns of the index that has only rows with a value in this column."""
    able = [keyed.equal for keyed in KEYED if keyed.leads_past == column]
    return max((names for names in able if equal.keys() >= {*names}), key=len)


def _partial(leading: tuple[str, ...]) -> list[Condition]:
    """What a database must read to see that a partial index has all that is meant."""
    return [
        condition
        for keyed in KEYED
        if keyed.equal == leading and keyed.without
        if (condition := within(keyed)) is not None
    ]


def _beyond(cursor: Cursor) -> list[Condition]:
    """Behind the cursor: by time along an index, then exactly."""
    if cursor.at is None:
        return []
    time_us, here = RECORDS.c.time_us, sa.tuple_(RECORDS.c.time_us, RECORDS.c.row)
    at = sa.tuple_(*cursor.at)
    if cursor.newer:
        return [time_us >= cursor.at.time_us, here > at]
    return [time_us <= cursor.at.time_us, here < at]
