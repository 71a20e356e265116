"""The replies of one channel on their way out, laid into SSH packets as they come.

    slot: length | padding length | type, channel, data length | data | padding | tag

A train is one block of memory with a slot for each packet. Replies are written, and
files are read, right into the data parts; encrypting happens in place, and one `send`
takes all of it.
"""

import struct
from typing import Final, NamedTuple

from paramiko.common import MSG_CHANNEL_DATA

from server.sftp.memory import block

HEAD: Final = struct.Struct(">IBBII")
LENGTH_BYTES: Final = 4
PAYLOAD_AT: Final = 5
"""Where the message begins in a slot: behind length and padding length."""
TAG_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_PADDING_BYTES_MIN: Final = 4
_DATA_BYTES_MAX: Final = 65536
"""In a packet, however much the client would take: the slots must stay handy."""


_NOTHING: Final = memoryview(b"")


class Wagon(NamedTuple):
    """A filled slot, ready to be encrypted where it lies."""

    head: memoryview
    """The length field, which is authenticated and not encrypted."""
    plain: memoryview
    """From the padding length to the padding's end."""
    sealed: memoryview
    """The same with the tag behind it."""
    message: memoryview
    """The SSH message alone, for other ciphers."""


class Departure(NamedTuple):
    """What goes out at once."""

    first: bytes
    """Data for a packet of its own: short replies, or what a window has cut off."""
    wagons: list[Wagon]
    """Behind it, in their order."""
    whole: memoryview
    """All wagons, one behind the other as they go over the wire when sealed."""


def padding_of(data_bytes: int) -> int:
    """Bytes of padding: at least four, to a multiple of the block (RFC 4253, 6)."""
    short = -(HEAD.size - LENGTH_BYTES + data_bytes) % _BLOCK_BYTES
    return short if short >= _PADDING_BYTES_MIN else short + _BLOCK_BYTES


class Train:
    """A stream of reply bytes in slots; its positions count reply bytes alone."""

    def __init__(self, *, channel: int, data_bytes: int, capacity: int) -> None:
        """Lay out slots for at least `capacity` bytes.

        Args:
            channel: The client's number of the channel.
            data_bytes: What the client takes in one packet.
            capacity: Reply bytes that the train has room for.
        """
        self._channel = channel
        self._data_bytes = data = min(data_bytes, _DATA_BYTES_MAX)
        self._slots = -(-capacity // data)
        self._stride = HEAD.size + data + padding_of(data) + TAG_BYTES
        self._full_head = HEAD.pack(
            HEAD.size - LENGTH_BYTES + data + padding_of(data),
            padding_of(data),
            MSG_CHANNEL_DATA,
            channel,
            data,
        )
        self._memory: memoryview | None = None
        self._places: list[memoryview] = []
        self._full: list[tuple[memoryview, Wagon] | None] = []
        self._sent = 0  # a multiple of the slots' data but for a train that is through
        self._used = 0
        self._left = b""

    @property
    def room(self) -> int:
        """Reply bytes that can be added."""
        return self._slots * self._data_bytes - self._used

    @property
    def used(self) -> int:
        """The position behind the last reply byte."""
        return self._used

    @property
    def waiting(self) -> int:
        """Reply bytes that have not gone out."""
        return self._used - self._sent + len(self._left)

    def add(self, reply: bytes) -> None:
        """Append a reply; there must be room for it."""
        if not self._used and len(self._left) + len(reply) <= self._data_bytes:
            self._left += reply  # alone, or with others like it: it needs no slot
            return
        self._write(self._used, reply)
        self._used += len(reply)

    def gaps(self, at: int, length: int) -> list[memoryview]:
        """The places of the reply bytes from position `at` on, in order."""
        self._open()
        data, places = self._data_bytes, self._places
        slot, inside = divmod(at, data)
        found = []
        while length > 0:
            place = places[slot]
            if inside or length < data:
                place = place[inside : inside + length]
            found.append(place)
            length -= len(place)
            slot, inside = slot + 1, 0
        return found

    def extend(self, head: bytes, length: int) -> None:
        """Append `head`, and `length` bytes that were put into the gaps behind it."""
        self._write(self._used, head)
        self._used += len(head) + length

    def leave(self, window: int) -> Departure:
        """What may go out now within `window` reply bytes; it counts as sent."""
        first, self._left = self._left[:window], self._left[window:]
        window -= len(first)
        if self._sent == self._used:
            return Departure(first, [], _NOTHING)
        wagons: list[Wagon] = []
        begin = self._sent // self._data_bytes * self._stride
        end = begin
        while self._sent < self._used:
            length = min(self._data_bytes, self._used - self._sent)
            if length > window:
                if not wagons and not first and window:
                    first = self._cut(length, window)
                break
            slot = self._sent // self._data_bytes
            if length == self._data_bytes:
                wagons.append(self._full_wagon(slot))
                end += self._stride
            else:
                wagons.append(self._wagon(slot, length))
                end += HEAD.size + length + padding_of(length) + TAG_BYTES
            self._sent += length
            window -= length
        return Departure(first, wagons, self._open()[begin:end])

    def through(self) -> None:
        """What `leave` gave out is sent: begin anew when nothing waits."""
        if self._sent == self._used:
            self._sent = self._used = 0

    def rest(self) -> None:
        """Give the memory back, if nothing waits in it."""
        if self._sent == self._used == 0:
            self._memory = None
            self._places, self._full = [], []

    def forget(self) -> None:
        """Give the memory back, and what waits in it up."""
        self._sent = self._used = 0
        self._left = b""
        self.rest()

    def _open(self) -> memoryview:
        if self._memory is None:
            self._memory = memory = block(self._slots * self._stride)
            begins = range(HEAD.size, len(memory), self._stride)
            self._places = [memory[at : at + self._data_bytes] for at in begins]
            self._full = [None] * self._slots
        return self._memory

    def _write(self, at: int, reply: bytes) -> None:
        begin = 0
        for gap in self.gaps(at, len(reply)):
            gap[:] = reply[begin : begin + len(gap)]
            begin += len(gap)

    def _cut(self, length: int, window: int) -> bytes:
        """Take a slot's data out of the train: the window ends within it."""
        (place,) = self.gaps(self._sent, length)
        self._sent += length
        self._left = bytes(place[window:])
        return bytes(place[:window])

    def _full_wagon(self, slot: int) -> Wagon:
        """Close a full slot; it is laid out once."""
        laid = self._full[slot]
        if laid is None:
            at = slot * self._stride
            head = self._open()[at : at + HEAD.size]
            laid = self._full[slot] = head, self._laid(slot, self._data_bytes)
        head, wagon = laid
        head[:] = self._full_head
        return wagon

    def _wagon(self, slot: int, length: int) -> Wagon:
        """Close a slot of `length` data bytes."""
        wagon = self._laid(slot, length)
        padding = padding_of(length)
        HEAD.pack_into(
            self._open(),
            slot * self._stride,
            HEAD.size - LENGTH_BYTES + length + padding,
            padding,
            MSG_CHANNEL_DATA,
            self._channel,
            length,
        )
        return wagon

    def _laid(self, slot: int, length: int) -> Wagon:
        memory, at = self._open(), slot * self._stride
        behind = at + HEAD.size + length
        end = behind + padding_of(length)
        memory[behind:end] = bytes(end - behind)  # what an earlier reply left there
        return Wagon(
            head=memory[at : at + LENGTH_BYTES],
            plain=memory[at + LENGTH_BYTES : end],
            sealed=memory[at + LENGTH_BYTES : end + TAG_BYTES],
            message=memory[at + PAYLOAD_AT : behind],
        )
