"""A resource's part of a multistatus (RFC 4918, section 13), written as text.

A microsecond or two instead of a tree of elements for each file of a folder, because
some hundred are written at a time. It knows the live properties of what bears no lock
and no dead property; for the rest wsgidav's tree is built (`propfind`).
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import repeat
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from server.vfs.entry import ETAG_FORMAT, Attributes, Batch
from server.webdav.asked import Asked
from server.webdav.dates import http_date, iso_date
from server.webdav.hrefs import hrefs_of
from server.webdav.media import content_type
from server.webdav.names import (
    ACCESSED,
    BITS,
    CREATED,
    FILE_BITS,
    FOLDER_BITS,
    LIVE,
    LIVE_OF_FILES,
    MODIFIED,
)

_NS_PER_S: Final = 1_000_000_000
_SHEETS_MAX: Final = 64
_FOUND: Final = "HTTP/1.1 200 OK"
_MISSING: Final = "HTTP/1.1 404 Not Found"
_LOCKS: Final = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope>"
    "<D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in ("exclusive", "shared")
)

_PREFIXES: Final = {
    "DAV:": "D",
    "http://www.w3.org/XML/1998/namespace": "xml",  # no other may be bound to it
}


class Members:
    """Some files, or some folders, of one folder: what is known of them by columns.

    To work through a column takes a fraction of going from member to member.
    """

    __slots__ = (
        "atimes_ns",
        "ctimes_ns",
        "hrefs",
        "inodes",
        "mtimes_ns",
        "names",
        "sizes",
    )

    def __init__(self, batch: Batch, hrefs: list[str] | None = None) -> None:
        """Turn a batch, which is not empty, around.

        Args:
            batch: Names and attributes.
            hrefs: The names' in an href; by default the names percent-encoded.
        """
        names: tuple[str, ...]
        names, found = zip(*batch, strict=True)
        columns: Iterable[tuple[int, ...]] = zip(*found, strict=True)
        by_field = dict(zip(Attributes._fields, columns, strict=True))
        self.names = names
        self.hrefs = hrefs_of(names) if hrefs is None else hrefs
        self.sizes = by_field["size"]
        self.mtimes_ns = by_field["mtime_ns"]
        self.atimes_ns = by_field["atime_ns"]
        self.ctimes_ns = by_field["ctime_ns"]
        self.inodes = by_field["inode"]

    @property
    def created_ns(self) -> Iterable[int]:
        """The earliest time known of each."""
        return map(min, self.ctimes_ns, self.mtimes_ns)


Column = Callable[[Members], Iterable[object]]
"""One value of each member, in their order."""


def _dates(times_ns: Iterable[int], write: Callable[[int], str]) -> Iterable[object]:
    return [write(ns // _NS_PER_S if ns > 0 else 0) for ns in times_ns]


_VALUES: Final[dict[str, tuple[str, tuple[Column, ...]]]] = {
    "{DAV:}creationdate": ("%s", (lambda of: _dates(of.created_ns, iso_date),)),
    "{DAV:}getlastmodified": ("%s", (lambda of: _dates(of.mtimes_ns, http_date),)),
    "{DAV:}displayname": ("%s", (lambda of: map(escape, of.names),)),
    MODIFIED: ("%s", (lambda of: _dates(of.mtimes_ns, http_date),)),
    CREATED: ("%s", (lambda of: _dates(of.created_ns, http_date),)),
    ACCESSED: ("%s", (lambda of: _dates(of.atimes_ns, http_date),)),
}
"""How the value of a property is written, and of which columns."""
_VALUES_OF_FILES: Final[dict[str, tuple[str, tuple[Column, ...]]]] = {
    "{DAV:}getcontentlength": ("%d", (lambda of: of.sizes,)),
    "{DAV:}getcontenttype": ("%s", (lambda of: map(content_type, of.names),)),
    "{DAV:}getetag": (
        f'"{ETAG_FORMAT}"',
        (lambda of: of.inodes, lambda of: of.sizes, lambda of: of.mtimes_ns),
    ),
}
_SAME: Final = {
    "{DAV:}lockdiscovery": "",
    "{DAV:}supportedlock": _LOCKS,
}


class Sheet:
    """What one request asks of each file, or of each folder."""

    def __init__(self, what: Asked, *, folder: bool) -> None:
        """Prepare the text around the values."""
        self._columns: list[Column] = []
        self._folder = folder
        self.complete = not (
            folder and any(n.startswith("{DAV:}quota-") for n in what.names)
        )
        """Whether nothing is asked that must be looked up elsewhere."""
        names = what.names
        if what.mode != "named":
            names = (*LIVE, *(() if folder else LIVE_OF_FILES))
        by_status: dict[str, list[str]] = {}
        for name in names:
            status, element = self._element(name, empty=what.mode == "name")
            by_status.setdefault(status, []).append(element)
        end = "/" if folder else ""
        self._format = f"<D:response><D:href>%s%s{end}</D:href>"
        # As columns are taken in the order of their elements, found ones come first.
        for status in sorted(by_status):
            elements = "".join(by_status[status])
            self._format += (
                f"<D:propstat><D:prop>{elements}</D:prop>"
                f"<D:status>{status}</D:status></D:propstat>"
            )
        self._format += "</D:response>"

    def responses(self, base: str, members: Members) -> bytes:
        """The response elements of files or folders, which must be of the sheet's kind.

        Args:
            base: What their hrefs begin with.
            members: What they are.
        """
        columns = [column(members) for column in self._columns]
        rows = zip(repeat(base), members.hrefs, *columns)
        return "".join(map(self._format.__mod__, rows)).encode()

    def _element(self, name: str, *, empty: bool) -> tuple[str, str]:
        """The status of a property, and its element with a place for its value."""
        values = _VALUES.get(name)
        if values is None and not self._folder:
            values = _VALUES_OF_FILES.get(name)
        same = self._same(name)
        tag, declared = _tag(name)
        if values is None and same is None:
            return _MISSING, f"<{tag}{declared}/>"
        if empty:
            return _FOUND, f"<{tag}{declared}/>"
        if values is not None:
            same, columns = values
            self._columns += columns
        return _FOUND, f"<{tag}{declared}>{same}</{tag}>"

    def _same(self, name: str) -> str | None:
        """The value that all of a kind have; None for none."""
        if name == BITS:
            return FOLDER_BITS if self._folder else FILE_BITS
        if name == "{DAV:}resourcetype":
            return "<D:collection/>" if self._folder else ""
        return _SAME.get(name)


def _tag(name: str) -> tuple[str, str]:
    """A property's tag, and the declaration of its namespace."""
    space, _, local = name.rpartition("}")
    space = space[1:]
    if space in _PREFIXES:
        return f"{_PREFIXES[space]}:{local}", ""
    if not space:
        return local.replace("%", "%%"), ""
    declared = f" xmlns:P={quoteattr(space)}".replace("%", "%%")
    return f"P:{local}", declared


@lru_cache(_SHEETS_MAX)
def sheets(what: Asked) -> tuple[Sheet, Sheet]:
    """The sheets of files and of folders; clients ask the same again and again."""
    return Sheet(what, folder=False), Sheet(what, folder=True)
