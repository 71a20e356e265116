"""What lies below a folder: listed, or told when an act takes or replaces all of it.

Then there is one record of the act for each file, before the effect: afterwards nobody
could tell what was there.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from server.audit.gate import Act
from server.model.errors import NotEmptyError, NotFolderError, PathRefusedError
from server.model.folder import MacFiles
from server.model.name import is_mac_file
from server.model.operation import Right
from server.model.path import DEPTH_MAX, PATH_BYTES_MAX, VirtualPath
from server.storage.port import Attributes, Batch, Location, Storage
from server.vfs.entry import Entry, entry_of
from server.vfs.ground import Ground
from server.vfs.naming import listed, told
from server.vfs.tree import Place

if TYPE_CHECKING:
    from server.model.event import Fields

Inside = tuple[str, ...]
"""A path below the folder."""

Found = Iterator[tuple[str, Attributes]]
"""Names in a folder, and what is there."""


def entries_of(ground: Ground, place: Place) -> Iterator[Entry]:
    """What a folder holds that the session may know of.

    Raises:
        ServerError: The folder cannot be listed; later there is nothing to raise.
    """
    found = chain.from_iterable(batches_of(ground, place))
    return (entry_of(place.path.child(name), attributes) for name, attributes in found)


def batches_of(ground: Ground, place: Place) -> Iterator[Batch]:
    """As `entries_of`, for who needs no more than names and attributes; many at a time.

    Raises:
        ServerError: The folder cannot be listed; later there is nothing to raise.
    """
    if place.location is None:
        return iter([[*_virtual(ground, place.path)]])
    # The scan opens the folder now, so that its errors come with the call.
    found = listed(ground.storage, place, ground.storage.batches(place.location))
    if Right.LIST in place.rights:
        return found
    return ([*_leading_on(ground, place, batch)] for batch in found)


def _leading_on(ground: Ground, place: Place, batch: Batch) -> Found:
    for name, attributes in batch:
        if _leads_on(ground, place.path.child(name)):
            yield name, attributes


def _leads_on(ground: Ground, path: VirtualPath) -> bool:
    place = ground.tree.place(path)
    return place.passable or bool(place.rights)


def _virtual(ground: Ground, path: VirtualPath) -> Found:
    for name in ground.tree.virtual_names(path):
        child = ground.tree.place(path.child(name))
        if child.location is not None:
            ground.storage.prepare(child.location.root)
        found = ground.found(child)
        if found is not None:
            yield name, found


def hides_files(ground: Ground, place: Place) -> bool:
    """Whether a folder that looks empty holds files of macOS.

    Raises:
        NotFolderError: It is a file.
        NotEmptyError: It holds something that a listing shows.
    """
    if not ground.must_find(place).is_folder:
        raise NotFolderError("That is a file.")
    hiding, held = place.rules.mac_files is not MacFiles.KEEP, False
    for name, _ in ground.storage.scan(place.stored()):
        if not hiding or not is_mac_file(name):
            raise NotEmptyError("The folder is not empty.")
        held = True
    return held


def tell_children(
    act: Act, storage: Storage, place: Place, target: Place | None = None
) -> None:
    """Tell each file below a folder, and where it goes if it goes anywhere.

    Raises:
        PathRefusedError: Something would lie too deep below `target` to be named.
    """
    for inside, attributes in walk(storage, place.stored()):
        moved = None if target is None else _named(target, inside)
        if attributes.is_folder:
            continue
        child: Fields = {
            "path": str(_path(place, inside)),
            "size": attributes.size,
        }
        if moved is not None:
            child["target"] = str(moved)
        act.progress(**child)


def tell_replaced(act: Act, storage: Storage, place: Place) -> None:
    """Tell each file of a folder that another one takes the place of."""
    for inside, attributes in walk(storage, place.stored()):
        if not attributes.is_folder:
            act.progress(
                path=str(_path(place, inside)),
                size=attributes.size,
                detail={"replaced": True},
            )


def _path(place: Place, inside: Inside) -> VirtualPath:
    return VirtualPath((*place.path.parts, *map(told, inside)))


def _named(target: Place, inside: Inside) -> VirtualPath:
    path = _path(target, inside)
    if len(path.parts) > DEPTH_MAX:
        raise PathRefusedError("Too many folders in the path.", rule="path_depth")
    if len(str(path).encode()) > PATH_BYTES_MAX:
        raise PathRefusedError("The path is too long.", rule="path_length")
    return path


def walk(storage: Storage, top: Location) -> Iterator[tuple[Inside, Attributes]]:
    """All below a folder, each folder before what it holds."""
    waiting: list[Inside] = [()]
    while waiting:
        inside = waiting.pop()
        for name, attributes in storage.scan(Location(top.root, (*top.parts, *inside))):
            yield (*inside, name), attributes
            if attributes.is_folder:
                waiting.append((*inside, name))
