"""Accepts SSH connections, checks their line before a byte is sent, bounds them."""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from server.access.entrance import Entrance
from server.access.login import Arrival, Desk
from server.model.clock import Clock
from server.model.operation import Protocol, Stage
from server.settings.schema import SftpSettings
from server.sftp.connection import Connection, House
from server.sftp.transport import load_host_keys, prepare_socket
from server.vfs.filesystem import FileSystem

log = logging.getLogger(__name__)

STOPPING: Final = "server stopping"
WATCH_S: Final = 0.5
"""How often grace and idle times are looked at."""
DRAIN_POLL_S: Final = 0.05
QUIET_NS: Final = 300_000_000
"""A client that renames what it uploaded gets this long after its last request."""
END_S: Final = 10.0
"""How long the ends of all connections may take at a close."""
_BACKOFF_S: Final = 0.2


class Listener:
    """The SFTP front end of one worker."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        desk: Desk,
        filesystem: FileSystem,
        settings: SftpSettings,
        host_keys: Iterable[Path],
        clock: Clock,
    ) -> None:
        """Prepare to serve sockets that are bound and listen already.

        Args:
            sockets: Listening sockets; closed when accepting stops. Other processes
                may accept on the same ones.
            desk: Admits connections and logins.
            filesystem: What is served.
            settings: `[sftp]`.
            host_keys: Private key files in OpenSSH's format.
            clock: Of the daemon.

        Raises:
            OSError: A host key cannot be read.
            ValueError: It is no private key.
        """
        self._sockets = list(sockets)
        self._settings = settings
        self._house = House(
            desk=desk,
            filesystem=filesystem,
            settings=settings,
            host_keys=load_host_keys(host_keys),
            clock=clock,
        )
        self._lock = threading.Lock()  # Guards _connections. Taken before none.
        self._connections: set[Connection] = set()
        self._retiring = threading.Lock()  # Held by who stops accepting. Taken first.
        self._retired = threading.Event()
        self._entrance = Entrance(desk, Protocol.SFTP, settings, serve=self._serve)
        self._closed = threading.Event()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._accepting = threading.Thread(
            target=self._accept_all, name="sftp-accept", daemon=True
        )
        self._watching = threading.Thread(
            target=self._watch, name="sftp-watch", daemon=True
        )

    def start(self) -> None:
        """Accept connections from now on."""
        self._entrance.start()
        self._accepting.start()
        self._watching.start()

    def retire(self) -> None:
        """Accept no more; sessions that live go on."""
        with self._retiring:
            if self._retired.is_set():
                return
            self._retired.set()
            self._wake_writer.send(b"x")
            if self._accepting.ident is not None:
                self._accepting.join()
            self._entrance.close()
            for sock in (*self._sockets, self._wake_reader, self._wake_writer):
                sock.close()

    def drain(self, deadline_s: float) -> None:
        """Stop accepting, let open files be finished, then end every session.

        Args:
            deadline_s: Seconds until what is still open is aborted.
        """
        self.retire()
        until_s = time.monotonic() + deadline_s
        for connection in self._alive():
            connection.drain()
        while (busy := self._cut_quiet()) and time.monotonic() < until_s:
            log.debug("sftp sessions draining", extra={"busy": busy})
            time.sleep(min(DRAIN_POLL_S, max(until_s - time.monotonic(), 0)))
        self.close()

    def close(self) -> None:
        """End every session now; what is open is aborted. A second call is harmless."""
        self.retire()
        self._closed.set()
        if self._watching.ident is not None:
            self._watching.join()
        connections = self._alive()
        for connection in connections:
            connection.abort()
            connection.cut(STOPPING)
        until_s = time.monotonic() + END_S
        for connection in connections:
            if not connection.join(max(until_s - time.monotonic(), 0)):
                log.error("sftp connection does not end")

    @property
    def connections(self) -> int:
        """How many connections live."""
        return len(self._alive())

    # Accepting.

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            for sock in self._sockets:
                sock.settimeout(0)  # another process may take the connection
                selector.register(sock, selectors.EVENT_READ)
            while not self._retired.is_set():
                for key, _ in selector.select():
                    if isinstance(key.fileobj, socket.socket):
                        self._accept_fence(key.fileobj)

    def _accept_fence(self, listening: socket.socket) -> None:
        if listening is self._wake_reader:
            return
        try:
            self._accept(listening)
        except BlockingIOError:
            return
        except OSError as error:  # too many open files, or the peer has gone
            log.warning("sftp accept failed: %s", error)
            self._retired.wait(_BACKOFF_S)
        except Exception:
            log.exception("sftp accept failed")
            self._retired.wait(_BACKOFF_S)

    def _accept(self, listening: socket.socket) -> None:
        self._entrance.enter(*listening.accept())

    def _serve(self, sock: socket.socket, arrival: Arrival) -> None:
        if self.connections >= self._settings.connections_max:
            full = "sftp.connections_max"
            sock.close()
            arrival.settled()
            log.warning("sftp connection turned away: %s", full)
            self._house.desk.turn_away(arrival, Stage.LIMIT, full)
            return
        prepare_socket(sock)
        connection = Connection(sock, arrival, house=self._house, ended=self._forget)
        with self._lock:
            self._connections.add(connection)
        try:
            connection.start()
        except RuntimeError:  # no thread to be had
            self._forget(connection)
            raise

    # Watching.

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_S):
            now_s = time.monotonic()
            for connection in self._alive():
                if not connection.is_admitted:
                    grace_s = self._settings.login_grace_s * connection.patience
                    if connection.age_s > grace_s:
                        connection.cut("login grace time over")
                elif now_s - connection.heard_s > self._settings.idle_timeout_s:
                    connection.cut("idle")

    def _cut_quiet(self) -> int:
        """End connections that have nothing open; how many have."""
        busy = 0
        for connection in self._alive():
            if connection.is_admitted and not connection.is_quiet(QUIET_NS):
                busy += 1
            else:
                connection.cut(STOPPING)
        return busy

    def _alive(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
