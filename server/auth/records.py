"""Reading and writing single rows of the accounts, for administration.

Rows are plain mappings here: administration shows them, checks them and writes them
back; what decides over admission uses `snapshot` instead.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, select, update
from ulid import ULID

from server.auth.tables import LOGIN
from server.db.engine import Connection

RowMap = dict[str, Any]
"""A row by column; the columns' types stand in `auth.tables`."""


def new_id() -> str:
    """An identifier that is never used again (ULID, lower case)."""
    return str(ULID()).lower()


def find(connection: Connection, table: Table, **equals: object) -> RowMap | None:
    """The one living row with these values, or None."""
    found = listed(connection, table, **equals)
    return found[0] if found else None


def listed(connection: Connection, table: Table, **equals: object) -> list[RowMap]:
    """The living rows with these values, in the order of their names."""
    query = select(table).where(_where(table, equals))
    if "removed_us" in table.c:
        query = query.where(table.c.removed_us.is_(None))
    if "name" in table.c:
        query = query.order_by(table.c.name)
    return [dict(row) for row in connection.execute(query).mappings()]


def by(connection: Connection, table: Table, column: str) -> dict[str, RowMap]:
    """All rows of a table that has no tombstones, by one of its columns."""
    found = connection.execute(select(table)).mappings()
    return {row[column]: dict(row) for row in found}


def tombstones(connection: Connection, table: Table, **equals: object) -> list[RowMap]:
    """The removed rows with these values, oldest first."""
    query = select(table).where(_where(table, equals), table.c.removed_us.is_not(None))
    found = connection.execute(query.order_by(table.c.removed_us)).mappings()
    return [dict(row) for row in found]


def count(connection: Connection, table: Table, **equals: object) -> int:
    """How many living rows have these values."""
    query = (
        select(func.count())
        .select_from(table)
        .where(_where(table, equals), table.c.removed_us.is_(None))
    )
    return int(connection.execute(query).scalar_one())


def add(connection: Connection, table: Table, **values: object) -> None:
    """Insert a row."""
    connection.execute(insert(table).values(**values))


def change(connection: Connection, table: Table, row_id: str, **values: object) -> None:
    """Set values of the row with this id."""
    connection.execute(update(table).where(table.c.id == row_id).values(**values))


def replace_hash(connection: Connection, login_id: str, old: str, new: str) -> None:
    """Put another hash of the same password in its place, unless it has changed."""
    connection.execute(
        update(LOGIN)
        .where(LOGIN.c.id == login_id, LOGIN.c.password_hash == old)
        .values(password_hash=new)
    )


def bury(
    connection: Connection, table: Table, now_us: int, **equals: object
) -> Sequence[str]:
    """Make tombstones of the living rows with these values; returns their ids."""
    ids = [row["id"] for row in listed(connection, table, **equals)]
    connection.execute(
        update(table).where(table.c.id.in_(ids)).values(removed_us=now_us)
    )
    return ids


def erase(connection: Connection, table: Table, **equals: object) -> int:
    """Delete rows of a table that has no tombstones; how many."""
    return connection.execute(delete(table).where(_where(table, equals))).rowcount


def _where(table: Table, equals: dict[str, object]) -> ColumnElement[bool]:
    conditions = [table.c[column] == value for column, value in equals.items()]
    return and_(True, *conditions)  # noqa: FBT003 - SQLAlchemy's neutral element
