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
_LENGTH_DIGITS_MAX: Final = 18
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")
_HOST_TEXT: Final = re.compile(_HOST.pattern.decode())

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


Memory = dict[bytes, tuple[str, str]]
"""Header lines of a connection that were read before, as WSGI names and values."""

_PLAIN: Final = re.compile(rb"([A-Z]{3,8}) (/(?!/)[!\"$->@-~]{0,4096}) HTTP/1\.1\r\n")
"""A request line without query, fragment or authority."""
_MEMORY_LINES_MAX: Final = 64
_MEMORY_LINE_BYTES_MAX: Final = 256
_REFUSED: Final = ("", "")


def plain_head(head: bytes, memory: Memory) -> dict[str, str] | None:
    """Read a head about which there is nothing to say, as part of a WSGI environ.

    Args:
        head: With its empty line.
        memory: Grows; a line is read once, whose meaning depends on nothing else.

    Returns:
        None when a look by `StrictHeaderReader` is needed: something is wrong with the
        head, rare, or sent twice.
    """
    line = _PLAIN.match(head)
    if line is None:
        return None
    lines = head[line.end() : -4].split(b"\r\n")
    if len(lines) > HEADERS_MAX:
        return None
    fields = {
        "REQUEST_METHOD": line[1].decode("ascii"),
        "REQUEST_URI": line[2].decode("ascii"),
    }
    for text in lines:
        name, value = memory.get(text) or _remembered(text, memory)
        if name in fields or not name:
            return None
        fields[name] = value
    return fields if _plainly_framed(fields) else None


def _remembered(text: bytes, memory: Memory) -> tuple[str, str]:
    headers: dict[bytes, bytes] = {}
    try:
        _add(headers, text + b"\r\n")
    except ValueError:
        return _REFUSED
    if not headers:
        return _REFUSED  # one that is to be forgotten
    ((raw_name, raw_value),) = headers.items()
    name = raw_name.decode("ascii").upper().replace("-", "_")
    if name not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        name = f"HTTP_{name}"
    read = name, raw_value.decode("latin-1")
    fits = len(memory) < _MEMORY_LINES_MAX and len(text) <= _MEMORY_LINE_BYTES_MAX
    if fits and name != "HTTP_AUTHORIZATION":  # passwords are not kept
        memory[text] = read
    return read


def _plainly_framed(fields: dict[str, str]) -> bool:
    length = fields.get("CONTENT_LENGTH", "0")
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    host = fields.get("HTTP_HOST", "")
    return (
        (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS_MAX)
        and (coding is None or (coding == "chunked" and "CONTENT_LENGTH" not in fields))
        and host != ""
        and _HOST_TEXT.fullmatch(host) is not None
    )


def _require_framing(headers: dict[bytes, bytes]) -> None:
    length = headers.get(b"Content-Length")
    coding = headers.get(b"Transfer-Encoding")
    if length is not None and not _LENGTH.fullmatch(length):
        raise ValueError("Content-Length is no plain number.")
    if length is not None and coding is not None:
        raise ValueError("Content-Length and Transfer-Encoding exclude each other.")
    if not _HOST.fullmatch(headers.get(b"Host", b"")):
        raise ValueError("Illegal Host.")
