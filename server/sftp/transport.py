"""One SSH connection's transport: paramiko's, with our bounds and our algorithms.

paramiko does the version exchange, key exchange, encryption, channels and rekeying. We
bound what it reads before it allocates, offer modern algorithms only, and mend what
hazards were found in its server side; each private name that is overridden here has a
test, and paramiko's minor version is pinned.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
)
from paramiko.ecdsakey import ECDSAKey
from paramiko.ed25519key import Ed25519Key
from paramiko.kex_curve25519 import KexCurve25519
from paramiko.kex_group16 import KexGroup16SHA512
from paramiko.kex_mlkem import KexMLKEM768X25519
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.pkey import PKey
from paramiko.rsakey import RSAKey
from paramiko.ssh_exception import IncompatiblePeer, SSHException
from paramiko.transport import Transport
from typing_extensions import override

from server.access.entrance import discard_at_close
from server.model.algorithms import old_algorithms

log = logging.getLogger(__name__)

UNAUTHENTICATED_BYTES_MAX: Final = 35000
"""Longest packet before login: what RFC 4253, section 6.1, asks of everyone."""
VERSION_LINE_BYTES_MAX: Final = 1024
"""What may come before the version line ends; the line itself has 255 at most."""
FIRST_BYTES_MAX: Final = 256
WINDOW_BYTES: Final = 2 * 1024 * 1024
ACTIVE_CHECK_S: Final = 1.0
PEER_SILENT_S_MAX: Final = 300
"""How long the peer's kernel may leave data without an acknowledgement."""
REKEY_BYTES: Final = 32 * 1024**3
"""Half of what RFC 4344, section 3.2, allows AES: 2^32 blocks."""
REKEY_PACKETS: Final = 2**31

_LISTS: Final = {
    "kex": "kex_algo_list",
    "hostkey": "server_key_algo_list",
    "cipher": "client_encrypt_algo_list",
    "mac": "client_mac_algo_list",
}
"""The lists of a key exchange by our words for them, and as paramiko names them."""

UserKey = Ed25519Key | ECDSAKey | RSAKey
"""What a client may prove itself with."""

# What everyone is offered, in the order in which it is announced: what ssh-audit has
# nothing against, but that only the first exchange withstands a quantum computer.
KEX: Final[dict[str, type[object]]] = {
    "mlkem768x25519-sha256": KexMLKEM768X25519,
    # RFC 8731 gave libssh's method its plain name.
    "curve25519-sha256": KexCurve25519,
    "curve25519-sha256@libssh.org": KexCurve25519,
    "diffie-hellman-group16-sha512": KexGroup16SHA512,
}
HOST_KEYS: Final[tuple[str, ...]] = ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
USER_KEYS: Final[dict[str, type[UserKey]]] = {
    "ssh-ed25519": Ed25519Key,
    "ecdsa-sha2-nistp256": ECDSAKey,
    "ecdsa-sha2-nistp384": ECDSAKey,
    "ecdsa-sha2-nistp521": ECDSAKey,
    "rsa-sha2-512": RSAKey,
    "rsa-sha2-256": RSAKey,
}
CIPHERS: Final[tuple[str, ...]] = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS: Final[tuple[str, ...]] = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
)


def load_host_keys(paths: Iterable[Path]) -> list[PKey]:
    """Read private host keys in OpenSSH's format, one a type.

    Raises:
        OSError: A file cannot be read.
        ValueError: It holds no such key.
    """
    return [PKey.from_path(path) for path in paths]


