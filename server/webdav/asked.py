"""What a PROPFIND asks for (RFC 4918, section 14.20)."""

import io
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from wsgidav import util
from wsgidav.dav_error import DAVError

PROPERTIES_MAX: Final = 200
"""Named by one request; each is answered for each member, known or not."""
_REMEMBERED: Final = 32
_REMEMBERED_BYTES_MAX: Final = 4096
_MODES: Final = {
    "{DAV:}allprop": "allprop",
    "{DAV:}propname": "name",
    "{DAV:}prop": "named",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants to know of each resource."""

    mode: str
    """`allprop`, `name` or `named`, as wsgidav has it."""
    names: tuple[str, ...] = ()


def asked(environ: dict[str, Any]) -> Asked:
    """Read the request's body, which `take_xml` has checked; none means all.

    Raises:
        DAVError: 400, not what section 14.20 describes; 413, too many properties.
    """
    xml = environ["wsgi.input"].read()
    return _kept(xml) if len(xml) <= _REMEMBERED_BYTES_MAX else _read(xml)


def _read(xml: bytes) -> Asked:
    stream = {"CONTENT_LENGTH": str(len(xml)), "wsgi.input": io.BytesIO(xml)}
    body = util.parse_xml_body(stream, allow_empty=True)
    if body is None:
        return Asked("allprop")
    wanted = [node for node in body if node.tag in _MODES]
    if body.tag != "{DAV:}propfind" or len({node.tag for node in wanted}) > 1:
        raise DAVError(HTTPStatus.BAD_REQUEST, "That is no propfind.")
    names = tuple(
        str(name.tag)
        for node in wanted
        if node.tag == "{DAV:}prop"
        for name in node
        if isinstance(name.tag, str)  # no comment
    )
    if len(names) > PROPERTIES_MAX:
        raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many properties.")
    return Asked(_MODES[wanted[0].tag] if wanted else "named", names)


_kept = lru_cache(_REMEMBERED)(_read)
