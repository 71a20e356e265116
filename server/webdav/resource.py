"""A file or folder as wsgidav asks for it: live properties, members, times."""

from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import _DAVResource
from wsgidav.xml_tools import string_to_xml

from server.model.errors import PathRefusedError
from server.model.path import VirtualPath
from server.vfs.entry import Entry, Space
from server.vfs.properties import Values
from server.webdav.locking import discovery, supported
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
from server.webdav.proppatch import nanoseconds
from server.webdav.status import translated
from server.webdav.target import view_of

_NS_PER_S: Final = 1_000_000_000
_WIN32: Final = frozenset({BITS, CREATED, MODIFIED, ACCESSED})


class Resource(_DAVResource):
    """One entry, in the request whose environ names view and session."""

    def __init__(
        self, entry: Entry, environ: dict[str, Any], dead: Values | None = None
    ) -> None:
        """Show `entry`; its dead properties are looked up if they are not known."""
        super().__init__(str(entry.path), entry.is_folder, environ)
        self.entry = entry
        self._view = view_of(environ)
        self._space: Space | None = None
        self._dead = dead

    # What it is.

    def get_content_length(self) -> int | None:
        """Bytes of a file."""
        return None if self.is_collection else self.entry.size

    def get_content_type(self) -> str | None:
        """The media type that a file's name suggests."""
        return None if self.is_collection else content_type(self.entry.name)

    def get_creation_date(self) -> int:
        """What a client said, or the earliest time known; whole seconds since 1970."""
        told = self._text_of(CREATED)
        if told:
            with suppress(DAVError):
                return max(0, nanoseconds(told)) // _NS_PER_S
        return max(0, min(self.entry.ctime_ns, self.entry.mtime_ns)) // _NS_PER_S

    def get_last_modified(self) -> int:
        """The content's last change, whole seconds since 1970.

        Finder wants none before. As GET has it: wsgidav would round.
        """
        return max(0, self.entry.mtime_ns) // _NS_PER_S

    def get_etag(self) -> str | None:
        """A file's strong validator, without quotes."""
        return None if self.is_collection else self.entry.etag

    def support_etag(self) -> bool:
        """Files have one."""
        return not self.is_collection

    def support_ranges(self) -> bool:
        """Files are read from any offset."""
        return not self.is_collection

    def get_used_bytes(self) -> int | None:
        """RFC 4331: bytes in use where a folder lies."""
        space = self._room()
        return (
            None
            if space is None
            else (space.blocks - space.blocks_free) * space.block_bytes
        )

    def get_available_bytes(self) -> int | None:
        """RFC 4331: bytes that a folder can still take."""
        space = self._room()
        return None if space is None else space.blocks_free * space.block_bytes

    def _room(self) -> Space | None:
        if self.is_collection and self._space is None:
            with translated():
                self._space = self._view.space(self.path)
        return self._space

    # Where it is.

    def get_member_list(self) -> list["Resource"]:
        """What a folder holds, from one listing."""
        return list(self._members())

    def and_members(self, *, deep: bool) -> Iterator["Resource"]:
        """The resource itself and, if `deep`, what it holds as a folder.

        Raises:
            DAVError: The folder cannot be listed; later there is nothing to raise.
        """
        members = self._members() if deep and self.is_collection else iter(())
        return chain((self,), members)

    def _members(self) -> Iterator["Resource"]:
        with translated():
            entries = self._view.list(self.path)
            dead = self._view.properties.of_members(self.entry.path)
        self._dead = dead.get("", {})
        return (
            Resource(entry, self.environ, dead.get(entry.name, {}))
            for entry in entries
            if showable(entry.name)
        )

    # Properties.

    def get_property_names(self, *, is_allprop: bool) -> list[str]:  # noqa: ARG002 - wsgidav's signature
        """All but the quotas, which come only when asked for (RFC 4331, section 3)."""
        live = (*LIVE, *(() if self.is_collection else LIVE_OF_FILES))
        return [*live, *self._known_dead()]

    def get_property_value(self, name: str) -> Any:  # noqa: ANN401 - text or an element
        """One property.

        Raises:
            DAVError: 404, there is none of that name.
        """
        if name == "{DAV:}getetag" and not self.is_collection:
            return f'"{self.entry.etag}"'
        if name == "{DAV:}lockdiscovery":
            with translated():
                return discovery(self._view, self.entry.path)
        if name == "{DAV:}supportedlock":
            return supported(self.entry.path)
        if name.startswith("{DAV:}quota-") and not self.is_collection:
            raise DAVError(HTTPStatus.NOT_FOUND)
        if name in _WIN32:
            return self._win32(name)
        dead = self._known_dead().get(name)
        return super().get_property_value(name) if dead is None else string_to_xml(dead)

    def _win32(self, name: str) -> str:
        if name == BITS:
            usual = FOLDER_BITS if self.is_collection else FILE_BITS
            return self._text_of(BITS) or usual
        seconds = {
            MODIFIED: self.get_last_modified,
            CREATED: self.get_creation_date,
            ACCESSED: lambda: max(0, self.entry.atime_ns) // _NS_PER_S,
        }
        return formatdate(seconds[name](), usegmt=True)

    def _known_dead(self) -> Values:
        if self._dead is None:
            with translated():
                self._dead = self._view.properties.at(self.entry.path)
        return self._dead

    def _text_of(self, name: str) -> str:
        """The text of a dead property; empty when there is none."""
        xml = self._known_dead().get(name)
        return "" if xml is None else string_to_xml(xml).text or ""


def showable(name: str) -> bool:
    """Whether a listing tells of a name.

    A name that XML cannot hold would spoil the whole listing; only somebody with a
    shell on the server can have made it.
    """
    if name.isprintable():
        return True
    try:
        VirtualPath.parse("/" + name)
    except PathRefusedError:
        return False
    return True
