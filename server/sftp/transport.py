"""One SSH connection's transport: paramiko's, with our bounds and our algorithms.

paramiko does the version exchange, key exchange, encryption, channels and rekeying. We
bound what it reads before it allocates, offer modern algorithms only, and mend what
hazards were found in its server side; each private name that is overridden here has a
test, and paramiko's minor version is pinned.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final, cast

from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
)
from paramiko.message import Message
from paramiko.pkey import PKey
from paramiko.ssh_exception import IncompatiblePeer, SSHException
from paramiko.transport import Transport
from typing_extensions import override

from server.access.entrance import discard_at_close
from server.model.algorithms import old_algorithms
from server.sftp.algorithms import (
    CIPHERS,
    GCM_CIPHERS,
    HOST_KEYS,
    KEX,
    MACS,
    USER_KEYS,
    UserKey,
)
from server.sftp.datapath import WINDOW_BYTES, DataPath
from server.sftp.gcm import GcmPacketizer, nothing

log = logging.getLogger(__name__)

_POST_QUANTUM: Final = "mlkem768x25519-sha256"
ACTIVE_CHECK_S: Final = 1.0
SPEAK_FIRST: Final = ("SSH-2.0-OpenSSH_", "SSH-2.0-paramiko_")
"""Clients that send their lists without waiting for ours, and prefer slow ciphers."""
LISTS_WAIT_S: Final = 1.0
"""How long one of those may take before it gets ours after all."""
PEER_SILENT_S_MAX: Final = 300
"""How long the peer's kernel may leave data without an acknowledgement."""
_LATER_MAX: Final = 1024  # replies that wait for the end of a key exchange
_LISTS: Final = {
    "kex": "kex_algo_list",
    "hostkey": "server_key_algo_list",
    "cipher": "client_encrypt_algo_list",
    "mac": "client_mac_algo_list",
}
"""The lists of a key exchange by our words for them, and as paramiko names them."""


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


def _feed(channel: Channel, message: Message) -> None:
    """Take channel data; refuse more than the window, and lengths that are wrong.

    Raises:
        SSHException: The peer breaks the protocol.
    """
    length = message.get_int()
    received = message.get_remainder()
    if length != len(received):
        raise SSHException("channel data of another length than announced")
    path = _path_of(channel)
    if path is not None:
        path.inflow.feed(received)
    elif len(channel.in_buffer) + length > WINDOW_BYTES:
        raise SSHException("more channel data than the window allows")
    else:
        channel.in_buffer.feed(received)


def _discard(channel: Channel, message: Message) -> None:
    """Drop extended data: clients have no standard error stream."""


def _request(channel: Channel, message: Message) -> None:
    """Answer a channel request, and only then begin what it asked for."""
    Channel._handle_request(channel, message)  # type: ignore[attr-defined]  # noqa: SLF001 - absent from the stubs
    transport = channel.get_transport()
    if isinstance(transport, SftpTransport):
        transport.begin_asked()


def _end_of_input(channel: Channel, message: Message) -> None:
    channel._handle_eof(message)  # type: ignore[attr-defined]  # noqa: SLF001 - absent from the stubs
    path = _path_of(channel)
    if path is not None:
        path.end_of_input()


def _closed(channel: Channel, message: Message) -> None:
    channel._handle_close(message)  # type: ignore[attr-defined]  # noqa: SLF001 - absent from the stubs
    path = _path_of(channel)
    if path is not None:
        path.lost()


