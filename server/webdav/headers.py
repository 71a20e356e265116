"""A strict reader of a request's head, RFC 9112.

What two parsers could read differently is refused, for that is what request smuggling
lives from: two lengths, a length beside a transfer coding, a header folded over lines,
names that WSGI would melt together. Nothing here says where a client comes from; no
header ever does.
"""

import re
from io import BytesIO
from typing import Final

from cheroot.server import HeaderReader

HEADERS_MAX: Final = 100

REQUEST_LINE: Final = re.compile(rb"[A-Z]{1,20} [!-~]{1,16384} HTTP/1\.[01]\r\n")
"""Method, target and version, each separated by one space (section 3)."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Z_a-z]{1,128}")
"""A token (RFC 9110, section 5.6.2)."""
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")

_ONCE: Final = frozenset({
    b"Authorization",
    b"Connection",
    b"Content-Length",
    b"Content-Range",
    b"Content-Type",
    b"Depth",
    b"Destination",
    b"Expect",
    b"Host",
    b"If",
    b"If-Modified-Since",
    b"If-Range",
    b"If-Unmodified-Since",
    b"Lock-Token",
    b"Overwrite",
    b"Range",
    b"Timeout",
    b"Transfer-Encoding",
    b"X-Expected-Entity-Length",
})
_FORGOTTEN: Final = frozenset({b"Forwarded", b"Proxy", b"X-Real-Ip"})


class StrictHeaderReader(HeaderReader):
    """Reads the header lines of one request."""

    def __call__(
        self, rfile: BytesIO, hdict: dict[bytes, bytes] | None = None
    ) -> dict[bytes, bytes]:
        """Read up to the empty line.

        Args:
            rfile: Stands behind the request line.
            hdict: Filled and returned; names in title case.

        Raises:
            ValueError: The head breaks RFC 9112, or could be read in two ways.
        """
        headers = {} if hdict is None else hdict
        for _ in range(HEADERS_MAX):
            line = rfile.readline()
            if line == b"\r\n":
                _require_framing(headers)
                return headers
            _add(headers, line)
        raise ValueError("Too many header lines.")


def _add(headers: dict[bytes, bytes], line: bytes) -> None:
    if not line.endswith(b"\r\n"):
        raise ValueError("HTTP requires CRLF terminators.")
    name, colon, value = line[:-2].partition(b":")
    value = value.strip(b" \t")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError("Illegal header name.")
    if not _VALUE.fullmatch(value):
        raise ValueError("Illegal header value.")
    name = name.title()
    if _is_forgotten(name):
        return
    if name not in headers:
        headers[name] = value
    elif name in _ONCE:
        raise ValueError("A header that must stand alone was sent twice.")
    else:
        headers[name] += b", " + value


def _is_forgotten(name: bytes) -> bool:
    """Whether a header is as if it had not been sent.

    One with an underscore, as Office sends, is: WSGI cannot tell it from a hyphen.

    Raises:
        ValueError: It could be taken for one that counts.
    """
    if b"_" in name:
        if name.replace(b"_", b"-").title() in _ONCE:
            raise ValueError("Illegal header name.")
        return True
    return name in _FORGOTTEN or name.startswith(b"X-Forwarded-")


def _require_framing(headers: dict[bytes, bytes]) -> None:
    length = headers.get(b"Content-Length")
    coding = headers.get(b"Transfer-Encoding")
    if length is not None and not _LENGTH.fullmatch(length):
        raise ValueError("Content-Length is no plain number.")
    if length is not None and coding is not None:
        raise ValueError("Content-Length and Transfer-Encoding exclude each other.")
    if not _HOST.fullmatch(headers.get(b"Host", b"")):
        raise ValueError("Illegal Host.")
