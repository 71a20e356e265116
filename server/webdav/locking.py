"""LOCK and UNLOCK (RFC 4918, sections 9.10 and 9.11): between XML and the view's locks.

The rules and the table are the VFS's, one for all protocols; here are only the forms.
"""

from http import HTTPStatus
from typing import Any, Final

from wsgidav import util
from wsgidav.dav_error import (
    DAVError,
    PRECONDITION_CODE_LockTokenMismatch,
)
from wsgidav.xml_tools import etree, make_prop_elem, string_to_xml, xml_to_bytes

from server.model.errors import (
    ConditionFailedError,
    LimitError,
    NotFolderError,
    NotFoundError,
    ServerError,
)
from server.model.identity import Actor
from server.model.lock import Lock, Scope
from server.model.path import VirtualPath
from server.vfs.locking import Held, Wanted
from server.vfs.view import View
from server.webdav.hrefs import href_of
from server.webdav.proppatch import xml_of
from server.webdav.status import dav_error, status_line, translated
from server.webdav.target import canonical, tokens_of

Environ = dict[str, Any]
Element = Any
"""An lxml element; wsgidav ships no types."""

_SCOPES: Final = {f"{{DAV:}}{scope}": scope for scope in Scope}
_OWNER_BYTES_MAX: Final = 4096
_TOKEN_CHARACTERS_MAX: Final = 200
NO_CONFLICT: Final = "{DAV:}no-conflicting-lock"


def principal_of(actor: Actor) -> str:
    """Who asks, as wsgidav names a user."""
    return f"{actor.login}@{actor.contract}"


def wanted(environ: Environ) -> Wanted | None:
    """The lock that a LOCK asks for; None when it prolongs one (section 9.10.2).

    Raises:
        DAVError: 400, not what section 14.11 describes, or no such Depth; 413, the
            owner is too long.
    """
    deep = environ.get("HTTP_DEPTH", "infinity")
    if deep not in {"0", "infinity"}:
        raise DAVError(HTTPStatus.BAD_REQUEST, "Depth must be 0 or infinity.")
    body = util.parse_xml_body(environ, allow_empty=True)
    if body is None:
        return None
    scopes = [_SCOPES[node.tag] for node in body.iter() if node.tag in _SCOPES]
    writes = body.find("{DAV:}locktype/{DAV:}write") is not None
    if body.tag != "{DAV:}lockinfo" or len(scopes) != 1 or not writes:
        raise DAVError(HTTPStatus.BAD_REQUEST, "That is no lockinfo of a write lock.")
    owner = body.find("{DAV:}owner")
    text = "" if owner is None else xml_of(owner)
    if len(text.encode()) > _OWNER_BYTES_MAX:
        raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The owner is too long.")
    return Wanted(
        scope=scopes[0],
        deep=deep == "infinity",
        owner=text,
        timeout_s=_timeout_s(environ),
    )


def taken(view: View, raw: str, environ: Environ, what: Wanted) -> tuple[Lock, bool]:
    """Take a lock; the second value says that it made an empty file.

    Raises:
        DAVError: 423, something is in the way; 409, no folder to make the file in;
            507, too many locks.
    """
    statuses: dict[type[ServerError], int] = {
        NotFoundError: HTTPStatus.CONFLICT,
        NotFolderError: HTTPStatus.CONFLICT,
        LimitError: HTTPStatus.INSUFFICIENT_STORAGE,
    }
    try:
        with translated(statuses):
            return view.locks.take(raw, what, tokens_of(environ))
    except DAVError as error:
        if error.err_condition is not None:
            error.err_condition.condition_code = NO_CONFLICT
        raise


def prolonged(view: View, raw: str, environ: Environ) -> None:
    """Prolong the one lock whose token came with the request.

    Raises:
        DAVError: 400, not one token; 412, it locks nothing here; 403, another's.
    """
    tokens = tokens_of(environ)
    if len(tokens) != 1:
        raise DAVError(
            HTTPStatus.BAD_REQUEST, "Name the one lock to refresh in an If header."
        )
    (token,) = tokens
    try:
        with translated():
            view.locks.prolong(raw, token, _timeout_s(environ))
    except DAVError as error:
        raise _mismatch(error) from error


