"""Rows of dead properties: read, written, moved and copied with what they belong to.

A resource is `folder` (which ends in `/`, or is empty) and `file`. All below one is a
range of `folder`, so that a tree moves in two statements whatever it holds.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from server.storage.port import Location
from server.storage.tables import PROPERTY

_ROW = PROPERTY.c


def properties_at(connection: Connection, at: Location) -> dict[str, str]:
    """The properties of a resource: XML by name."""
    query = select(_ROW.name, _ROW.value).where(_is(at)).order_by(_ROW.name)
    return {row.name: row.value for row in connection.execute(query)}


def properties_in(connection: Connection, at: Location) -> dict[str, dict[str, str]]:
    """Those of a folder's members by their names; its own under the empty name."""
    members = and_(_ROW.folder == _folder(at), _ROW.file != "")
    query = (
        select(_ROW.folder, _ROW.file, _ROW.name, _ROW.value)
        .where(_ROW.root == str(at.root), or_(members, _is(at)))
        .order_by(_ROW.folder, _ROW.file, _ROW.name)
    )
    own = _parent(at)
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(query):
        name = "" if (row.folder, row.file) == own else row.file
        found.setdefault(name, {})[row.name] = row.value
    return found


def any_below(connection: Connection, at: Location) -> bool:
    """Whether a resource, or anything below it, has properties."""
    query = select(_ROW.name).where(or_(_is(at), _below(at))).limit(1)
    return connection.execute(query).first() is not None


def write_properties(
    connection: Connection, at: Location, values: Mapping[str, str | None]
) -> None:
    """Set properties of a resource; None removes one."""
    if not values:
        return
    connection.execute(delete(PROPERTY).where(_is(at), _ROW.name.in_(list(values))))
    folder, file = _parent(at)
    rows = [
        {
            "root": str(at.root),
            "folder": folder,
            "file": file,
            "name": name,
            "value": value,
        }
        for name, value in values.items()
        if value is not None
    ]
    if rows:
        connection.execute(insert(PROPERTY), rows)


def drop_below(connection: Connection, at: Location) -> None:
    """Forget the properties of a resource and of all below it."""
    connection.execute(delete(PROPERTY).where(or_(_is(at), _below(at))))


def move_below(connection: Connection, at: Location, to: Location) -> None:
    """Let the properties of a resource and of all below it lie at `to`.

    What another resource left at `to` goes: nothing of it is there any more.
    """
    drop_below(connection, to)
    folder, file = _parent(to)
    connection.execute(
        update(PROPERTY)
        .where(_is(at))
        .values(root=str(to.root), folder=folder, file=file)
    )
    connection.execute(
        update(PROPERTY)
        .where(_below(at))
        .values(root=str(to.root), folder=_moved(at, to))
    )


def copy_below(
    connection: Connection, at: Location, to: Location, *, deep: bool
) -> None:
    """Copy the properties of a resource and, if `deep`, of all below it."""
    drop_below(connection, to)
    folder, file = _parent(to)
    root = literal(str(to.root))
    names = ["root", "folder", "file", "name", "value"]
    alone = select(root, literal(folder), literal(file), _ROW.name, _ROW.value)
    connection.execute(insert(PROPERTY).from_select(names, alone.where(_is(at))))
    if deep:
        tree = select(root, _moved(at, to), _ROW.file, _ROW.name, _ROW.value)
        connection.execute(insert(PROPERTY).from_select(names, tree.where(_below(at))))


def _is(at: Location) -> ColumnElement[bool]:
    folder, file = _parent(at)
    return and_(_ROW.root == str(at.root), _ROW.folder == folder, _ROW.file == file)


def _below(at: Location) -> ColumnElement[bool]:
    folder = _folder(at)
    below: tuple[ColumnElement[bool], ...] = (_ROW.root == str(at.root),)
    if folder:
        # "0" comes after "/", so this is the folder with all that begins with it.
        below += (_ROW.folder >= folder, _ROW.folder < folder[:-1] + "0")
    else:
        below += (_ROW.file != "",)
    return and_(*below)


def _moved(at: Location, to: Location) -> ColumnElement[Any]:
    rest = func.substr(_ROW.folder, len(_folder(at)) + 1)
    return literal(_folder(to)).concat(rest)


def _parent(at: Location) -> tuple[str, str]:
    """`folder` and `file` of a resource."""
    if not at.parts:
        return "", ""
    return "".join(f"{part}/" for part in at.parts[:-1]), at.parts[-1]


def _folder(at: Location) -> str:
    """What `folder` is for the members of a resource."""
    return "".join(f"{part}/" for part in at.parts)
