"""AES-GCM packets by our own code, in place and many at a time (RFC 5647).

OpenSSH's variant `aes*-gcm@openssh.com`: the length field is authenticated, not
encrypted; there is no MAC beside the tag. paramiko does the key exchange, and every
message but channel data still goes its way: `read_message` returns it. Channel data
goes right to the inflow of its channel. Ciphers of other kinds, and all that comes
before the first keys, are paramiko's own.
"""

import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.message import Message
from paramiko.packet import NeedRekeyException
from paramiko.ssh_exception import SSHException
from typing_extensions import override

from server.sftp.inflow import HEAD_BYTES, Inflow
from server.sftp.memory import block
from server.sftp.packetizer import BoundedPacketizer, wait_in_the_kernel
from server.sftp.train import TAG_BYTES, Departure, padding_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LENGTH: Final = struct.Struct(">I")
_DATA_HEAD: Final = struct.Struct(">BBII")
"""Padding length, type, channel, data length."""
_MESSAGE: Final = struct.Struct(">BII")
"""Type, channel, data length."""
_BLOCK_BYTES: Final = 16
_PADDING: Final = [bytes([length]) for length in range(2 * _BLOCK_BYTES)]
"""The byte that tells how long the padding is."""
_ZEROS: Final = [bytes(length) for length in range(2 * _BLOCK_BYTES)]
_RECEIVE_BYTES: Final = 256 * 1024
_SEQUENCE: Final = 2**32
_COUNTER: Final = 2**64
_REKEY_PATIENCE_BYTES: Final = 512 * 1024**2
"""What the peer may send between our wish for new keys and its answer."""


class Nonces:
    """Four fixed bytes and a counter of eight (RFC 5647, section 7.1)."""

    __slots__ = ("_count", "_fixed")

    def __init__(self, first: bytes) -> None:
        """Begin with the one that the key exchange gave."""
        self._fixed = first[:4]
        self._count = int.from_bytes(first[4:], "big")

    def take(self) -> bytes:
        """The next nonce; no two are the same for 2**64 packets."""
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % _COUNTER
        return nonce

    def take_many(self, number: int) -> list[bytes]:
        """The next `number` nonces."""
        fixed, first = self._fixed, self._count
        self._count = (first + number) % _COUNTER
        counts = range(first, first + number)
        return [fixed + (count % _COUNTER).to_bytes(8, "big") for count in counts]


