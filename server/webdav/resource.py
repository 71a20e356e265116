"""A file or folder as wsgidav asks for it: live properties, members, times."""

import mimetypes
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from itertools import chain
from typing import Any, Final
from urllib.parse import quote

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import _DAVResource
from wsgidav.xml_tools import etree, string_to_xml

from server.model.errors import PathRefusedError
from server.model.path import VirtualPath
from server.vfs.entry import Changes, Entry, Space
from server.webdav.locking import path_of, root_of
from server.webdav.status import translated
from server.webdav.target import view_of

_NS_PER_S: Final = 1_000_000_000
_WIN32: Final = "{urn:schemas-microsoft-com:}"
_IGNORED: Final = frozenset({
    f"{_WIN32}Win32CreationTime",
    f"{_WIN32}Win32LastAccessTime",
    f"{_WIN32}Win32FileAttributes",
})
"""Explorer sets them after each upload and gives up when it may not."""
_MODIFIED: Final = f"{_WIN32}Win32LastModifiedTime"
_LIVE: Final = (
    "{DAV:}resourcetype",
    "{DAV:}creationdate",
    "{DAV:}getlastmodified",
    "{DAV:}displayname",
    "{DAV:}lockdiscovery",
    "{DAV:}supportedlock",
)
_LIVE_OF_FILES: Final = (
    "{DAV:}getcontentlength",
    "{DAV:}getcontenttype",
    "{DAV:}getetag",
)


class Resource(_DAVResource):
    """One entry, in the request whose environ names view and session."""

    def __init__(self, entry: Entry, environ: dict[str, Any]) -> None:
        """Show `entry`."""
        super().__init__(str(entry.path), entry.is_folder, environ)
        self.entry = entry
        self._view = view_of(environ)
        self._space: Space | None = None

    # What it is.

    def get_content_length(self) -> int | None:
        """Bytes of a file."""
        return None if self.is_collection else self.entry.size

    def get_content_type(self) -> str | None:
        """The media type that a file's name suggests."""
        return None if self.is_collection else content_type(self.entry.name)

    def get_creation_date(self) -> float:
        """The earliest time that is known, seconds since 1970."""
        return max(0, min(self.entry.ctime_ns, self.entry.mtime_ns)) / _NS_PER_S

    def get_last_modified(self) -> float:
        """The content's last change, seconds since 1970; Finder wants none before."""
        return max(0, self.entry.mtime_ns) / _NS_PER_S

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

    def get_ref_url(self) -> str:
        """The name under which it is locked."""
        return root_of(self._view.session.actor, self.entry.path)

    def prevent_locking(self) -> bool:
        """`/` and `/shared` are nobody's: a lock there would lock out everybody."""
        parts = self.entry.path.parts
        return not parts or parts == ("shared",)

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
        return (Resource(e, self.environ) for e in entries if _showable(e))

    def create_empty_resource(self, name: str) -> "Resource":
        """An empty file, for a LOCK of a URL that holds nothing (RFC 4918, 7.3)."""
        with translated():
            upload = self._view.upload(f"{self.path.rstrip('/')}/{name}", length=0)
            return Resource(upload.commit(), self.environ)

    # Properties.

    def get_property_names(self, *, is_allprop: bool) -> list[str]:  # noqa: ARG002 - wsgidav's signature
        """The live properties; quotas only when asked for (RFC 4331, section 3)."""
        return [*_LIVE, *(() if self.is_collection else _LIVE_OF_FILES)]

    def get_property_value(self, name: str) -> Any:  # noqa: ANN401 - text or an element
        """One property.

        Raises:
            DAVError: 404, there is none of that name.
        """
        if name == "{DAV:}getetag" and not self.is_collection:
            return f'"{self.entry.etag}"'
        if name == "{DAV:}lockdiscovery":
            return self._lock_discovery()
        if name.startswith("{DAV:}quota-") and not self.is_collection:
            raise DAVError(HTTPStatus.NOT_FOUND)
        if name in {_MODIFIED, f"{_WIN32}Win32LastAccessTime"}:
            return formatdate(self.get_last_modified(), usegmt=True)
        return super().get_property_value(name)

    def set_property_value(
        self,
        name: str,
        value: Any,  # noqa: ANN401 - an element, or None to remove
        *,
        dry_run: bool = False,
    ) -> None:
        """Set the times that Explorer sets; nothing else can be set.

        Raises:
            DAVError: 403, another property; 409, no time.
        """
        if name in _IGNORED:
            return
        if name != _MODIFIED or value is None:
            self.environ["kagikura.refused_property"] = True
            raise DAVError(
                HTTPStatus.FORBIDDEN, "This property cannot be set or removed."
            )
        changes = Changes(mtime_ns=_nanoseconds(value.text or ""))
        if not dry_run:
            with translated():
                self._view.set_attributes(self.path, changes)
            self.environ["kagikura.changed"] = True

    def _lock_discovery(self) -> Any:  # noqa: ANN401 - an element
        discovery = etree.Element("{DAV:}lockdiscovery")
        locks = self.provider.lock_manager.get_indirect_url_lock_list(
            self.get_ref_url()
        )
        for lock in locks:
            discovery.append(_active_lock(lock, self._lock_root(lock["root"])))
        return discovery

    def _lock_root(self, root: str) -> str:
        return href_of(path_of(root))


def content_type(name: str) -> str:
    """The media type that a name suggests."""
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"


def href_of(path: str) -> str:
    """A path as an href; some clients choke on escapes that are not needed."""
    return quote(path, safe="/!*'(),$-_|.")


def _active_lock(lock: dict[str, Any], root_href: str) -> Any:  # noqa: ANN401 - an element
    active = etree.Element("{DAV:}activelock")
    locktype = etree.SubElement(active, "{DAV:}locktype")
    etree.SubElement(locktype, "{DAV:}" + lock["type"])
    scope = etree.SubElement(active, "{DAV:}lockscope")
    etree.SubElement(scope, "{DAV:}" + lock["scope"])
    etree.SubElement(active, "{DAV:}depth").text = lock["depth"]
    if lock["owner"]:
        active.append(string_to_xml(lock["owner"]))
    etree.SubElement(active, "{DAV:}timeout").text = f"Second-{int(lock['timeout'])}"
    token = etree.SubElement(active, "{DAV:}locktoken")
    etree.SubElement(token, "{DAV:}href").text = lock["token"]
    root = etree.SubElement(active, "{DAV:}lockroot")
    etree.SubElement(root, "{DAV:}href").text = root_href
    return active


def _nanoseconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp()) * _NS_PER_S
    except (ValueError, OverflowError) as error:
        raise DAVError(HTTPStatus.CONFLICT, "That is no HTTP date.") from error


def _showable(entry: Entry) -> bool:
    # A name that XML cannot hold would spoil the whole listing; only somebody with a
    # shell on the server can have made it.
    if entry.name.isprintable():
        return True
    try:
        VirtualPath.parse("/" + entry.name)
    except PathRefusedError:
        return False
    return True
