"""How much lies on the disk: walking over all of a folder by descriptors."""

import os
from collections.abc import Collection, Iterator
from typing import Final

from server.model.errors import NotFolderError, NotFoundError
from server.model.quota import Usage
from server.storage.disk import QUARANTINE, TRASH, Disk
from server.storage.errors import translated
from server.storage.file import attributes_of, entries, require_kept_kind
from server.storage.port import Attributes

CONTRACT: Final = "contract"
"""The scope that is all of a contract; others are named `area-id`."""
_AREAS: Final = (QUARANTINE, TRASH)
"""What is staged counts as it was reserved."""
_ROOTS: Final = ("private", "shared")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
Parts = tuple[str, ...]


def inode_name(attributes: Attributes) -> str:
    """The name under which a counter holds a file that is written in place."""
    return f"#{attributes.inode:x}"


def everything(disk: Disk, top: Parts) -> Iterator[Attributes]:
    """What lies at a place, and below it; nothing when nothing does."""
    try:
        with translated(), disk.opened(top, os.O_PATH) as fd:
            status = os.fstat(fd)
            require_kept_kind(status)
    except (NotFoundError, NotFolderError):
        return
    found = attributes_of(status)
    yield found
    if found.is_folder:
        yield from below(disk, top)


def below(disk: Disk, top: Parts) -> Iterator[Attributes]:
    """What lies below a folder."""
    waiting = [top]
    while waiting:
        here = waiting.pop()
        try:
            with translated():
                fd = disk.open(here, _FOLDER)
        except (NotFoundError, NotFolderError):
            continue  # gone meanwhile, or never there
        for name, attributes in entries(fd):
            yield attributes
            if attributes.is_folder:
                waiting.append((*here, name))


def standing(disk: Disk, contract_id: str, scope: str, held: Collection[str]) -> Usage:
    """What a scope holds, staged files and what its counter holds left out.

    Args:
        disk: Where.
        contract_id: Whose.
        scope: `contract`, or a root as `area-id`.
        held: Inodes whose bytes are left out.
    """
    stored = files = 0
    for attributes in _of_scope(disk, contract_id, scope):
        files += 1
        if not held or inode_name(attributes) not in held:
            stored += attributes.size
    return Usage(stored, files)


def _of_scope(disk: Disk, contract_id: str, scope: str) -> Iterator[Attributes]:
    if scope != CONTRACT:
        area, _, root = scope.partition("-")
        yield from below(disk, (contract_id, area, root))
        return
    for area in _AREAS:
        yield from below(disk, (contract_id, area))
    for area in _ROOTS:
        for root in _names(disk, (contract_id, area)):
            yield from below(disk, (contract_id, area, root))


def _names(disk: Disk, parts: Parts) -> list[str]:
    try:
        with translated():
            return [name for name, _ in entries(disk.open(parts, _FOLDER))]
    except NotFoundError:
        return []
