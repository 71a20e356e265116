"""The WebDAV listener: accepts on sockets handed in, serves with cheroot's workers.

It binds nothing and asks the environment for no socket: the supervisor binds, one
socket for IPv4 and one for IPv6. A peer outside every line is closed before a byte is
sent or a handshake begins.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from cheroot.wsgi import Server
from typing_extensions import override

from server.access.entrance import Entrance
from server.access.login import Arrival
from server.model.operation import Protocol, Stage
from server.webdav.authentication import Gate
from server.webdav.connection import Connection, Service
from server.webdav.waiting import Waiting

log = logging.getLogger(__name__)

_TICK_S: Final = 0.05
_ACCEPT_TICK_S: Final = 0.2
_RETRY_S: Final = 0.1
"""Pause after an accept that failed for want of descriptors or memory."""
_PATIENCE_S: Final = 0.01
"""Longer than a round trip on a LAN, and shorter than anybody who queues notices."""
_FORCE_S: Final = 2
"""How long cut requests get to notice, at the end of a drain."""


class _Workers(Server):
    """cheroot's pool of workers and its settings, without its sockets."""

    def __init__(self, application: Gate, service: Service, address: object) -> None:
        """Serve `application`; `address` is what the environ names."""
        settings = service.settings
        super().__init__(
            address,
            application,
            numthreads=settings.threads,
            server_name="Kagikura",
            timeout=settings.request_timeout_s,
        )
        self.software = "Kagikura"
        self._connections_max = settings.connections_max
        self._open: set[Connection] = set()
        self._lock = threading.Lock()  # Guards _open. Taken after none, before none.
        self.waiting = Waiting(self.process_conn)

        # One for each thread that may wait for a connection's next request.
        self._seats = [_PATIENCE_S] * (settings.threads // 2)

    @contextmanager
    def patience(self) -> Iterator[float]:
        """How long the thread may wait within the block for a next request, seconds.

        A client that has just been answered often asks again at once: then it is not
        worth while to hand its connection to the waiting room and another thread. At
        most half of the threads wait so, and none when connections queue.
        """
        if self.requests.qsize:
            yield 0.0
            return
        try:
            seat = self._seats.pop()
        except IndexError:
            yield 0.0
            return
        try:
            yield seat
        finally:
            self._seats.append(seat)

    def prepare(self) -> None:
        """Start the workers; there is nothing to bind."""
        self.requests.start()
        self.waiting.start()
        self.ready = True

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Whether a connection may go on after its answer."""
        return bool(self.ready)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in, unless there are too many."""
        with self._lock:
            if len(self._open) >= self._connections_max:
                return False
            self._open.add(connection)
        # Who connects mostly asks at once: one hand-over less than by way of the room.
        self.process_conn(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection has closed."""
        with self._lock:
            self._open.discard(connection)

    def open_connections(self) -> list[Connection]:
        """Those that have not closed."""
        with self._lock:
            return list(self._open)

    def put_conn(self, conn: Connection) -> None:
        """Let a connection wait for its next bytes."""
        try:
            waits = self.waiting.put(conn)
        except (OSError, ValueError):
            waits = False
        if not waits:
            conn.close()

    @override
    def error_log(
        self, msg: str = "", level: int = 20, traceback: bool = False
    ) -> None:
        """Log through our logger."""
        log.log(level, "cheroot: %s", msg, exc_info=traceback)

    def stop(self) -> None:
        """Nothing: `Listener` stops the parts itself, whatever a worker met."""


class Listener:
    """Serves HTTP on bound and listening sockets."""

    def __init__(
        self, sockets: Sequence[socket.socket], service: Service, application: Gate
    ) -> None:
        """Own `sockets` from now on."""
        self._sockets = list(sockets)
        self._service = service
        self._workers = _Workers(
            application, service, self._sockets[0].getsockname()[:2]
        )
        self._entrance = Entrance(
            service.desk, Protocol.WEBDAV, service.doorway, serve=self._serve
        )
        self._accepting = True
        self._stopping = threading.Lock()  # Guards _stopped. Taken before all others.
        self._stopped = False
        self._deadline_s = float("inf")
        self._thread = threading.Thread(
            target=self._accept_all, name="webdav-accept", daemon=True
        )

    def start(self) -> None:
        """Accept and serve, in threads of its own."""
        self._workers.prepare()
        self._entrance.start()
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many connections live."""
        return len(self._workers.open_connections())

    def retire(self) -> None:
        """Take no new clients; those there end with their next answer."""
        self._accepting = False
        if self._thread.is_alive():
            self._thread.join()
        self._entrance.close()
        self._workers.ready = False

    def drain(self, deadline_s: float) -> None:
        """Take no more; let running requests end, and break them at the deadline.

        Args:
            deadline_s: Seconds that they get.
        """
        self.retire()
        with self._stopping:
            if not self._stopped:
                self._stopped = True
                self._stop(deadline_s)

    def _stop(self, deadline_s: float) -> None:
        for connection in self._workers.waiting.close():
            connection.close()
        self._deadline_s = min(self._deadline_s, time.monotonic() + deadline_s)
        while self.connections and time.monotonic() < self._deadline_s:
            time.sleep(_TICK_S)
        for connection in self._workers.open_connections():
            connection.cut()
        self._workers.requests.stop(_FORCE_S)

    def close(self) -> None:
        """Break what still runs, and close the sockets."""
        self._deadline_s = 0.0
        self.drain(0)
        for sock in self._sockets:
            sock.close()

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                sock.settimeout(0)  # siblings may take the connection first
                selector.register(sock, selectors.EVENT_READ)
            while self._accepting:
                for key, _ in selector.select(_ACCEPT_TICK_S):
                    self._accept_fenced(key.fileobj)

    def _accept_fenced(self, listening: Any) -> None:  # noqa: ANN401 - what a selector holds
        try:
            self._accept(listening)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("webdav accept failed", extra={"error": str(error)})
            time.sleep(_RETRY_S)
        except Exception:
            log.exception("webdav accept failed")

    def _accept(self, listening: socket.socket) -> None:
        self._entrance.enter(*listening.accept())

    def _serve(self, sock: socket.socket, arrival: Arrival) -> None:
        _tune(sock)
        connection = Connection(self._workers, sock, arrival, self._service)
        if not self._workers.admit(connection):
            sock.close()
            arrival.settled()
            log.warning("webdav connections_max reached")
            desk = self._service.desk
            desk.turn_away(arrival, Stage.LIMIT, "webdav.connections_max")


def _tune(sock: socket.socket) -> None:
    sock.settimeout(0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