def prepare_socket(sock: socket.socket) -> None:
    """Send small packets at once, and notice a peer that is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    silent_ms_max = PEER_SILENT_S_MAX * 1000
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_ms_max)


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
        self._version_bytes = 0

    @override
    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if not 0 <= n <= self.packet_bytes_max:
            raise SSHException(f"refused a packet of about {n} bytes")
        return super().read_all(n, check_rekey)

    @override
    def read_message(self) -> tuple[int, Message]:
        received = super().read_message()
        self.heard_s = time.monotonic()
        return received

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


def _feed(channel: Channel, message: Message) -> None:
    """Take channel data; refuse more than the window, and lengths that are wrong.

    Raises:
        SSHException: The peer breaks the protocol.
    """
    length = message.get_int()
    received = message.get_remainder()
    if length != len(received):
        raise SSHException("channel data of another length than announced")
    if len(channel.in_buffer) + length > WINDOW_BYTES:
        raise SSHException("more channel data than the window allows")
    channel.in_buffer.feed(received)


def _discard(channel: Channel, message: Message) -> None:
    """Drop extended data: clients have no standard error stream."""


def _request(channel: Channel, message: Message) -> None:
    """Answer a channel request, and only then begin what it asked for."""
    Channel._handle_request(channel, message)  # type: ignore[attr-defined]  # noqa: SLF001 - absent from the stubs
    transport = channel.get_transport()
    if isinstance(transport, SftpTransport):
        transport.begin_asked()


class SftpTransport(Transport):
    """The server side of one SSH connection."""

    _CLIENT_ID = "Kagikura"
    _active_check_timeout = ACTIVE_CHECK_S

    _preferred_kex = tuple(KEX)
    _preferred_keys = HOST_KEYS
    _preferred_pubkeys = tuple(USER_KEYS)
    _preferred_ciphers = CIPHERS
    _preferred_macs = MACS
    _preferred_compression = ("none",)
    _kex_info: ClassVar[dict[str, type[object]]] = KEX
    user_keys: ClassVar[dict[str, type[UserKey]]] = USER_KEYS
    """The public-key algorithms of logins; no certificates: nobody signs for us."""
    _channel_handler_table: ClassVar[dict[int, object]] = {
        **Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001 - absent from the stubs
        MSG_CHANNEL_DATA: _feed,
        MSG_CHANNEL_EXTENDED_DATA: _discard,
        MSG_CHANNEL_REQUEST: _request,
    }

    def __init__(
        self,
        sock: socket.socket,
        *,
        name: str,
        host_keys: Sequence[PKey],
        authentication: Callable[[Transport], AuthHandler],
        ended: Callable[[], None],
    ) -> None:
        """Prepare to serve a connection; `start_server` begins.

        Args:
            sock: The accepted connection.
            name: Of the thread.
            host_keys: What the server proves itself with, one a type.
            authentication: Makes the handler of the login messages.
            ended: Called once, last of all, on the transport's thread.
        """
        super().__init__(
            sock,
            default_window_size=WINDOW_BYTES,
            packetizer_class=BoundedPacketizer,
        )
        self.name = name
        self.algorithms = ""
        """What was agreed on, for the trail; empty before the first key exchange."""
        self.offer: dict[str, list[str]] = {}
        """What the peer offered when nothing of it was ours, by kind."""
        self._authentication = authentication
        self._ended = ended
        self._kept: dict[int, Channel] = {}
        self._asked: list[Callable[[], None]] = []
        for key in host_keys:
            self.add_server_key(key)

    @override
    def run(self) -> None:
        try:
            super().run()
        finally:
            self._ended()

    @property
    def heard_s(self) -> float:
        """When the last packet came, seconds of the monotonic clock."""
        packetizer = self.packetizer
        return packetizer.heard_s if isinstance(packetizer, BoundedPacketizer) else 0.0

    @property
    def first_bytes(self) -> bytes:
        """What the peer said first, a line at most; it may be anything."""
        packetizer = self.packetizer
        return packetizer.first if isinstance(packetizer, BoundedPacketizer) else b""

    @property
    def channels_open(self) -> int:
        """Channels that are open, or that the client has not closed yet."""
        return len(self._kept)

    def is_open(self, chanid: int) -> bool:
        """Whether the client has not closed this channel yet."""
        return self.is_active() and chanid in self._kept

    def once_granted(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the client has heard that its request was granted."""
        self._asked.append(begin)

    def begin_asked(self) -> None:
        """Begin what requests were granted for; on the transport's thread."""
        while self._asked:
            self._asked.pop(0)()

    def allow_packets(self, packet_bytes_max: int) -> None:
        """Set the bound for a peer that has logged in."""
        if isinstance(self.packetizer, BoundedPacketizer):
            self.packetizer.packet_bytes_max = packet_bytes_max

    def cut(self) -> None:
        """End the connection now, from any thread; the own thread then cleans up.

        Only a shutdown wakes a thread that waits in `recv` or `send`.
        """
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug(
                "ssh connection was gone already", extra={"connection": self.name}
            )

    def abort(self) -> None:
        """As `cut`, and what was sent but has not gone out is thrown away."""
        if isinstance(self.sock, socket.socket):
            discard_at_close(self.sock)
        self.cut()

    # What paramiko's stubs do not name.

    def _log(self, level: int, msg: object, *args: object) -> None:  # noqa: ARG002 - paramiko's
        """Keep paramiko's words, with their tracebacks for each port scan, to debug."""
        log.debug("paramiko: %s", msg, extra={"connection": self.name})

    def _negotiate_keys(self, m: Message) -> None:
        """Exchange keys; again only after login, for an exchange is costly."""
        if self.initial_kex_done and not self.is_authenticated():
            raise SSHException("a second key exchange before login")
        super()._negotiate_keys(m)  # type: ignore[misc]  # absent from the stubs

    def _parse_kex_init(self, m: Message) -> None:
        """Agree on algorithms; keep what a peer wanted that fits nothing of ours."""
        try:
            super()._parse_kex_init(m)  # type: ignore[misc]  # absent from the stubs
        except IncompatiblePeer as error:
            m.rewind()
            lists = self._really_parse_kex_init(m)  # type: ignore[attr-defined]  # absent from the stubs
            self.offer = {kind: lists[name] for kind, name in _LISTS.items()}
            log.info("ssh client offers no algorithm of ours: %s", error)
            raise
        method = next(
            name
            for name, engine in self._kex_info.items()
            if type(self.kex_engine) is engine  # they are each other's subclasses
        )
        agreed = self._agreed(method)
        if self.algorithms and old_algorithms(agreed) != old_algorithms(
            self.algorithms
        ):
            raise SSHException("a new key exchange with other algorithms")
        self.algorithms = agreed

    def _agreed(self, method: str) -> str:
        """What was agreed on; the client's direction too where it differs."""
        pairs = {
            (self.local_cipher, self.local_mac),
            (self.remote_cipher, self.remote_mac),  # type: ignore[attr-defined]  # absent from the stubs
        }
        ciphers = sorted({cipher for cipher, _ in pairs})
        macs = sorted({mac for cipher, mac in pairs if "gcm" not in cipher})
        words = [f"kex={method}", f"hostkey={self.host_key_type}"]
        words.append(f"cipher={','.join(ciphers)}")
        return " ".join([*words, *([f"mac={','.join(macs)}"] if macs else [])])

    def _parse_newkeys(self, m: Message) -> None:
        """Put our authentication in the place of paramiko's."""
        if self.auth_handler is None:
            self.auth_handler = self._authentication(self)
        super()._parse_newkeys(m)  # type: ignore[misc]  # absent from the stubs

    def _queue_incoming_channel(self, channel: Channel) -> None:
        """Keep a channel alive until it closes; `server_accepts` would for ever."""
        self._kept[channel.chanid] = channel

    def _unlink_channel(self, chanid: int) -> None:
        """Forget a closed channel wholly; `channels_seen` would keep its number."""
        super()._unlink_channel(chanid)  # type: ignore[misc]  # absent from the stubs
        self._kept.pop(chanid, None)
        self.channels_seen.pop(chanid, None)


class StrictTransport(SftpTransport):
    """The server side where only an exchange that withstands quantum computers will do.

    What is recorded on the wire today could be read when there is one.
    """

    _kex_info: ClassVar[dict[str, type[object]]] = {
        "mlkem768x25519-sha256": KexMLKEM768X25519
    }
    _preferred_kex = tuple(_kex_info)
