"""Which stored name a client means, and which stored names a listing shows.

Names are stored in NFC. Data that was copied to the disk by other ways may bear NFD
names, and a device with a character set of its own cannot write every name: what is
not there under the name that came is looked for under its other spellings.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace

from server.model.charset import Charset
from server.model.errors import ServerError
from server.model.folder import MacFiles
from server.model.name import is_mac_file
from server.model.path import VirtualPath
from server.storage.port import Attributes, Batch, Location, Storage
from server.vfs.tree import Place, Tree


def settled(storage: Storage, tree: Tree, place: Place, charset: Charset) -> Place:
    """The place with the names that the disk has, as far as the disk has any.

    Raises:
        RightsRefusedError: Under its real name there is no grant on it.
    """
    at = place.location
    if at is None or not any(charset.spellings(part) for part in at.parts):
        return place
    if _is_there(storage, at):
        return place
    parts = _stored_parts(storage, at, charset)
    if parts == at.parts:
        return place
    above = place.path.parts[: len(place.path.parts) - len(parts)]
    found = tree.place(VirtualPath((*above, *map(told, parts))))
    return replace(found, location=replace(found.stored(), parts=parts))


def told(name: str) -> str:
    """A stored name as clients and records are told it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def listed(storage: Storage, place: Place, found: Iterable[Batch]) -> Iterator[Batch]:
    """What of a folder's content is shown, by the names that clients may use."""
    hiding = place.rules.mac_files is not MacFiles.KEEP
    for batch in found:
        if _plain(batch, hiding=hiding):
            yield batch
        else:
            yield [*_shown(storage, place, batch, hiding=hiding)]


def _plain(batch: Batch, *, hiding: bool) -> bool:
    """Whether there is nothing to do about a whole batch, as for most; at one look."""
    names = "/".join(["", *[name for name, _ in batch]])
    # Each part of a text in NFC is in NFC; what macOS leaves begins with a dot.
    return unicodedata.is_normalized("NFC", names) and not (hiding and "/." in names)


def _shown(
    storage: Storage, place: Place, batch: Batch, *, hiding: bool
) -> Iterator[tuple[str, Attributes]]:
    for name, attributes in batch:
        shown = told(name)
        if shown != name and _is_there(storage, _child(place, shown)):
            continue  # its twin has the name; this one is reached when that is gone
        if not hiding or not is_mac_file(shown):
            yield shown, attributes


def _stored_parts(storage: Storage, at: Location, charset: Charset) -> tuple[str, ...]:
    parts: tuple[str, ...] = ()
    for depth, name in enumerate(at.parts):
        for spelling in (name, *charset.spellings(name)):
            if _is_there(storage, replace(at, parts=(*parts, spelling))):
                parts = (*parts, spelling)
                break
        else:
            return (*parts, *at.parts[depth:])
    return parts


def _is_there(storage: Storage, at: Location) -> bool:
    try:
        storage.attributes(at)
    except ServerError:
        return False
    return True


def _child(place: Place, name: str) -> Location:
    at = place.stored()
    return replace(at, parts=(*at.parts, name))
