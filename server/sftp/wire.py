"""The data types of SSH and SFTP packets (RFC 4251, section 5), read strictly.

`paramiko.Message` fills a short packet up with zeros; nothing here does. A length is
compared with what is there before anything of that size is made.
"""

import struct
from typing import Final

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
LENGTH_BYTES: Final = _U32.size
"""In front of each packet (filexfer-02, section 3)."""


class MalformedPacketError(Exception):
    """A packet is not what its own lengths and its type say. Ends the session."""


class Reader:
    """Reads one packet from its first byte to its last."""

    __slots__ = ("_at", "_end", "_packet")

    def __init__(self, packet: memoryview) -> None:
        """Start at the first byte."""
        self._packet = packet
        self._at = 0
        self._end = len(packet)

    def byte(self) -> int:
        """One byte.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return self._packet[self._step(1)]

    def boolean(self) -> bool:
        """One byte; all values but zero are true.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return self.byte() != 0

    def u32(self) -> int:
        """Four bytes, unsigned.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        number: int = _U32.unpack_from(self._packet, self._step(4))[0]
        return number

    def u64(self) -> int:
        """Eight bytes, unsigned.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        number: int = _U64.unpack_from(self._packet, self._step(8))[0]
        return number

    def string(self) -> memoryview:
        """Bytes with their length before them; no copy is made.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        at = self._step(self.u32())
        return self._packet[at : self._at]

    def text(self) -> str:
        """A string as UTF-8; bytes that are none become surrogate escapes.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return bytes(self.string()).decode("utf-8", "surrogateescape")

    def more(self) -> bool:
        """Whether something is left."""
        return self._at < self._end

    def end(self) -> None:
        """Return when all was read.

        Raises:
            MalformedPacketError: Something is left.
        """
        if self.more():
            left = self._end - self._at
            raise MalformedPacketError(f"{left} bytes after the packet's last field")

    def _step(self, length: int) -> int:
        """Pass over a field; where it began."""
        at = self._at
        if at + length > self._end:
            raise MalformedPacketError(
                f"a field of {length} bytes in a packet with {self._end - at} left"
            )
        self._at = at + length
        return at


def u32(number: int) -> bytes:
    """Four bytes, unsigned."""
    return _U32.pack(number)


def u64(number: int) -> bytes:
    """Eight bytes, unsigned."""
    return _U64.pack(number)


def string(content: bytes) -> bytes:
    """Bytes with their length before them."""
    return _U32.pack(len(content)) + content


def text(content: str) -> bytes:
    """Text as `Reader.text` reads it."""
    return string(content.encode("utf-8", "surrogateescape"))
