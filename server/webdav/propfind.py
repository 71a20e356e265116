"""PROPFIND (RFC 4918, section 9.1): properties of a resource or of a folder's members.

The answer streams: as one XML tree a folder of 100,000 files takes half a gigabyte.
"""

from collections.abc import (
    Callable,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, groupby
from typing import Final

from wsgidav import util
from wsgidav.xml_tools import etree, make_multistatus_el

from server.vfs.entry import Attributes, Batch, Entry, entry_of
from server.vfs.properties import Values
from server.webdav.answer import Streamed
from server.webdav.asked import Asked
from server.webdav.multistatus import Members, Sheet, sheets
from server.webdav.resource import Resource, showable
from server.webdav.status import translated
from server.webdav.target import view_of

_VIRTUAL: Final = frozenset({(), ("shared",)})
"""Folders that are nobody's to lock: their properties differ."""
_BLOCK_BYTES: Final = 32 * 1024
"""At least: mostly what one batch of the scan makes, sent as it is made."""
_HEAD: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n<D:multistatus xmlns:D="DAV:">'
_END: Final = b"</D:multistatus>"


def by_tree(
    resource: Resource, what: Asked, *, deep: bool
) -> Generator[bytes, None, None]:
    """The multistatus of a resource and, if `deep`, of its members, by wsgidav.

    Raises:
        DAVError: The folder cannot be listed; later there is nothing to raise.
    """
    resources = resource.and_members(deep=deep)
    return _blocks(_response(one, what) for one in resources)


def by_text(
    resource: Resource, what: Asked, *, deep: bool
) -> Generator[bytes, None, None]:
    """As `by_tree`, without a tree for what bears no lock and no dead property.

    Raises:
        DAVError: As `by_tree`.
    """
    path = resource.entry.path
    if path.parts in _VIRTUAL:
        return by_tree(resource, what, deep=deep)
    view = view_of(resource.environ)
    batches: Iterator[Batch] = iter(())
    with translated():
        if deep and resource.is_collection:
            batches = view.batches(resource.path)
            dead = view.properties.of_members(path)
        else:
            own = view.properties.at(path)
            dead = {"": own} if own else {}
        unusual = _Unusual(resource, what, dead, view.locks.touched(path))
    return _blocks(_texts(resource, what, batches, unusual))


@dataclass(frozen=True, slots=True)
class _Unusual:
    """Whose properties are more than text: locks, dead properties, quotas."""

    folder: Resource
    what: Asked
    dead: Mapping[str, Values]
    locked: Container[str]

    def __bool__(self) -> bool:
        """Whether anybody may have such."""
        return bool(self.dead or self.locked)

    def __contains__(self, name: str) -> bool:
        """Whether a member, or with "" the folder itself, has such."""
        return name in self.dead or name in self.locked

    def responses(self, batch: Batch) -> bytes:
        """The response elements of members."""
        path = self.folder.entry.path
        entries = (entry_of(path.child(name), found) for name, found in batch)
        return b"".join([self.response(entry.name, entry) for entry in entries])

    def response(self, name: str, entry: Entry) -> bytes:
        """The response element of one of them."""
        dead = self.dead.get(name, {})
        return _response(Resource(entry, self.folder.environ, dead), self.what)


def _texts(
    resource: Resource, what: Asked, batches: Iterator[Batch], unusual: _Unusual
) -> Iterator[bytes]:
    of_files, of_folders = sheets(what)
    base, entry = resource.get_href(), resource.entry

    def sheet_of(name: str, found: Attributes) -> Sheet | None:
        sheet = of_folders if found.is_folder else of_files
        return sheet if sheet.complete and name not in unusual else None

    own = sheet_of("", entry.attributes)
    if own is None:
        yield unusual.response("", entry)
    else:
        itself = Members([(entry.name, entry.attributes)], [""])
        yield own.responses(base.removesuffix("/"), itself)
    for batch in map(_showable, batches):
        for sheet, some in _runs(batch, sheet_of, of_files if not unusual else None):
            if sheet is None:
                yield unusual.responses(some)
            else:
                yield sheet.responses(base, Members(some))


def _runs(
    batch: Batch,
    sheet_of: Callable[[str, Attributes], Sheet | None],
    of_files: Sheet | None,
) -> Iterator[tuple[Sheet | None, Batch]]:
    """A batch in parts of one kind each; `of_files` where all files are alike."""
    if of_files is not None and not any(found.is_folder for _, found in batch):
        if batch:
            yield of_files, batch
        return
    for sheet, some in groupby(batch, key=lambda one: sheet_of(*one)):
        yield sheet, [*some]


def _showable(batch: Batch) -> Batch:
    """What a listing tells of; see `showable`."""
    if "".join([name for name, _ in batch]).isprintable():
        return batch
    return [one for one in batch if showable(one[0])]


def answer(blocks: Generator[bytes, None, None]) -> Streamed:
    """A multistatus; a small one goes with its length, for old clients."""
    first, second = next(blocks), next(blocks, None)
    headers = [("Content-Type", "application/xml; charset=utf-8")]
    if second is None:
        headers.append(("Content-Length", str(len(first))))
    rest = chain((first,), () if second is None else (second,), blocks)
    return Streamed(HTTPStatus.MULTI_STATUS, headers, rest)


def _blocks(responses: Iterable[bytes]) -> Generator[bytes, None, None]:
    block = bytearray(_HEAD)
    for response in responses:
        block += response
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block + _END)


def _response(resource: Resource, what: Asked) -> bytes:
    alone = make_multistatus_el()
    names = list(what.names) if what.mode == "named" else None
    properties = resource.get_properties(what.mode, name_list=names)
    util.add_property_response(alone, resource.get_href(), properties)
    response: bytes = etree.tostring(alone[0])
    return response
