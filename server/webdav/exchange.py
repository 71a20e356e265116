"""One request and its answer: cheroot's, with a strict head and our own bodies."""

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from cheroot.server import HTTPRequest
from cheroot.wsgi import Gateway_10

from server.model.operation import Stage
from server.webdav.body import Body, ChunkedBody, KnownBody
from server.webdav.headers import REQUEST_LINE, StrictHeaderReader
from server.webdav.status import status_line
from server.webdav.wire import Inbox

if TYPE_CHECKING:
    from server.webdav.connection import Connection

DRAIN_S: Final = 0.5
"""How long a worker waits for the rest of a body that nobody wants."""

DAV_HEADERS: Final = (("DAV", "1, 2"), ("MS-Author-Via", "DAV"))
"""On every answer: Finder asks for no password, and Office opens read-only, without."""


class Continue:
    """Asks the client for its body, once, if it waits for that (RFC 9110, 10.1.1)."""

    def __init__(self, connection: "Connection", *, expected: bool) -> None:
        """Ask on `connection`, if `expected`."""
        self._connection = connection
        self.expected = expected

    def __call__(self) -> None:
        """The body is about to be read."""
        if self.expected:
            self.expected = False
            self._connection.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def settled(body: Body, inbox: Inbox, ask: Continue) -> bool:
    """Whether the next request can begin where this one's body ends."""
    if body.finished:
        return True
    if ask.expected:
        # A client that waits for 100 Continue may send its body or not: who knows.
        return False
    with inbox.hurried(DRAIN_S):
        return body.drain()


class Gateway(Gateway_10):
    """Puts the connection into the WSGI environ."""

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot seems to return None
        """Cheroot's environ, and `kagikura.connection`."""
        environ: dict[str, Any] = super().get_environ()
        environ["kagikura.connection"] = self.req.conn
        return environ


class Request(HTTPRequest):
    """One request: cheroot's, with a strict head and a body that is not swallowed."""

    header_reader = StrictHeaderReader()

    def __init__(self, server: Any, conn: "Connection", head: bytes) -> None:  # noqa: ANN401 - cheroot is untyped
        """Take a complete head."""
        super().__init__(server, conn)
        self.scheme = b"https" if conn.service.tls else b"http"
        self._head = head
        self._continue = Continue(conn, expected=False)
        self.body: Body | None = None

    def parse_request(self) -> None:
        """Read the head; a bad one is answered at once."""
        stream = BytesIO(self._head)
        self.rfile = stream
        if not REQUEST_LINE.match(self._head):
            self.simple_response("400 Bad Request", "Malformed request line.")
            return
        if self.read_request_line() and self.read_request_headers():
            self.ready = True

    def read_request_headers(self) -> bool:
        """Read and check the header lines; the body's form is settled here."""
        try:
            self.header_reader(self.rfile, self.inheaders)
        except ValueError as error:
            self.simple_response("400 Bad Request", str(error))
            return False
        modern = self.response_protocol == "HTTP/1.1"
        problem = self._problem(modern=modern)
        if problem is not None:
            self.simple_response(*problem)
            return False
        connection = self.inheaders.get(b"Connection", b"").lower()
        tokens = {token.strip() for token in connection.split(b",")}
        self.close_connection = b"close" in tokens or not (
            modern or b"keep-alive" in tokens
        )
        return True

    def _problem(self, *, modern: bool) -> tuple[str, str] | None:
        headers = self.inheaders
        coding = headers.get(b"Transfer-Encoding", b"").lower()
        expect = headers.get(b"Expect", b"").lower()
        length = int(headers.get(b"Content-Length", b"0"))
        too_long = length > self.conn.service.settings.body_bytes_max
        self.chunked_read = bool(coding)
        self._continue = Continue(self.conn, expected=bool(expect) and modern)
        problems = (
            (modern and not headers.get(b"Host"), 400, "Host is missing."),
            (coding and not modern, 400, "HTTP/1.0 knows no transfer coding."),
            (coding not in {b"", b"chunked"}, 501, "Unknown transfer coding."),
            (expect not in {b"", b"100-continue"}, 417, "Unknown expectation."),
            (too_long, 413, "The upload is too large."),
        )
        return next(
            ((status_line(code), text) for wrong, code, text in problems if wrong),
            None,
        )

    def respond(self) -> None:
        """Run the application and write its answer."""
        inbox = self.conn.inbox
        if self.chunked_read:
            bytes_max = self.conn.service.settings.body_bytes_max
            self.body = ChunkedBody(inbox, bytes_max, self._continue)
        else:
            length = int(self.inheaders.get(b"Content-Length", b"0"))
            self.body = KnownBody(inbox, length, self._continue)
        self.rfile = self.body
        Gateway(self).respond()
        self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        self.conn.wfile.flush()

    def send_headers(self) -> None:
        """Write the head of the answer, after settling what is left of the body."""
        body = self.body
        if body is not None and not settled(body, self.conn.inbox, self._continue):
            self.close_connection = True
            self.conn.lingering = True
        self.conn.wfile.holding = True
        super().send_headers()
        self.conn.wfile.holding = False

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer without the application; the connection ends with it.

        Nobody has shown who sends this, so it is counted as knocks are.

        Raises:
            AuditUnavailableError: It cannot be counted, so it is not answered.
        """
        conn = self.conn
        rule = f"http_{status[:3]}"
        conn.service.desk.turn_away(conn.arrival, Stage.REQUEST, rule)
        self.close_connection = True
        self.sent_headers = True
        self.conn.lingering = True
        text = msg.encode("ascii", "replace")
        lines = [
            f"HTTP/1.1 {status}",
            f"Content-Length: {len(text)}",
            "Content-Type: text/plain; charset=utf-8",
            "Connection: close",
            *(f"{name}: {value}" for name, value in DAV_HEADERS),
        ]
        head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
        self.conn.wfile.write(head + text)
