"""What the client of one channel sent, in order and in one piece, until it is done.

Decrypted packets land here right behind each other, so that an SFTP packet that came
in eight SSH packets is one view, and a WRITE goes to the file without a copy. The
window (RFC 4254, section 5.2) bounds what can wait.
"""

import struct
from typing import Final

from paramiko.ssh_exception import SSHException

from server.sftp.memory import block
from server.sftp.wire import LENGTH_BYTES, MalformedPacketError

HEAD_BYTES: Final = 10
"""In front of the data in a decrypted packet: padding length, type, channel, length."""
_MOVE_BYTES: Final = 512 * 1024
"""Consumed space after which what is left moves to the front: the cache stays warm."""
_LENGTH: Final = struct.Struct(">I")


class Inflow:
    """The bytes of one channel, from the first that waits to the last that came."""

    def __init__(self, *, window_bytes: int, packet_bytes_max: int) -> None:
        """Take at most `window_bytes` ahead, in SFTP packets of `packet_bytes_max`."""
        self._packet_bytes_max = packet_bytes_max
        self._memory_bytes = HEAD_BYTES + 2 * window_bytes
        self._memory: memoryview | None = None
        self._window = window_bytes
        self._start = self._end = HEAD_BYTES
        self._covered = b""
        self._taken = 0

    @property
    def waiting(self) -> int:
        """Bytes that came and were not taken, whole packets or not."""
        return self._end - self._start

    def landing(self, length: int) -> memoryview:
        """Where a packet of `length` bytes is to be decrypted; then `land` or `lift`.

        The packet's head covers bytes that came before it; they are put back.
        """
        memory = self._room(length)
        at = self._end - HEAD_BYTES
        self._covered = bytes(memory[at : self._end])
        return memory[at : at + length]

    def land(self, length: int) -> None:
        """The packet at the landing carried `length` bytes of data for this channel.

        Raises:
            SSHException: More than the window allows.
        """
        self.lift()
        self._came(length)

    def lift(self) -> None:
        """The packet at the landing was none of this channel's data."""
        if self._memory is not None:
            self._memory[self._end - HEAD_BYTES : self._end] = self._covered

    def feed(self, received: bytes) -> None:
        """Take data that was decrypted elsewhere.

        Raises:
            SSHException: More than the window allows.
        """
        length = len(received)
        if length > self._window:
            raise SSHException("more channel data than the window allows")
        self._room(length)[self._end : self._end + length] = received
        self._came(length)

    def take(self) -> memoryview | None:
        """The next whole SFTP packet without its length field; None: not there yet.

        It is valid until something lands.

        Raises:
            MalformedPacketError: A length of zero or above the bound.
        """
        waiting = self._end - self._start
        if waiting < LENGTH_BYTES or self._memory is None:
            return None
        (length,) = _LENGTH.unpack_from(self._memory, self._start)
        if not 0 < length <= self._packet_bytes_max:
            raise MalformedPacketError(f"a packet of {length} bytes")
        whole = LENGTH_BYTES + length
        if waiting < whole:
            return None
        at = self._start + LENGTH_BYTES
        self._start += whole
        self._taken += whole
        return self._memory[at : at + length]

    def grant(self, least: int) -> int:
        """Bytes that the client may send more: taken since, 0 when below `least`."""
        taken = self._taken
        if taken < least:
            return 0
        self._taken = 0
        self._window += taken
        return taken

    def settle(self) -> None:
        """Make room: no view that `take` gave is in use any more."""
        if self._start == self._end:
            self._start = self._end = HEAD_BYTES
        elif self._start >= _MOVE_BYTES:
            self._to_front()

    def rest(self) -> None:
        """Give the memory back, if nothing waits in it."""
        if self._start == self._end:
            self.forget()

    def forget(self) -> None:
        """Give the memory back, and what waits in it up."""
        self._start = self._end = HEAD_BYTES
        self._memory = None

    def _came(self, length: int) -> None:
        self._window -= length
        if self._window < 0:
            raise SSHException("more channel data than the window allows")
        self._end += length

    def _room(self, length: int) -> memoryview:
        """The memory, with room for `length` bytes more."""
        if self._memory is None:
            self._memory = block(self._memory_bytes)
        if self._end + length > len(self._memory):
            self._to_front()
        return self._memory

    def _to_front(self) -> None:
        memory, waiting = self._memory, self._end - self._start
        if memory is None:
            return
        front = HEAD_BYTES + waiting
        # A copy in between where both overlap: memoryview assignment copes with that.
        memory[HEAD_BYTES:front] = memory[self._start : self._end]
        self._start, self._end = HEAD_BYTES, front
