"""One HTTP connection: handshake, heads, requests, lingering, end.

A worker thread is needed only while there is something to do: a connection whose
handshake or head is incomplete, or that waits for its next request, goes back to the
`Waiting` room. So silent and dribbling clients cost a descriptor and no thread.
"""

import logging
import selectors
import socket
import ssl
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

from cheroot.server import HTTPConnection

from server.access.entrance import discard_at_close
from server.access.login import Arrival, BasicLogin, Desk
from server.model.errors import ServerError
from server.model.session import Session
from server.settings.schema import WebdavSettings
from server.vfs.filesystem import FileSystem
from server.vfs.view import View
from server.webdav.client_hello import HELLO_BYTES_MAX, offered
from server.webdav.exchange import Request
from server.webdav.hotpath import HotPath
from server.webdav.status import status_line
from server.webdav.tls import TlsContexts, common_name, device_key, refusal_of
from server.webdav.wire import HeadTooLongError, Inbox, Outbox

log = logging.getLogger(__name__)

TURN_REQUESTS_MAX: Final = 256
"""So many requests a thread serves before other connections have their turn."""
LINGER_S: Final = 2.0
"""How long an answered client may still send its refused body (RFC 9112, 9.6)."""


class Service:
    """What the connections of one listener share."""

    def __init__(
        self,
        *,
        settings: WebdavSettings,
        desk: Desk,
        files: FileSystem,
        tls: TlsContexts | None,
        client_certificates: bool,
        hot: HotPath | None = None,
    ) -> None:
        """Keep the collaborators of a listener.

        Args:
            settings: Of WebDAV.
            desk: Where connections and logins arrive.
            files: The store.
            tls: None for plain HTTP.
            client_certificates: Whether a device shows one.
            hot: The short way for plain requests; None sends all the general way.
        """
        self.settings = settings
        self.doorway = settings if client_certificates else settings.secret
        self.desk = desk
        self.files = files
        self.tls = tls
        self.client_certificates = client_certificates
        self.hot = hot


class _Phase(Enum):
    HANDSHAKE = auto()
    SERVING = auto()
    LINGERING = auto()


