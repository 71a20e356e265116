"""What a front end sees of a file or folder, and what it may ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.model.path import VirtualPath
from server.storage.port import Attributes, Batch, Changes, Space

__all__ = [
    "ETAG_FORMAT",
    "Attributes",
    "Batch",
    "Changes",
    "Disposition",
    "Entry",
    "Judge",
    "Space",
    "entry_of",
    "etag_of",
    "whatever",
]

ETAG_FORMAT: Final = "%x-%x-%x"
"""An entity tag of inode, size and time of the last change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of the virtual file system. Times in nanoseconds since 1970."""

    path: VirtualPath
    is_folder: bool
    size: int
    mode: int
    """Permission bits only."""
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    etag: str
    """Strong validator (RFC 9110, section 8.8.1) without its quotes."""
    attributes: Attributes
    """All that storage found."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name


Judge = Callable[[VirtualPath, Entry | None], None]
"""Looks at what an act meets, before the act begins; raises to prevent it.

Raising leaves no record of the act: whoever judges tells why, with `View.refuse`. Of an
upload that has begun it looks once more, at what is replaced; what it raises then must
be a `ServerError`, for the outcome tells it."""


def whatever(path: VirtualPath, found: Entry | None) -> None:
    """The judge that prevents nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """How a file is opened for writing (SFTP's pflags in our words)."""

    read: bool = False
    create: bool = False
    exclusive: bool = False
    truncate: bool = False
    append: bool = False


def entry_of(path: VirtualPath, attributes: Attributes) -> Entry:
    """Name what storage found."""
    return Entry(
        path=path,
        is_folder=attributes.is_folder,
        size=attributes.size,
        mode=attributes.mode,
        mtime_ns=attributes.mtime_ns,
        atime_ns=attributes.atime_ns,
        ctime_ns=attributes.ctime_ns,
        etag=etag_of(attributes),
        attributes=attributes,
    )


def etag_of(attributes: Attributes) -> str:
    """The strong validator of a file that storage found, without its quotes."""
    return ETAG_FORMAT % (attributes.inode, attributes.size, attributes.mtime_ns)