def released(view: View, raw: str, environ: Environ) -> None:
    """Give back the lock that the Lock-Token header names.

    Raises:
        DAVError: 400, none is named; 409, it locks nothing here; 403, another's.
    """
    token = environ.get("HTTP_LOCK_TOKEN", "").strip("<> ")
    if not token or len(token) > _TOKEN_CHARACTERS_MAX:
        raise DAVError(HTTPStatus.BAD_REQUEST, "Lock-Token is missing or malformed.")
    try:
        with translated({ConditionFailedError: HTTPStatus.CONFLICT}):
            view.locks.release(raw, token)
    except DAVError as error:
        raise _mismatch(error) from error


def answer(
    view: View,
    raw: str,
    start_response: Any,  # noqa: ANN401 - WSGI's
    lock: Lock | None = None,
    *,
    created: bool = False,
) -> list[bytes]:
    """What a LOCK tells: the locks there now, and the token of a new one."""
    prop = make_prop_elem()
    with translated():
        prop.append(discovery(view, canonical(view, raw)))
    xml: bytes = xml_to_bytes(prop)
    headers = [
        ("Content-Type", "application/xml; charset=utf-8"),
        ("Content-Length", str(len(xml))),
    ]
    if lock is not None:
        headers.append(("Lock-Token", f"<{lock.token}>"))
    start_response(
        status_line(HTTPStatus.CREATED if created else HTTPStatus.OK), headers
    )
    return [xml]


def discovery(view: View, path: VirtualPath) -> Element:
    """`DAV:lockdiscovery` (section 15.8) of a path."""
    found = etree.Element("{DAV:}lockdiscovery")
    for held in view.locks.covering(path):
        found.append(_active_lock(held))
    return found


def supported(path: VirtualPath) -> Element:
    """`DAV:supportedlock` (section 15.10); `/` and `/shared` are nobody's to lock."""
    found = etree.Element("{DAV:}supportedlock")
    if path.parts in {(), ("shared",)}:
        return found
    for tag in _SCOPES:
        entry = etree.SubElement(found, "{DAV:}lockentry")
        etree.SubElement(etree.SubElement(entry, "{DAV:}lockscope"), tag)
        kind = etree.SubElement(entry, "{DAV:}locktype")
        etree.SubElement(kind, "{DAV:}write")
    return found


def _active_lock(held: Held) -> Element:
    lock = held.lock
    active = etree.Element("{DAV:}activelock")
    kind = etree.SubElement(active, "{DAV:}locktype")
    etree.SubElement(kind, "{DAV:}write")
    scope = etree.SubElement(active, "{DAV:}lockscope")
    etree.SubElement(scope, f"{{DAV:}}{lock.scope}")
    depth = etree.SubElement(active, "{DAV:}depth")
    depth.text = "infinity" if lock.deep else "0"
    if lock.owner:
        active.append(string_to_xml(lock.owner))
    etree.SubElement(active, "{DAV:}timeout").text = f"Second-{lock.timeout_s}"
    token = etree.SubElement(active, "{DAV:}locktoken")
    etree.SubElement(token, "{DAV:}href").text = lock.token
    root = etree.SubElement(active, "{DAV:}lockroot")
    etree.SubElement(root, "{DAV:}href").text = href_of(held.path)
    return active


def _timeout_s(environ: Environ) -> int | None:
    """The time asked for (section 10.7); None for as long as may be."""
    wanted_s = util.read_timeout_value_header(environ.get("HTTP_TIMEOUT", ""))
    return wanted_s if wanted_s is not None and wanted_s > 0 else None


def _mismatch(error: DAVError) -> DAVError:
    """The same, with the precondition that RFC 4918 names for a token of elsewhere."""
    if not isinstance(error.src_exception, ConditionFailedError):
        return error
    return dav_error(
        error.src_exception,
        status=error.value,
        condition=PRECONDITION_CODE_LockTokenMismatch,
    )
