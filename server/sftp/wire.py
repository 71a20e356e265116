"""The data types of SSH and SFTP packets (RFC 4251, section 5), read strictly.

`paramiko.Message` fills a short packet up with zeros; nothing here does. A length is
compared with what is there before anything of that size is made.
"""

import struct
from collections.abc import Iterator
from typing import Final

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


class MalformedPacketError(Exception):
    """A packet is not what its own lengths and its type say. Ends the session."""


class Reader:
    """Reads one packet from its first byte to its last."""

    __slots__ = ("_at", "_packet")

    def __init__(self, packet: memoryview) -> None:
        """Start at the first byte."""
        self._packet = packet
        self._at = 0

    def byte(self) -> int:
        """One byte.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return self._take(1)[0]

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
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        """Eight bytes, unsigned.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return int(_U64.unpack(self._take(8))[0])

    def string(self) -> memoryview:
        """Bytes with their length before them; no copy is made.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return self._take(self.u32())

    def text(self) -> str:
        """A string as UTF-8; bytes that are none become surrogate escapes.

        Raises:
            MalformedPacketError: The packet ends before.
        """
        return bytes(self.string()).decode("utf-8", "surrogateescape")

    def more(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._packet)

    def end(self) -> None:
        """Return when all was read.

        Raises:
            MalformedPacketError: Something is left.
        """
        if self.more():
            left = len(self._packet) - self._at
            raise MalformedPacketError(f"{left} bytes after the packet's last field")

    def _take(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._packet):
            raise MalformedPacketError(
                f"a field of {length} bytes in a packet with "
                f"{len(self._packet) - self._at} left"
            )
        part = self._packet[self._at : end]
        self._at = end
        return part


class Framer:
    """Cuts a stream of bytes into SFTP packets (filexfer-02, section 3)."""

    def __init__(self, packet_bytes_max: int) -> None:
        """Refuse packets longer than `packet_bytes_max`."""
        self._packet_bytes_max = packet_bytes_max
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[memoryview]:
        """Take what came; yield each whole packet without its length field.

        What is kept is never longer than one packet and what came with it.

        Raises:
            MalformedPacketError: A length of zero or above the bound.
        """
        self._buffer += received
        end = self._end_of_whole_packets()
        block = memoryview(bytes(memoryview(self._buffer)[:end]))
        del self._buffer[:end]
        at = 0
        while at < end:
            (length,) = _U32.unpack_from(block, at)
            yield block[at + 4 : at + 4 + length]
            at += 4 + length

    def _end_of_whole_packets(self) -> int:
        at = 0
        while len(self._buffer) - at >= _U32.size:
            (length,) = _U32.unpack_from(self._buffer, at)
            if not 0 < length <= self._packet_bytes_max:
                raise MalformedPacketError(f"a packet of {length} bytes")
            if len(self._buffer) - at - _U32.size < length:
                break
            at += _U32.size + length
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
