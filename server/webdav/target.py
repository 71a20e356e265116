"""What a request is about: paths, percent-decoded once and otherwise untouched.

What comes out is the raw text that the VFS parses and records; wsgidav would already
have collapsed `..` and taken a `;` in a Destination for the end of the name.
"""

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from wsgidav import util
from wsgidav.dav_error import DAVError

from server.model.errors import PathRefusedError
from server.model.path import VirtualPath
from server.vfs.view import View


def view_of(environ: dict[str, Any]) -> View:
    """The view that the gate put into the environ."""
    view: View = environ["kagikura.view"]
    return view


_IF: Final = re.compile(r"(?:\s*+(?:<[^>]++>|\([^)]++\)))++\s*+")
"""Tags and lists, one after the other. It never tries a character twice: wsgidav's
search for the parts of a malformed one takes the square of its length."""


def parse_if(environ: dict[str, Any]) -> None:
    """Have wsgidav read the If header; once for a request.

    Raises:
        DAVError: 400, it is malformed.
    """
    value = environ.get("HTTP_IF")
    if value is not None and not _IF.fullmatch(value):
        raise DAVError(400, "The If header is malformed.")
    util.parse_if_header_dict(environ)


def tokens_of(environ: dict[str, Any]) -> frozenset[str]:
    """The lock tokens of the request's If header (RFC 4918, section 10.4).

    Office shows the one of a PUT in Lock-Token, which is for UNLOCK by the standard.

    Raises:
        DAVError: As `parse_if`.
    """
    parse_if(environ)
    shown = environ.get("HTTP_LOCK_TOKEN", "").strip("<> ")
    return frozenset(environ["wsgidav.ifLockTokenList"]) | {shown} - {""}


def decoded(path: str) -> str:
    """The text of a percent-encoded path; bytes that are no UTF-8 as surrogates.

    Args:
        path: As WSGI gives it, each character one byte.

    Raises:
        PathRefusedError: An encoded slash; one server's separator is another one's
            letter. Not on record yet.
    """
    if "%2f" in path.lower():
        raise PathRefusedError(
            "A name cannot hold an encoded slash.", rule="encoded_slash"
        )
    octets = unquote_to_bytes(path.encode("latin-1"))
    return octets.decode("utf-8", "surrogateescape")


def requested(environ: dict[str, Any]) -> str:
    """The path of the request.

    Raises:
        PathRefusedError: As `decoded`.
    """
    target = str(environ["REQUEST_URI"])
    if target == "*" or not target.startswith("/"):
        return "/"  # OPTIONS alone may come so
    return decoded(target.partition("?")[0])


def destination(environ: dict[str, Any]) -> str:
    """The path that a COPY or MOVE leads to (RFC 4918, section 10.3).

    Raises:
        DAVError: 400 when missing or malformed; 502 when it lies on another server.
        PathRefusedError: As `decoded`.
    """
    value = environ.get("HTTP_DESTINATION", "")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise DAVError(400, "The Destination is malformed.") from error
    if not parts.path.startswith("/") or parts.query or parts.fragment:
        raise DAVError(400, "The Destination is missing or malformed.")
    if parts.scheme and parts.scheme.lower() != environ["wsgi.url_scheme"]:
        raise DAVError(502, "The Destination lies on another server.")
    if parts.netloc and parts.netloc.lower() != environ.get("HTTP_HOST", "").lower():
        raise DAVError(502, "The Destination lies on another server.")
    return decoded(parts.path)


def overwrites(environ: dict[str, Any]) -> bool:
    """Whether a COPY or MOVE may replace something (RFC 4918, section 10.6).

    Raises:
        DAVError: 400, neither T nor F.
    """
    value = str(environ.get("HTTP_OVERWRITE", "T")).upper()
    if value not in {"T", "F"}:
        raise DAVError(400, "Overwrite must be T or F.")
    return value == "T"


def deep_transfer(environ: dict[str, Any], *, moves_folder: bool) -> bool:
    """Whether a COPY or MOVE takes along what lies below (RFC 4918, 9.8.3, 9.9.2).

    Raises:
        DAVError: 400, another Depth than these methods have.
    """
    depth = environ.get("HTTP_DEPTH", "infinity")
    if depth not in {"0", "infinity"} or (moves_folder and depth == "0"):
        raise DAVError(400, "Depth must be 0 or infinity.")
    return bool(depth == "infinity")


def canonical(view: View, raw: str) -> VirtualPath:
    """The path that `raw` means, for lock names; the VFS parses for itself.

    Raises:
        PathRefusedError: The spelling is not acceptable; the VFS records that.
    """
    return VirtualPath.sent_by(view.session.actor, raw)


def tagged(view: View, url: str) -> VirtualPath | None:
    """The path of a URL in an `If:` header, or None when it names nothing here."""
    try:
        return canonical(view, decoded(urlsplit(url).path))
    except (DAVError, PathRefusedError, ValueError):
        return None
