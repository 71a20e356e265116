"""The chain of a journal as pure functions: canonical JSON, hash, line.

A record is one line. Its *body* is the record as canonical JSON (RFC 8785) without
`hash`; its hash is `SHA-256(0x01 || prev || body)`, where `prev` is the hash of the
stream's record before it (32 zero bytes for the first). The stored line is the body
with `"hash"` added as its last member, so that whoever cuts the last 76 bytes off
the line and closes the brace has the hashed text again without parsing it.
"""

import base64
from hashlib import sha256
from typing import Final, NamedTuple, cast

from msgspec import json

from server.model.event import Fields, Json

GENESIS: Final = "0" * 64
"""`prev` of a stream's first record."""

EXACT_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 7493)."""

_DOMAIN: Final = b"\x01"
_HEAD: Final = b',"hash":"'
_TAIL: Final = b'"}\n'
_SUFFIX_BYTES: Final = len(_HEAD) + 64 + len(_TAIL)

_HEAD_END: Final = -_SUFFIX_BYTES + len(_HEAD)

_LEADS_ABOVE_BMP: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
"""UTF-8 lead bytes of characters above U+FFFF."""


def _plain(value: object) -> str | int:
    """What the encoder does not know by itself: subclasses of text and numbers."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"no record can hold a {type(value).__name__}")


# By code point; that of RFC 8785 differs above U+FFFF only, see `_by_utf16`.
_encode: Final = json.Encoder(order="sorted", enc_hook=_plain).encode
_encode_as_is: Final = json.Encoder(enc_hook=_plain).encode
_decode: Final = json.Decoder().decode


class ChainError(ValueError):
    """A line is no record of the chain; the message says what is wrong with it."""


class Link(NamedTuple):
    """One record as stored."""

    fields: Fields
    """All of it, `prev` and `hash` too."""
    line: bytes
    """With its line feed."""

    @property
    def seq(self) -> int:
        """The number in its stream, from 1."""
        return int(self.fields["id"].rpartition(":")[2])

    @property
    def hash(self) -> str:
        """Lower-case hexadecimal."""
        return self.fields["hash"]


def canonical(fields: Fields) -> bytes:
    """Write a record as RFC 8785 canonical JSON, UTF-8.

    Text that holds lone surrogates (bytes that were no UTF-8) is written as
    `base64:` and the bytes. Integers beyond 2**53 - 1, which RFC 8785 does not
    know, are written in full.
    """
    try:
        body = _encode(fields)
    except UnicodeEncodeError:
        return canonical(cast("Fields", _spell_bytes(cast("Json", fields))))
    if not body.isascii() and any(lead in body for lead in _LEADS_ABOVE_BMP):
        return _encode_as_is(_by_utf16(cast("Json", fields)))
    return body


def seal(fields: Fields) -> tuple[bytes, str]:
    """Chain a record that carries its `prev`.

    Returns:
        The line to store, and its hash.
    """
    body = canonical(fields)
    digest = _digest(fields["prev"], body)
    return b"".join((body[:-1], _HEAD, digest.encode(), _TAIL)), digest


def parse(line: bytes) -> Link:
    """Read a stored line and check its own hash.

    Raises:
        ChainError: Torn, not JSON, or its text and its hash disagree.
    """
    link, digest = _read(line)
    try:
        whole = digest == link.hash and link.seq > 0
    except (LookupError, ValueError, AttributeError) as error:
        raise ChainError("the line is no record") from error
    if not whole:
        raise ChainError("the line does not match its hash")
    return link


def follow(line: bytes, *, stream: str, seq: int, prev: str) -> Link:
    """Read the line that must come next in a stream.

    Args:
        line: As stored.
        stream: Whose record it must be.
        seq: The number it must bear.
        prev: The hash of the record before it.

    Raises:
        ChainError: It is not the record that follows.
    """
    link, digest = _read(line)
    fields = link.fields
    expected = f"{stream}:{seq}"
    if fields.get("hash") != digest:
        raise ChainError("the line does not match its hash")
    if fields.get("id") != expected:
        raise ChainError(f"found {fields.get('id')} where {expected} belongs")
    if fields["prev"] != prev:
        raise ChainError(f"{expected} does not follow the record before it")
    return link


def _read(line: bytes) -> tuple[Link, str]:
    """A stored line and the hash that its text has."""
    if line[-_SUFFIX_BYTES:_HEAD_END] != _HEAD or line[-len(_TAIL) :] != _TAIL:
        raise ChainError("the line does not end in a hash")
    try:
        fields = _decode(line)
    except (ValueError, RecursionError) as error:
        raise ChainError("the line is not JSON") from error
    try:
        return Link(fields, line), _digest(fields["prev"], body_of(line))
    except (LookupError, ValueError, TypeError) as error:
        raise ChainError("the line is no record") from error


def body_of(line: bytes) -> bytes:
    """The hashed text of a stored line."""
    return line[:-_SUFFIX_BYTES] + b"}"


def spell(raw: str) -> str:
    """Write a client's text so that its bytes can be told: plain, or as base64."""
    if raw.startswith("base64:"):
        return _base64(raw)
    try:
        raw.encode()
    except UnicodeEncodeError:
        return _base64(raw)
    return raw


def _digest(prev: str, body: bytes) -> str:
    return sha256(_DOMAIN + bytes.fromhex(prev) + body).hexdigest()


def _base64(raw: str) -> str:
    try:
        octets = raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = raw.encode("utf-8", "surrogatepass")
    return "base64:" + base64.b64encode(octets).decode("ascii")


def _by_utf16(value: Json) -> Json:
    """Order members as RFC 8785 section 3.2.3 does, by UTF-16 code units.

    Python orders by code point, which differs above U+FFFF only.
    """
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _by_utf16(value[name]) for name in names}
    if isinstance(value, list):
        return [_by_utf16(item) for item in value]
    return value


def _spell_bytes(value: Json) -> Json:
    if isinstance(value, str):
        return value if value.startswith("base64:") else spell(value)
    if isinstance(value, dict):
        return {spell(name): _spell_bytes(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spell_bytes(item) for item in value]
    return value