class GcmPacketizer(BoundedPacketizer):
    """Reads and writes AES-GCM packets itself, all others as paramiko does."""

    # Where paramiko counts packets: its loop tells a peer which one it did not know.
    _Packetizer__sequence_number_in: int
    _Packetizer__sequence_number_out: int
    _Packetizer__remainder: bytes
    """What came with what was read, by a line or by us, and was not read yet."""

    def __init__(self, socket: socket.socket) -> None:
        """Start as paramiko does, without any cipher."""
        super().__init__(socket)
        self.inflows: dict[int, Inflow] = {}
        """Where the data of a channel goes, by our number of it."""
        self.work: Callable[[], None] = nothing
        """Called before each wait for the peer: what is there to be answered."""
        self.busy = False
        """Whether `work` has more to do even when nothing comes."""
        self.silence: Callable[[], None] = nothing
        """Called when nothing came for a second: memory can be given back."""
        self._socket = socket
        self._opener: AESGCM | None = None
        self._sealer: AESGCM | None = None
        self._nonces_in = self._nonces_out = Nonces(bytes(12))
        self._bytes_in = self._packets_in = 0
        self._bytes_out = self._packets_out = 0
        self._rekey_told = False
        self._writing = threading.RLock()  # Guards what goes out, as paramiko's does.
        self._memory: memoryview | None = None
        self._start = self._end = 0
        self._last = -1

    @override
    def set_inbound_cipher(self, **cipher: Any) -> None:  # type: ignore[override]  # paramiko names them all
        super().set_inbound_cipher(**cipher)
        self.keyed = True
        self._opener = cipher["block_engine"] if cipher["aead"] else None
        self._bytes_in = self._packets_in = 0
        self._rekey_told = False
        if self._opener is None:
            self._hand_over()
        else:
            self._nonces_in = Nonces(cipher["iv_in"])
            wait_in_the_kernel(self._socket)

    def _hand_over(self) -> None:
        """Let paramiko read what came behind the last packet of AES-GCM.

        A peer may change to a cipher of another kind with new keys.
        """
        if self._memory is not None:
            self._Packetizer__remainder = bytes(self._memory[self._start : self._end])
        self._memory = None
        self._start = self._end = 0

    @override
    def set_outbound_cipher(self, **cipher: Any) -> None:  # type: ignore[override]  # paramiko names them all
        super().set_outbound_cipher(**cipher)
        self._sealer = cipher["block_engine"] if cipher["aead"] else None
        self._bytes_out = self._packets_out = 0
        if self._sealer is not None:
            self._nonces_out = Nonces(cipher["iv_out"])

    # Reading.

    @override
    def read_message(self) -> tuple[int, Message]:
        """The next message that is not data of a channel with an inflow.

        Raises:
            SSHException: The peer breaks the protocol, or a packet was changed.
            NeedRekeyException: It is time for new keys.
            EOFError: The connection is gone.
        """
        while self._opener is not None:
            message = self._open_all()
            if message is not None:
                return message
            self.work()
            if self.need_rekey() and not self._rekey_told:
                self._rekey_told = True
                raise NeedRekeyException
            self._receive()
        self.work()
        while self.busy and not self.hears(0):
            self.work()
        return super().read_message()

    def _open_all(self) -> tuple[int, Message] | None:
        """Decrypt whole packets until one is not for an inflow; None: all were."""
        while self._start != self._end and (length := self._whole()):
            at = self._start
            self._start += _LENGTH.size + length + TAG_BYTES
            payload = self._open(at, length)
            sequence = self._Packetizer__sequence_number_in
            self._Packetizer__sequence_number_in = (sequence + 1) % _SEQUENCE
            self._bytes_in += _LENGTH.size + length + TAG_BYTES
            self._packets_in += 1
            if (
                self._bytes_in >= self.REKEY_BYTES
                or self._packets_in >= self.REKEY_PACKETS
            ):
                self._ask_new_keys()
            if payload is not None:
                message = Message(payload[1:])
                message.seqno = sequence
                if self.knows(payload[0], message):
                    return payload[0], message
        return None

    def _whole(self) -> int:
        """The length of the next packet if all of it is there, else 0.

        Raises:
            SSHException: No packet has such a length.
        """
        there = self._end - self._start
        if there < _LENGTH.size or self._memory is None:
            return 0
        (length,) = _LENGTH.unpack_from(self._memory, self._start)
        if length > self.packet_bytes_max or length % _BLOCK_BYTES or not length:
            raise SSHException(f"refused a packet of about {length} bytes")
        return int(length) if there >= _LENGTH.size + length + TAG_BYTES else 0

    def _open(self, at: int, length: int) -> bytes | None:
        """Decrypt one packet; its payload, or None when an inflow has it."""
        memory, opener = self._memory, self._opener
        if memory is None or opener is None:
            raise SSHException("no packet to open")
        begin = at + _LENGTH.size
        sealed = memory[begin : begin + length + TAG_BYTES]
        head = memory[at:begin]
        # A guess: most packets are data of the channel that had some last.
        inflow = self.inflows.get(self._last)
        plain = sealed[:length] if inflow is None else inflow.landing(length)
        try:
            opener.decrypt_into(self._nonces_in.take(), sealed, head, plain)
        except InvalidTag as error:
            raise SSHException("Mismatched MAC") from error
        if plain[1] == MSG_CHANNEL_DATA:
            return self._deliver(plain, inflow)
        payload = _payload(plain)
        if inflow is not None:
            inflow.lift()
        return payload

    def _deliver(self, plain: memoryview, inflow: Inflow | None) -> bytes | None:
        """Hand channel data over; the payload when its channel has no inflow."""
        padding, _, channel, length = _DATA_HEAD.unpack_from(plain)
        if inflow is not None and channel == self._last:
            _require_length(plain, padding, length)
            inflow.land(length)
            return None
        payload = _payload(plain)
        if inflow is not None:
            inflow.lift()
        other = self.inflows.get(channel)
        if other is None:
            return payload
        _require_length(plain, padding, length)
        self._last = channel
        other.feed(payload[HEAD_BYTES - 1 :])
        return None

    def _receive(self) -> None:
        """Wait for more bytes, but not while there is other work."""
        memory = self._room()
        flags = socket.MSG_DONTWAIT if self.busy else 0
        try:
            received = self._socket.recv_into(memory[self._end :], 0, flags)
        except (TimeoutError, BlockingIOError):
            self._silent()
            return
        except OSError:
            if self.closed:
                raise EOFError from None
            raise
        if not received:
            raise EOFError
        self._end += received
        self.heard_s = time.monotonic()

    def let_go(self) -> None:
        """The connection is over: give memory back, and all that leads to it."""
        self._memory = None
        self._start = self._end = 0
        self.inflows.clear()
        self.work = self.silence = nothing

    def hears(self, wait_s: float) -> bool:
        """Whether something came, or comes in `wait_s`, that was not read yet."""
        if self._Packetizer__remainder:
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(wait_s * 1000))

    def _silent(self) -> None:
        """Nothing came for a while."""
        if self.closed:
            raise EOFError
        if self.busy:
            return
        self.silence()
        if self._start == self._end:
            self._memory = None
            self._start = self._end = 0

    def _room(self) -> memoryview:
        """The memory with room behind what is there for the rest of a packet."""
        memory = self._memory
        if memory is None:
            longest = self.packet_bytes_max + _LENGTH.size + TAG_BYTES
            memory = block(max(_RECEIVE_BYTES, 2 * longest))
            early, self._Packetizer__remainder = self._Packetizer__remainder, b""
            memory[: len(early)] = early
            self._start, self._end, self._memory = 0, len(early), memory
        if self._start:
            there = self._end - self._start
            memory[:there] = memory[self._start : self._end]
            self._start, self._end = 0, there
        return memory

    def _ask_new_keys(self) -> None:
        if self._bytes_in - self.REKEY_BYTES > _REKEY_PATIENCE_BYTES:
            raise SSHException("Remote transport is ignoring rekey requests")
        self._wish_new_keys()

    # Writing.

    @override
    def send_message(self, data: Message) -> None:
        """Send one message.

        Raises:
            EOFError: The connection is gone.
        """
        if self._sealer is None:
            super().send_message(data)
        else:
            self._send(data.asbytes())

    @override
    def send_data(self, channel: int, departure: Departure) -> None:
        """Encrypt where it lies and send at once.

        Raises:
            EOFError: The connection is gone.
        """
        if self._sealer is None:
            super().send_data(channel, departure)
            return
        first = departure.first
        if first:
            self._send(_MESSAGE.pack(MSG_CHANNEL_DATA, channel, len(first)) + first)
        if not departure.wagons:
            return
        with self._writing:
            encrypt_into, wagons = self._sealer.encrypt_into, departure.wagons
            nonces = self._nonces_out.take_many(len(wagons))
            for nonce, (head, plain, sealed, _) in zip(nonces, wagons, strict=True):
                encrypt_into(nonce, plain, head, sealed)
            self._transmit(departure.whole, len(wagons))

    def _send(self, payload: bytes) -> None:
        """Encrypt and send one message."""
        padding = padding_of(len(payload) - _MESSAGE.size)
        head = _LENGTH.pack(1 + len(payload) + padding)
        plain = b"".join((_PADDING[padding], payload, _ZEROS[padding]))
        with self._writing:
            if self._sealer is not None:
                nonce = self._nonces_out.take()
                self._transmit(head + self._sealer.encrypt(nonce, plain, head), 1)

    def _transmit(self, out: bytes | memoryview, packets: int) -> None:
        """Send encrypted packets; the lock is held."""
        left = out
        while left:
            try:
                sent = self._socket.send(left)
                if sent == len(left):
                    break
                left = memoryview(left)[sent:]
            except (TimeoutError, BlockingIOError):
                if self.closed:
                    raise EOFError from None
            except OSError as error:
                raise EOFError from error
        sequence = self._Packetizer__sequence_number_out
        self._Packetizer__sequence_number_out = (sequence + packets) % _SEQUENCE
        self._bytes_out += len(out)
        self._packets_out += packets
        if (
            self._bytes_out >= self.REKEY_BYTES
            or self._packets_out >= self.REKEY_PACKETS
        ):
            self._wish_new_keys()

    def _wish_new_keys(self) -> None:
        if not self.need_rekey():
            self._trigger_rekey()  # type: ignore[attr-defined]  # absent from the stubs


def nothing() -> None:
    """No channel is served yet."""


def _payload(plain: memoryview) -> bytes:
    """The message in a decrypted packet.

    Raises:
        SSHException: Its padding leaves no room for one.
    """
    end = len(plain) - plain[0]
    if end < 2 or plain[0] < 4:  # noqa: PLR2004 - a type; RFC 4253, section 6
        raise SSHException("a packet of padding alone")
    return bytes(plain[1:end])


def _require_length(plain: memoryview, padding: int, length: int) -> None:
    if HEAD_BYTES + length + padding != len(plain):
        raise SSHException("channel data of another length than announced")