def _path_of(channel: Channel) -> DataPath | None:
    transport = channel.transport
    if isinstance(transport, SftpTransport):
        return transport.paths.get(channel.chanid)
    return None


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
        MSG_CHANNEL_EOF: _end_of_input,
        MSG_CHANNEL_CLOSE: _closed,
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
            packetizer_class=GcmPacketizer,
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
        self._later: list[Message] = []
        self._lists_came = False
        self.paths: dict[int, DataPath] = {}
        """The channels that are served on this thread, by our number of them."""
        self.packets.clear_to_send = self.clear_to_send
        self.packets.work = self._work
        self.packets.silence = self._silence
        for key in host_keys:
            self.add_server_key(key)

    @override
    def run(self) -> None:
        try:
            super().run()
        finally:
            self._ended()
            self._let_go()

    def _let_go(self) -> None:
        """Hold nothing any more that holds this: only the collector would find it."""
        self.packets.let_go()
        self.paths.clear()
        self._kept.clear()
        self._handler_table: dict[int, object] = {}
        self.auth_handler = self.server_object = None
        self.saved_exception = None  # its frames
        self._authentication = AuthHandler
        self._ended = nothing

    @property
    def packets(self) -> GcmPacketizer:
        """The packetizer, as what it is."""
        return cast("GcmPacketizer", self.packetizer)

    @property
    def heard_s(self) -> float:
        """When the last packet came, seconds of the monotonic clock."""
        return self.packets.heard_s

    @property
    def first_bytes(self) -> bytes:
        """What the peer said first, a line at most; it may be anything."""
        return self.packets.first

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
        self.packets.packet_bytes_max = packet_bytes_max

    def serve(self, path: DataPath, chanid: int) -> None:
        """Let `path` have the data of a channel, on this thread."""
        self.paths[chanid] = path
        self.packets.inflows[chanid] = path.inflow

    def _work(self) -> None:
        """Answer what came; forget paths that have ended."""
        if self._later and self.clear_to_send.is_set():
            later, self._later = self._later, []
            for message in later:
                self.packetizer.send_message(message)
        for chanid, path in list(self.paths.items()):
            path.work()
            if path.ended:
                del self.paths[chanid]
                del self.packets.inflows[chanid]
        self.packets.busy = any(path.busy for path in self.paths.values())

    def _silence(self) -> None:
        for path in self.paths.values():
            path.silence()

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

    def _send_user_message(self, data: Message) -> None:
        """Send; in a key exchange later, for this thread cannot wait for itself."""
        if threading.current_thread() is self and not self.clear_to_send.is_set():
            if len(self._later) >= _LATER_MAX:
                raise SSHException("too many requests in a key exchange")
            self._later.append(data)
        else:
            super()._send_user_message(data)  # type: ignore[misc]  # absent from the stubs

    def _send_kex_init(self) -> None:
        """Announce our lists, to some clients only when theirs are known.

        The client's order decides (RFC 4253, section 7.1), and OpenSSH's has AES-GCM
        last; a list without the others, where the client knows it, decides for it.
        """
        waits = not self._lists_came and self.remote_version.startswith(SPEAK_FIRST)
        if not (waits and self.packets.hears(LISTS_WAIT_S)):
            super()._send_kex_init()  # type: ignore[misc]  # absent from the stubs

    def _choose_ciphers(self, m: Message) -> None:
        """Offer AES-GCM alone to a client that offers it, unless it has our lists."""
        lists = self._really_parse_kex_init(m)  # type: ignore[attr-defined]  # absent from the stubs
        m.rewind()
        known = set(lists["client_encrypt_algo_list"])
        if set(GCM_CIPHERS) & known.intersection(lists["server_encrypt_algo_list"]):
            ours = self._preferred_ciphers
            self._preferred_ciphers = tuple(c for c in ours if c in GCM_CIPHERS)

    def _negotiate_keys(self, m: Message) -> None:
        """Exchange keys; again only after login, for an exchange is costly."""
        if self.initial_kex_done and not self.is_authenticated():
            raise SSHException("a second key exchange before login")
        if not self._lists_came and self.local_kex_init is None:
            self._choose_ciphers(m)
        self._lists_came = True
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

    _kex_info: ClassVar[dict[str, type[object]]] = {_POST_QUANTUM: KEX[_POST_QUANTUM]}
    _preferred_kex = tuple(_kex_info)