class Connection(HTTPConnection):
    """An accepted connection of a known line."""

    def __init__(
        self,
        server: Any,  # noqa: ANN401 - cheroot is untyped
        sock: socket.socket,
        arrival: Arrival,
        service: Service,
    ) -> None:
        """Own `sock`; nothing is read yet."""
        self.server = server
        self.socket: socket.socket = sock
        self.service = service
        self.arrival = arrival
        self.remote_addr = arrival.source.ip
        self.remote_port = arrival.source.port
        self.inbox = self.rfile = Inbox(sock)
        self.wfile = Outbox(sock)
        self.requests_seen = 0
        self.memory: dict[bytes, tuple[str, str]] = {}
        """Header lines that were read before, see `headers.Memory`."""
        self.lingering = False
        self.expired = False
        self.interest = selectors.EVENT_READ
        self._phase = _Phase.HANDSHAKE if service.tls else _Phase.SERVING
        self._hello = b""
        self._device_key: str | None = None
        self._login: BasicLogin | None = None
        self._views: dict[str, View] = {}
        self._head_begun = False
        self.deadline_s = 0.0
        self._give(service.settings.header_timeout_s)
        arrival.place.drop = self.cut

    # What the application asks.

    @property
    def login(self) -> BasicLogin:
        """The admission of this connection's requests."""
        if self._login is None:
            self._login = self.service.desk.basic(
                self.arrival, self._device_key, self._close_view
            )
        return self._login

    def view(self, session: Session) -> View:
        """The session's view; the connection ends when the session is cut."""
        key = session.actor.session
        view = self._views.get(key)
        if view is None:
            self.arrival.settled()
            view = self._views[key] = self.service.files.view(session)
            session.on_cut(self.abort)
        return view

    def _close_view(self, session: Session) -> None:
        view = self._views.pop(session.actor.session, None)
        if view is not None:
            view.close()

    # What the worker threads ask.

    def communicate(self) -> bool:
        """Go on as far as possible without waiting for the client's next head.

        Returns:
            Whether the connection goes on.
        """
        if self.expired:
            return False
        try:
            return self._go_on()
        except (OSError, ValueError) as error:
            log.debug("webdav connection ended", extra={"error": str(error)})
        except Exception:
            log.exception("webdav connection failed")
        return False

    def _go_on(self) -> bool:
        if self._phase is _Phase.LINGERING:
            return self.inbox.discard() and self._in_time()
        if self._phase is _Phase.HANDSHAKE and not self._handshake():
            return self._in_time()
        with self.server.patience() as patience_s:
            return self._serve_all(patience_s)

    def _serve_all(self, patience_s: float) -> bool:
        """Serve what comes; between requests wait as long as this thread may."""
        # Whoever woke this thread knew of bytes, unless the connection is a new one.
        wait_s = 0.0 if self.requests_seen else patience_s
        for _ in range(TURN_REQUESTS_MAX):
            self.socket.settimeout(wait_s)
            head = self._head()
            if head is None:
                return not self.inbox.at_end and self._in_time()
            self.socket.settimeout(self.service.settings.request_timeout_s)
            if not self._serve(head):
                return self._linger() if self.lingering else False
            wait_s = patience_s
        return True  # others have their turn

    def _handshake(self) -> bool:
        tls = self.service.tls
        if tls is None:
            return True
        if not isinstance(self.socket, ssl.SSLSocket):
            self.socket.settimeout(0)
            try:
                self._hello = self.socket.recv(HELLO_BYTES_MAX, socket.MSG_PEEK)
            except BlockingIOError:  # a new one, faster here than its first bytes
                return False
            self.socket = tls.current().wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.inbox.sock = self.wfile.sock = self.socket
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.interest = selectors.EVENT_READ
            return False
        except ssl.SSLWantWriteError:
            self.interest = selectors.EVENT_WRITE
            return False
        except ssl.SSLError as error:
            stage, rule = refusal_of(error)
            if rule:
                self.service.desk.turn_away(
                    self.arrival, stage, rule, {"offer": offered(self._hello)}
                )
            raise
        self.interest = selectors.EVENT_READ
        self._phase = _Phase.SERVING
        self._hello = b""
        self._give(self.service.settings.header_timeout_s)
        self._greet(self.socket)
        return True

    def _greet(self, sock: ssl.SSLSocket) -> None:
        cipher = sock.cipher()
        self.arrival.algorithms = f"{sock.version()} {cipher[0] if cipher else ''}"
        if self.service.client_certificates:
            certificate = sock.getpeercert(binary_form=True)
            if certificate is None:
                raise ValueError("no client certificate")
            self._device_key = device_key(certificate)
            self.arrival.certificate_name = common_name(certificate)

    def _head(self) -> bytes | None:
        settings = self.service.settings
        try:
            head = self.inbox.head(settings.header_bytes_max)
        except HeadTooLongError:
            self.socket.settimeout(settings.request_timeout_s)
            status = status_line(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            Request(self.server, self, b"").simple_response(status, "Head too long.")
            raise ValueError("head too long") from None
        if head is None and not self._head_begun and not self.inbox.empty:
            self._head_begun = True
            self._give(settings.header_timeout_s)
        return head

    def _serve(self, head: bytes) -> bool:
        self._head_begun = False
        self.requests_seen += 1
        hot = self.service.hot
        try:
            goes_on = None if hot is None else hot.answer(self, head)
            if goes_on is None:
                goes_on = self._serve_generally(head)
        except (OSError, ServerError) as error:
            # After its first byte an answer can only be broken off.
            log.debug("webdav answer broken off", extra={"error": str(error)})
            return False
        settings = self.service.settings
        # Nobody who has not logged in keeps a place for long.
        known = bool(self._views)
        self._give(settings.idle_timeout_s if known else settings.header_timeout_s)
        return goes_on

    def _serve_generally(self, head: bytes) -> bool:
        request = Request(self.server, self, head)
        try:
            request.parse_request()
            if request.ready:
                request.respond()
        except (OSError, ServerError):
            raise
        except Exception:
            log.exception("webdav request failed")
            if not request.sent_headers:
                self.fail()
            return False
        return bool(request.ready and not request.close_connection)

    def fail(self) -> None:
        """Say that something went wrong here; the connection ends."""
        status = status_line(HTTPStatus.INTERNAL_SERVER_ERROR)
        Request(self.server, self, b"").simple_response(status, "Internal error.")

    @property
    def may_go_on(self) -> bool:
        """Whether another request may follow the one that is being answered."""
        return bool(self.server.can_add_keepalive_connection)

    def _linger(self) -> bool:
        self.wfile.flush()
        # Half closed, so that the answer is not torn away by a reset.
        socket.socket.shutdown(self.socket, socket.SHUT_WR)
        self._phase = _Phase.LINGERING
        self.socket.settimeout(0)
        self._give(LINGER_S)
        # What the client still sends is thrown away as it came, TLS or not.
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket = socket.socket(fileno=self.socket.detach())
            self.inbox.sock = self.socket
        return self.inbox.discard()

    def _give(self, seconds: float) -> None:
        self.deadline_s = time.monotonic() + seconds

    def _in_time(self) -> bool:
        return time.monotonic() < self.deadline_s

    # The end.

    def cut(self) -> None:
        """Break the connection from any thread; its worker notices and closes it."""
        try:
            # Not SSLSocket.shutdown, which would leave its reader without TLS.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already

    def abort(self) -> None:
        """As `cut`, and what was sent but has not gone out is thrown away."""
        discard_at_close(self.socket)
        self.cut()

    def close(self) -> None:
        """Close socket and session. Never raises: an exception would stop cheroot."""
        self.arrival.settled()
        try:
            self.cut()
            self.socket.close()
        except OSError:
            log.debug("webdav socket did not close cleanly")
        try:
            if self._login is not None:
                self._login.close()
        except Exception:
            log.exception("webdav session did not close cleanly")
        finally:
            self.server.forget(self)
