"""The store's book-keeping: rows of locks and dead properties, each call whole.

What locks mean is decided in `vfs.locks`; who may call when, by the latch there.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, delete, insert, select, text, update
from sqlalchemy.engine import Connection

from server.db.engine import DatabaseError, Engine, reading, writing
from server.model.errors import BooksUnavailableError
from server.model.lock import Lock, Scope
from server.storage.port import Location
from server.storage.property_rows import (
    any_below,
    copy_below,
    drop_below,
    move_below,
    properties_at,
    properties_in,
    write_properties,
)
from server.storage.tables import FILE_LOCK, PROPERTY

_ADVISORY: Final = text("SELECT pg_advisory_xact_lock(hashtext(:contract))")


@contextmanager
def _answering() -> Iterator[None]:
    """Raise ours for whatever the database says."""
    try:
        yield
    except DatabaseError as error:
        raise BooksUnavailableError(
            "The server cannot look up its locks now; nothing was done."
        ) from error


class Books:
    """Every method raises `BooksUnavailableError` when the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        """Keep the books in a database that has the chain `store`."""
        self._engine = engine

    # Locks.

    def locks(self, contract_id: str, now_us: int) -> list[Lock]:
        """The locks of a contract that have not run out."""
        query = select(FILE_LOCK).where(
            FILE_LOCK.c.contract_id == contract_id, FILE_LOCK.c.until_us > now_us
        )
        with _answering(), reading(self._engine) as connection:
            return [_lock(row) for row in connection.execute(query)]

    def all_locks(self, now_us: int) -> list[Lock]:
        """The locks of all contracts that have not run out, by path."""
        query = select(FILE_LOCK).where(FILE_LOCK.c.until_us > now_us)
        ordered = query.order_by(FILE_LOCK.c.contract, FILE_LOCK.c.path)
        with _answering(), reading(self._engine) as connection:
            return [_lock(row) for row in connection.execute(ordered)]

    @contextmanager
    def changing(self, contract_id: str) -> Iterator["LockChange"]:
        """Change the locks of a contract in one transaction, alone.

        The latch keeps other processes of this file system out; the advisory lock
        keeps the database right should two nodes ever share less than that.
        """
        with _answering(), writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_ADVISORY, {"contract": contract_id})
            yield LockChange(connection, contract_id)

    # Properties.

    def roots_with_properties(self, contract_id: str) -> frozenset[str]:
        """The roots of a contract (its trash too) in which anything has properties."""
        query = select(PROPERTY.c.root).where(_of_contract(contract_id)).distinct()
        with _answering(), reading(self._engine) as connection:
            return frozenset(connection.execute(query).scalars())

    def properties(self, at: Location) -> dict[str, str]:
        """The dead properties of a resource: XML by name."""
        with _answering(), reading(self._engine) as connection:
            return properties_at(connection, at)

    def properties_in(self, at: Location) -> dict[str, dict[str, str]]:
        """Those of a folder's members by their names; its own under the empty name."""
        with _answering(), reading(self._engine) as connection:
            return properties_in(connection, at)

    def forget(self, contract_id: str) -> None:
        """Forget the locks and properties of a contract that is no more."""
        with _answering(), writing(self._engine) as connection:
            connection.execute(delete(PROPERTY).where(_of_contract(contract_id)))
            connection.execute(
                delete(FILE_LOCK).where(FILE_LOCK.c.contract_id == contract_id)
            )

    @contextmanager
    def writing(self) -> Iterator["PropertyChange"]:
        """Change properties in one transaction; an error in the block undoes it."""
        with _answering(), writing(self._engine) as connection:
            yield PropertyChange(connection)


class LockChange:
    """The locks of a contract while nobody else changes them."""

    def __init__(self, connection: Connection, contract_id: str) -> None:
        """Work in the transaction of `connection`."""
        self._connection = connection
        self._contract_id = contract_id

    def held(self, now_us: int) -> list[Lock]:
        """The locks that last; those that ran out are dropped."""
        mine = FILE_LOCK.c.contract_id == self._contract_id
        self._connection.execute(
            delete(FILE_LOCK).where(mine, FILE_LOCK.c.until_us <= now_us)
        )
        found = self._connection.execute(select(FILE_LOCK).where(mine))
        return [_lock(row) for row in found]

    def add(self, lock: Lock) -> None:
        """Keep a new lock."""
        row = {**asdict(lock), "inside": "/".join(lock.inside)}
        self._connection.execute(insert(FILE_LOCK).values(row))

    def prolong(self, token: str, *, timeout_s: int, until_us: int) -> None:
        """Let a lock last until `until_us`."""
        self._connection.execute(
            update(FILE_LOCK)
            .where(FILE_LOCK.c.token == token)
            .values(timeout_s=timeout_s, until_us=until_us)
        )

    def drop(self, tokens: Iterable[str]) -> int:
        """Drop locks; how many of them there were."""
        gone = delete(FILE_LOCK).where(FILE_LOCK.c.token.in_(list(tokens)))
        return int(self._connection.execute(gone).rowcount)


class PropertyChange:
    """Properties in one transaction."""

    def __init__(self, connection: Connection) -> None:
        """Work in the transaction of `connection`."""
        self._connection = connection

    def at(self, at: Location) -> dict[str, str]:
        """The properties of a resource as they are now."""
        return properties_at(self._connection, at)

    def has_any(self, at: Location) -> bool:
        """Whether a resource, or anything below it, has properties."""
        return any_below(self._connection, at)

    def write(self, at: Location, values: Mapping[str, str | None]) -> None:
        """Set the properties of a resource; None removes one."""
        write_properties(self._connection, at, values)

    def move(self, at: Location, to: Location) -> None:
        """Those of a resource and of all below it lie at `to` from now on."""
        move_below(self._connection, at, to)

    def copy(self, at: Location, to: Location, *, deep: bool) -> None:
        """Copy those of a resource and, if `deep`, of all below it."""
        copy_below(self._connection, at, to, deep=deep)

    def drop(self, at: Location) -> None:
        """Forget those of a resource and of all below it."""
        drop_below(self._connection, at)


def _of_contract(contract_id: str) -> ColumnElement[bool]:
    # "0" comes after "/": all that begins with the id and a slash.
    root = PROPERTY.c.root
    return and_(root >= f"{contract_id}/", root < f"{contract_id}0")


def _lock(row: Row[*tuple[Any, ...]]) -> Lock:
    values = row._asdict()
    inside = values["inside"]
    values["inside"] = tuple(inside.split("/")) if inside else ()
    values["scope"] = Scope(values["scope"])
    return Lock(**values)
