"""What a TLS client offers in its first message (RFC 8446, section 4.1.2).

Read only to tell why a handshake failed, never to decide anything.
"""

import struct
from typing import Final

from server.model.event import Json

HELLO_BYTES_MAX: Final = 4096
CLEARTEXT_CHARACTERS_MAX: Final = 80
_VERSIONS: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD_BYTES: Final = 5
_FIXED_BYTES: Final = 4 + 2 + 32
_SUPPORTED_VERSIONS: Final = 43


def offered(hello: bytes) -> Json:
    """The versions that a client offers, newest first, or the text that it sent.

    Args:
        hello: The first bytes of the connection, perhaps not all of the message.
    """
    if len(hello) < _RECORD_BYTES + _FIXED_BYTES or hello[0] != _HANDSHAKE:
        line = hello.partition(b"\n")[0].rstrip(b"\r").decode("latin-1")
        kept = "".join(c if " " <= c <= "~" else "?" for c in line)
        return kept[:CLEARTEXT_CHARACTERS_MAX]
    if hello[_RECORD_BYTES] != _CLIENT_HELLO:
        return ""
    body = hello[_RECORD_BYTES + 4 :]
    versions = {int.from_bytes(body[:2])}
    try:
        versions = _supported(body[34:]) or versions
    except (struct.error, IndexError):
        versions |= set()  # cut short: the older field is all there is
    found: list[Json] = [
        _VERSIONS[number]
        for number in sorted(versions, reverse=True)
        if number in _VERSIONS
    ]
    return found


def _supported(rest: bytes) -> set[int]:
    """The versions of the extension `supported_versions`; none if it is not there."""
    rest = rest[1 + rest[0] :]
    (length,) = struct.unpack_from(">H", rest)
    rest = rest[2 + length :]
    rest = rest[1 + rest[0] :]
    rest = rest[2:]
    while len(rest) >= 4:  # noqa: PLR2004 - a type and a length
        kind, length = struct.unpack_from(">HH", rest)
        if kind == _SUPPORTED_VERSIONS:
            numbers = rest[5 : 4 + length]
            pairs = zip(numbers[::2], numbers[1::2], strict=False)
            return {high << 8 | low for high, low in pairs}
        rest = rest[4 + length :]
    return set()
