"""PROPFIND (RFC 4918, section 9.1): properties of a resource or of a folder's members.

The answer streams: as one XML tree a folder of 100,000 files takes half a gigabyte.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from wsgidav import util
from wsgidav.dav_error import DAVError
from wsgidav.xml_tools import etree, make_multistatus_el

from server.webdav.resource import Resource
from server.webdav.status import status_line

PROPERTIES_MAX: Final = 200
"""Named by one request; each is answered for each member, known or not."""
_BLOCK_BYTES: Final = 256 * 1024
_HEAD: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n<D:multistatus xmlns:D="DAV:">'
_END: Final = b"</D:multistatus>"
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
    """Read the request's body; none at all means all properties.

    Raises:
        DAVError: 400, not what section 14.20 describes; 413, too many properties.
    """
    body = util.parse_xml_body(environ, allow_empty=True)
    if body is None:
        return Asked("allprop")
    wanted = [node for node in body if node.tag in _MODES]
    if body.tag != "{DAV:}propfind" or len({node.tag for node in wanted}) > 1:
        raise DAVError(HTTPStatus.BAD_REQUEST, "That is no propfind.")
    names = tuple(
        name.tag for node in wanted if node.tag == "{DAV:}prop" for name in node
    )
    if len(names) > PROPERTIES_MAX:
        raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many properties.")
    return Asked(_MODES[wanted[0].tag] if wanted else "named", names)


def answer(
    resources: Iterator[Resource], what: Asked, start_response: Callable[..., Any]
) -> Iterator[bytes]:
    """A multistatus; a small one goes with its length, for old clients."""
    blocks = _blocks(resources, what)
    first, second = next(blocks), next(blocks, None)
    headers = [("Content-Type", "application/xml; charset=utf-8")]
    if second is None:
        headers.append(("Content-Length", str(len(first))))
    start_response(status_line(HTTPStatus.MULTI_STATUS), headers)
    return chain((first,), () if second is None else (second,), blocks)


def _blocks(resources: Iterator[Resource], what: Asked) -> Iterator[bytes]:
    block = bytearray(_HEAD)
    for resource in resources:
        block += _response(resource, what)
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
