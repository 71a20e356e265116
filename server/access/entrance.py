"""What stands between an accepted connection and its front end.

Who is at the other end (the peer, or the client that a trusted proxy names), whether
that source lies in a line, and whether there is room among those that have not logged
in yet. A header is awaited beside the accept loop, by one thread for all, so that a
proxy that dribbles holds nobody up.
"""

import ipaddress
import logging
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from server.access.login import Desk
from server.access.office import Arrival
from server.access.proxy_header import ProxyHeader, ProxyHeaderError, ProxyReader
from server.access.startups import Place, Startups
from server.model.errors import LoginRefusedError, ServerError
from server.model.identity import Source, SourceRefusedError
from server.model.operation import Protocol, Stage
from server.settings.schema import ListenerSettings

log = logging.getLogger(__name__)

HEADER_S_MAX: Final = 3.0
PENDING_MAX: Final = 1024
"""Connections of trusted proxies whose header is awaited at the same time."""
_TICK_S: Final = 0.25
_NO_LINGER: Final = struct.pack("ii", 1, 0)

Peer = object
"""A socket's peer name."""


@dataclass(slots=True)
class _Pending:
    sock: socket.socket
    peer: Source
    reader: ProxyReader = field(default_factory=ProxyReader)
    until_s: float = field(default_factory=lambda: time.monotonic() + HEADER_S_MAX)


class Entrance:
    """Lets the connections of one listener in, one by one."""

    def __init__(
        self,
        desk: Desk,
        protocol: Protocol,
        settings: ListenerSettings,
        *,
        serve: Callable[[socket.socket, Arrival], None],
    ) -> None:
        """Hand admitted connections to `serve`, which owns them from then on.

        Args:
            desk: Checks the line and records who is turned away.
            protocol: Which door.
            settings: The listener's.
            serve: May raise; the socket is closed then. It must see to it that
                `Arrival.settled` is called once the client has logged in or is gone.
        """
        self._desk = desk
        self._protocol = protocol
        self._serve = serve
        self._startups = Startups(settings.startups, settings.startups_source_max)
        self._proxied = settings.proxy_protocol == "required"
        self._trusted = [ipaddress.ip_network(text) for text in settings.proxy_trusted]
        self._open = True
        # Guards the selector's map and _open. Taken before none.
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(
            target=self._run, name=f"{protocol}-entrance", daemon=True
        )

    def start(self) -> None:
        """Await headers, where proxies stand in front."""
        if self._proxied:
            self._thread.start()

    def close(self) -> None:
        """Let nobody in any more; a second call is harmless."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        if self._thread.ident is not None:
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def enter(self, sock: socket.socket, peer: Peer) -> None:
        """Take an accepted connection over. Never raises for what a client did."""
        if not self._proxied:
            self._fence(sock, lambda: self._admit(sock, peer, via=""))
            return
        try:
            source = Source.of_peer(peer)
        except SourceRefusedError:
            sock.close()
            return
        if not self._trusts(source):
            self._turn_away(sock, source, "not_a_trusted_proxy")
            return
        sock.settimeout(0)
        with self._lock:
            room = self._open and len(self._selector.get_map()) < PENDING_MAX
            if room:
                pending = _Pending(sock, source)
                self._selector.register(sock, selectors.EVENT_READ, pending)
        if not room:
            self._turn_away(sock, source, "proxy_headers_pending")

    # One connection.

    def _admit(self, sock: socket.socket, peer: Peer, via: str) -> None:
        arrival = self._desk.arrive(peer, self._protocol, via=via)
        full, former = self._startups.enter(arrival.place, arrival.source)
        if full:
            sock.close()
            log.info("connection turned away", extra={"rule": full})
            self._desk.turn_away(arrival, Stage.LIMIT, full)
            return
        arrival.on_settled(lambda: self._startups.leave(arrival.place))
        try:
            if former is not None:
                self._make_room(former)
            self._serve(sock, arrival)
        except BaseException:
            arrival.settled()
            raise

    def _make_room(self, former: Place) -> None:
        """End a connection that waited long without proving anything."""
        former.drop()
        if former.source is not None:
            arrival = Arrival(source=former.source, protocol=self._protocol)
            self._desk.turn_away(arrival, Stage.LIMIT, "startups_made_room")

    def _fence(self, sock: socket.socket, step: Callable[[], None]) -> None:
        """Close the socket whatever goes wrong; only our own faults are told."""
        try:
            step()
        except LoginRefusedError:
            sock.close()  # recorded or counted, and not one byte is sent
        except ServerError as error:
            sock.close()
            log.warning("connection turned away: %s", error.reason)
        except OSError as error:
            sock.close()  # the peer has gone, most likely
            log.warning("connection not served: %s", error)
        except Exception:
            sock.close()
            log.exception("connection could not be served")

    # Proxies.

    def _trusts(self, source: Source) -> bool:
        address = source.address
        return any(address in network for network in self._trusted)

    def _turn_away(self, sock: socket.socket, source: Source, rule: str) -> None:
        sock.close()
        arrival = Arrival(source=source, protocol=self._protocol)
        self._fence(sock, lambda: self._desk.turn_away(arrival, Stage.LINE, rule))

    def _run(self) -> None:
        while self._open:
            try:
                ready = [key.data for key, _ in self._selector.select(_TICK_S)]
                self._advance(ready)
                self._expire()
            except Exception:
                log.exception("entrance failed")
                time.sleep(_TICK_S)

    def _advance(self, ready: Iterable[_Pending]) -> None:
        for pending in ready:
            try:
                header = self._read(pending)
            except ProxyHeaderError as error:
                self._forget(pending)
                log.warning("bad PROXY header", extra={"error": str(error)})
                self._turn_away(pending.sock, pending.peer, "proxy_header")
            except OSError:
                self._forget(pending)
                pending.sock.close()
            else:
                if header is not None:
                    self._forget(pending)
                    self._deliver(pending, header)

    def _read(self, pending: _Pending) -> ProxyHeader | None:
        """What has come so far; nothing behind the header is touched.

        Raises:
            ProxyHeaderError: It is no header, or the connection ended inside it.
        """
        while True:
            try:
                received = pending.sock.recv(pending.reader.wanted_bytes)
            except BlockingIOError:
                return None
            if not received:
                if pending.reader.empty:
                    return ProxyHeader(None)  # a health check that only connects
                raise ProxyHeaderError("the connection ended inside the header")
            header = pending.reader.feed(received)
            if header is not None:
                return header

    def _deliver(self, pending: _Pending, header: ProxyHeader) -> None:
        if header.source is None:
            _close_politely(pending.sock)
            return
        self._fence(
            pending.sock,
            lambda: self._admit(pending.sock, header.source, via=pending.peer.ip),
        )

    def _expire(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            waiting = [key.data for key in self._selector.get_map().values()]
        for pending in waiting:
            if pending.until_s <= now_s:
                self._forget(pending)
                self._turn_away(pending.sock, pending.peer, "proxy_header_late")

    def _forget(self, pending: _Pending) -> None:
        with self._lock:
            self._selector.unregister(pending.sock)


def discard_at_close(sock: socket.socket) -> None:
    """Have the close of a cut session drop what the kernel still holds.

    A slow client would else go on receiving for as long as its buffers last.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    except OSError:
        log.debug("socket was gone already")


def _close_politely(sock: socket.socket) -> None:
    """End a proxy's health check with FIN, not with a reset."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        log.debug("health check was gone already")
    sock.close()
