"""The PROXY protocol, versions 1 and 2, as a pure reader of one header.

Source: haproxy's doc/proxy-protocol.txt. The reader says how many bytes may be taken
from the socket next, so that not a byte of what follows the header is swallowed. It
knows nothing of trust: who may send a header is decided before it is used.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V1_START: Final = b"PROXY "
V1_BYTES_MAX: Final = 107
_V2_HEAD_BYTES: Final = 16
V2_BODY_BYTES_MAX: Final = 4096
"""Ours: addresses and TLVs of real proxies have a few hundred bytes."""

_V1: Final = re.compile(
    r"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (\d{1,5}) (\d{1,5})\r\n",
    re.ASCII,
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(| [^\r\n]*)\r\n")
_PORT_MAX: Final = 65535
_VERSION: Final = 2
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}
_TLV_HEAD_BYTES: Final = 3
_CRC32C: Final = 0x03
_CRC_BYTES: Final = 4
_POLYNOMIAL: Final = 0x82F63B78
"""Castagnoli's, reflected (RFC 3720, appendix B.4)."""


class ProxyHeaderError(ValueError):
    """What came is no header of the PROXY protocol that we take."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Whose connection a proxy hands on."""

    source: tuple[str, int] | None
    """Address and port of the client; None: the proxy's own (a health check)."""


class ProxyReader:
    """Reads one header as its bytes come."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._bytes = bytearray()

    @property
    def wanted_bytes(self) -> int:
        """How many bytes surely belong to the header still; at least one."""
        have = len(self._bytes)
        if have < len(SIGNATURE):
            return len(SIGNATURE) - have
        if not self._bytes.startswith(SIGNATURE):
            return 1  # version 1 ends where its line ends
        if have < _V2_HEAD_BYTES:
            return _V2_HEAD_BYTES - have
        return _V2_HEAD_BYTES + self._body_bytes - have

    @property
    def empty(self) -> bool:
        """Whether not a byte has come."""
        return not self._bytes

    def feed(self, received: bytes) -> ProxyHeader | None:
        """Take at most `wanted_bytes` bytes; the header, once it is whole.

        Raises:
            ProxyHeaderError: It is none, or it is damaged.
        """
        self._bytes += received
        known = bytes(self._bytes[: len(SIGNATURE)])
        if known == SIGNATURE:
            return self._version_2()
        if SIGNATURE.startswith(known):
            return None
        if not V1_START.startswith(known[: len(V1_START)]):
            raise ProxyHeaderError("no PROXY header")
        return self._version_1()

    @property
    def _body_bytes(self) -> int:
        return int.from_bytes(self._bytes[14:16], "big")

    def _version_1(self) -> ProxyHeader | None:
        if not self._bytes.endswith(b"\r\n"):
            if b"\n" in self._bytes or len(self._bytes) >= V1_BYTES_MAX:
                raise ProxyHeaderError("no end of the PROXY line")
            return None
        return parse_version_1(bytes(self._bytes))

    def _version_2(self) -> ProxyHeader | None:
        if len(self._bytes) < _V2_HEAD_BYTES:
            return None
        if self._body_bytes > V2_BODY_BYTES_MAX:
            raise ProxyHeaderError("the PROXY header is too long")
        if len(self._bytes) < _V2_HEAD_BYTES + self._body_bytes:
            return None
        return parse_version_2(bytes(self._bytes))


def parse_version_1(line: bytes) -> ProxyHeader:
    """Read a whole line (section 2.1).

    Raises:
        ProxyHeaderError: It is not written as the section says.
    """
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(None)
    match = _V1.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        raise ProxyHeaderError("malformed PROXY line")
    family, source, target = match[1], match[2], match[3]
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        address = kind(source)
        kind(target)
    except ValueError as error:
        raise ProxyHeaderError(str(error)) from error
    port, target_port = _port(match[4]), _port(match[5])
    if max(port, target_port) > _PORT_MAX:
        raise ProxyHeaderError("no TCP port")
    return ProxyHeader((str(address), port))


def parse_version_2(header: bytes) -> ProxyHeader:
    """Read a whole header (section 2.2), its checksum too where there is one.

    Raises:
        ProxyHeaderError: It is not made as the section says, or not for TCP.
    """
    version, command = header[12] >> 4, header[12] & 0x0F
    if version != _VERSION or command not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError("unknown PROXY version or command")
    if command == _LOCAL:
        return ProxyHeader(None)
    width = _ADDRESS_BYTES.get(header[13])
    body = header[_V2_HEAD_BYTES:]
    if width is None or len(body) < 2 * width + 4:
        raise ProxyHeaderError("the PROXY header names no TCP client")
    _require_checksum(header, _V2_HEAD_BYTES + 2 * width + 4)
    address = ipaddress.ip_address(body[:width])
    port = int.from_bytes(body[2 * width : 2 * width + 2], "big")
    return ProxyHeader((str(address), port))


def crc32c(content: bytes) -> int:
    """The checksum of PP2_TYPE_CRC32C (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _port(digits: str) -> int:
    if len(digits) > 1 and digits.startswith("0"):
        raise ProxyHeaderError("a port with leading zeros")
    return int(digits)


def _require_checksum(header: bytes, at: int) -> None:
    """Walk the TLVs from `at`; a checksum among them must be right (section 2.2.3)."""
    while at < len(header):
        value_at = at + _TLV_HEAD_BYTES
        length = int.from_bytes(header[at + 1 : value_at], "big")
        if value_at > len(header) or value_at + length > len(header):
            raise ProxyHeaderError("a TLV of the PROXY header is cut off")
        if header[at] == _CRC32C:
            _require_equal(header, value_at, length)
        at = value_at + length


def _require_equal(header: bytes, at: int, length: int) -> None:
    told = int.from_bytes(header[at : at + length], "big")
    cleared = header[:at] + bytes(length) + header[at + length :]
    if length != _CRC_BYTES or crc32c(cleared) != told:
        raise ProxyHeaderError("the PROXY header's checksum is wrong")
