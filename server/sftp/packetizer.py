"""The packets of one SSH connection: paramiko's packetizer, with bounds.

What it reads is refused by its length field, before anything is allocated for it.
"""

import socket
import struct
import threading
import time
from typing import Final

from paramiko.common import MSG_CHANNEL_DATA, MSG_NAMES, cMSG_UNIMPLEMENTED
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException
from typing_extensions import override

from server.sftp.train import Departure

UNAUTHENTICATED_BYTES_MAX: Final = 35000
"""Longest packet before login: what RFC 4253, section 6.1, asks of everyone."""
VERSION_LINE_BYTES_MAX: Final = 1024
"""What may come before the version line ends; the line itself has 255 at most."""
FIRST_BYTES_MAX: Final = 256
REKEY_BYTES: Final = 32 * 1024**3
"""Half of what RFC 4344, section 3.2, allows AES: 2^32 blocks."""
REKEY_PACKETS: Final = 2**31


class BoundedPacketizer(Packetizer):
    """Refuses a packet by its length field, before anything is allocated for it."""

    REKEY_BYTES = REKEY_BYTES
    REKEY_PACKETS = REKEY_PACKETS

    def __init__(self, socket: socket.socket) -> None:
        """Start with the bound for peers that have not logged in."""
        super().__init__(socket)
        self.packet_bytes_max = UNAUTHENTICATED_BYTES_MAX
        self.heard_s = time.monotonic()
        """When the last packet came, seconds of the monotonic clock."""
        self.first = b""
        """The first bytes that came, before they are known to be SSH."""
        self.clear_to_send = threading.Event()
        """Whether channel data may go out: not in a key exchange."""
        self.keyed = False
        """Whether what comes is encrypted."""
        self._version_bytes = 0

    @override
    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if not 0 <= n <= self.packet_bytes_max:
            raise SSHException(f"refused a packet of about {n} bytes")
        return super().read_all(n, check_rekey)

    @override
    def read_message(self) -> tuple[int, Message]:
        while True:
            kind, message = super().read_message()
            self.heard_s = time.monotonic()
            if self.knows(kind, message):
                return kind, message

    def knows(self, kind: int, message: Message) -> bool:
        """Whether paramiko knows such messages; its loop would fail on others.

        The peer is told of one that is not known (RFC 4253, section 11.4).

        Raises:
            SSHException: It came before the first keys, where nothing is passed over.
        """
        if kind in MSG_NAMES:
            return True
        if not self.keyed:
            raise SSHException(f"a message of type {kind} in the key exchange")
        answer = Message()
        answer.add_byte(cMSG_UNIMPLEMENTED)
        answer.add_int(message.seqno)
        self.send_message(answer)
        return False

    def send_data(self, channel: int, departure: Departure) -> None:
        """Send channel data to the peer's number `channel`.

        Raises:
            EOFError: The connection is gone.
        """
        if departure.first:
            self.send_message(data_message(channel, departure.first))
        for wagon in departure.wagons:
            self.send_message(Message(bytes(wagon.message)))

    @override
    def start_handshake(self, timeout: float) -> None:
        """Start no timer of its own: the listener's grace time covers the login."""

    @override
    def readline(self, timeout: float) -> str:
        """The version line: a client sends nothing before it (RFC 4253, section 4.2).

        A PROXY header on a listener without a proxy ends the connection here.
        """
        line = super().readline(timeout)
        if not line.startswith("SSH-"):
            raise SSHException("no version line")
        return line

    def _read_timeout(self, timeout: float) -> bytes:
        """Bytes of the version line; paramiko reads on until it ends."""
        received: bytes = super()._read_timeout(timeout)  # type: ignore[misc]  # absent from the stubs
        self._version_bytes += len(received)
        self.first += received[: FIRST_BYTES_MAX - len(self.first)]
        if self._version_bytes > VERSION_LINE_BYTES_MAX:
            raise SSHException("no version line")
        return received


def data_message(channel: int, data: bytes) -> Message:
    """SSH_MSG_CHANNEL_DATA (RFC 4254, section 5.2)."""
    message = Message()
    message.add_byte(bytes([MSG_CHANNEL_DATA]))
    message.add_int(channel)
    message.add_string(data)
    return message


def wait_in_the_kernel(sock: socket.socket) -> None:
    """Wait with one system call instead of two: Python polls for its own timeouts."""
    wait = sock.gettimeout()
    if wait is None:
        return
    limit = struct.pack("@ll", int(wait), int(wait % 1 * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    sock.settimeout(None)
