"""The small XML bodies of requests: held whole, and checked before they are read."""

import io
from http import HTTPStatus
from typing import Any

from wsgidav.dav_error import DAVError

from server.webdav.body import DRAIN_BYTES_MAX, KnownBody
from server.webdav.upload import body_of


def take_xml(environ: dict[str, Any], bytes_max: int) -> bytes:
    """Hold the body, chunked or not, so that wsgidav can read its length.

    Raises:
        DAVError: 413, too long; 400, a document type, which could hide entities.
    """
    body = body_of(environ)
    if isinstance(body, KnownBody) and body.length_bytes > bytes_max:
        raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The XML is too long.")
    gathered = bytearray()
    while block := body.read(DRAIN_BYTES_MAX):
        gathered += block
        if len(gathered) > bytes_max:
            raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The XML is too long.")
    xml = bytes(gathered)
    # A NUL means UTF-16 or UTF-32, in which a DOCTYPE would look different.
    if b"\0" in xml or b"<!doctype" in xml.lower():
        raise DAVError(HTTPStatus.BAD_REQUEST, "XML with a document type.")
    environ["wsgi.input"] = io.BytesIO(xml)
    environ["CONTENT_LENGTH"] = str(len(xml))
    return xml
