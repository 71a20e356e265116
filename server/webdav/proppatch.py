"""PROPPATCH (RFC 4918, section 9.2): all of it is done, or nothing.

Windows' times are those of the file where it has them. Its creation time and its
attribute bits, which no file here has, are kept as dead properties.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from wsgidav import util
from wsgidav.dav_error import (
    DAVError,
    PRECONDITION_CODE_ProtectedProperty,
)
from wsgidav.xml_tools import etree, make_multistatus_el, xml_to_bytes

from server.vfs.entry import Changes
from server.webdav.names import ACCESSED, BITS, CREATED, MODIFIED
from server.webdav.status import status_line

_LANGUAGE: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_HEX: Final = re.compile(r"[0-9A-Fa-f]{8}")
_NS_PER_S: Final = 1_000_000_000
_FAILED_DEPENDENCY: Final = DAVError(HTTPStatus.FAILED_DEPENDENCY)

Element = Any
"""An lxml element; wsgidav ships no types."""


@dataclass(slots=True)
class Update:
    """What a request asks for, and what of it cannot be."""

    values: dict[str, str | None] = field(default_factory=dict)
    """Dead properties; None removes one."""
    changes: Changes = field(default_factory=Changes)
    names: dict[str, DAVError | None] = field(default_factory=dict)
    """Every property that was named, and the error if it cannot be set."""

    @property
    def refused(self) -> bool:
        """Whether any of it cannot be, so that nothing may be."""
        return any(self.names.values())


def update_of(environ: dict[str, Any]) -> Update:
    """Read the request's body.

    Raises:
        DAVError: 400, not what section 14.19 describes.
    """
    body = util.parse_xml_body(environ)
    if body.tag != "{DAV:}propertyupdate":
        raise DAVError(HTTPStatus.BAD_REQUEST, "That is no propertyupdate.")
    update = Update()
    for action in body:
        if action.tag not in {"{DAV:}set", "{DAV:}remove"}:
            continue  # section 17: unknown elements are ignored
        for prop in action.findall("{DAV:}prop"):
            for element in prop.iterchildren(tag=etree.Element):
                _note(update, element, remove=action.tag == "{DAV:}remove")
    return update


def answer(
    href: str, update: Update, start_response: Callable[..., Any]
) -> list[bytes]:
    """A multistatus with each property's own status (section 9.2.1)."""
    told = [
        (name, error or (_FAILED_DEPENDENCY if update.refused else None))
        for name, error in update.names.items()
    ]
    found = make_multistatus_el()
    util.add_property_response(found, href, told)
    for error in update.names.values():
        if error is not None:
            _explain(found[0], error)
    xml: bytes = xml_to_bytes(found)
    headers = [
        ("Content-Type", "application/xml; charset=utf-8"),
        ("Content-Length", str(len(xml))),
    ]
    start_response(status_line(HTTPStatus.MULTI_STATUS), headers)
    return [xml]


def _explain(response: Element, error: DAVError) -> None:
    status = f"HTTP/1.1 {status_line(error.value)}"
    for part in response.findall("{DAV:}propstat"):
        if part.findtext("{DAV:}status") != status or part.find("{DAV:}error"):
            continue
        condition = error.err_condition
        if condition is not None:
            told = etree.SubElement(part, "{DAV:}error")
            etree.SubElement(told, condition.condition_code)
        described = etree.SubElement(part, "{DAV:}responsedescription")
        described.text = error.context_info
        return


def _note(update: Update, element: Element, *, remove: bool) -> None:
    """Later instructions win over earlier ones of the same property (section 9.2)."""
    name = element.tag
    update.names[name] = None
    if name.startswith("{DAV:}") or (remove and name in {MODIFIED, ACCESSED}):
        update.names[name] = DAVError(
            HTTPStatus.FORBIDDEN,
            "This property is the server's own.",
            err_condition=PRECONDITION_CODE_ProtectedProperty,
        )
        return
    try:
        if name in {MODIFIED, ACCESSED}:
            field_name = "mtime_ns" if name == MODIFIED else "atime_ns"
            when = nanoseconds(element.text or "")
            update.changes = replace(update.changes, **{field_name: when})
            return
        if not remove:
            _require_form(name, element.text or "")
        update.values[name] = None if remove else xml_of(element)
    except DAVError as error:
        update.names[name] = error


def _require_form(name: str, text: str) -> None:
    if name == CREATED:
        nanoseconds(text)
    elif name == BITS and not _HEX.fullmatch(text.strip()):
        raise DAVError(HTTPStatus.CONFLICT, "Attributes are eight hexadecimal digits.")


def nanoseconds(date: str) -> int:
    """An HTTP date as nanoseconds since 1970.

    Raises:
        DAVError: 409, it is none.
    """
    try:
        return int(parsedate_to_datetime(date).timestamp()) * _NS_PER_S
    except (ValueError, OverflowError) as error:
        raise DAVError(HTTPStatus.CONFLICT, "That is no HTTP date.") from error


def xml_of(element: Element) -> str:
    """The element as it is kept, with the language that it stood in (section 4.3)."""
    if element.get(_LANGUAGE) is None:
        around = (one.get(_LANGUAGE) for one in element.iterancestors())
        language = next((one for one in around if one is not None), None)
        if language is not None:
            element.set(_LANGUAGE, language)
    text: str = etree.tostring(element, encoding="unicode", with_tail=False)
    return text
