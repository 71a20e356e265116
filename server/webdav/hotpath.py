"""The short way for plain requests, without WSGI and wsgidav around them.

GET, HEAD, PUT, PROPFIND and OPTIONS are what a drive is made of.

Whatever it does not fully understand goes the general way, untouched: `answer` says so
before anything was read, asked or recorded. What is done to files, locks and the trail
is done by the same functions on both ways (`download`, `upload`, `conditions`,
`refusals`), and a test holds their answers equal (docs/adr/0028).
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from wsgidav.dav_error import DAVError

from server.model.errors import PathRefusedError, ServerError
from server.settings.schema import WebdavSettings
from server.vfs.entry import Entry
from server.vfs.handle import OpenFile
from server.webdav.answer import Answer, Headers, Streamed
from server.webdav.asked import asked
from server.webdav.authentication import GUARDS, admit
from server.webdav.body import ChunkedBody, KnownBody
from server.webdav.conditions import require_expected
from server.webdav.dates import http_date
from server.webdav.download import (
    BLOCK_BYTES,
    Download,
    closing,
    opened,
    require_bytes,
    typed_headers,
)
from server.webdav.exchange import Continue, settled
from server.webdav.headers import plain_head
from server.webdav.propfind import answer, by_text
from server.webdav.provider import StoreProvider, not_found
from server.webdav.refusals import ALLOWED, operation_of, refusal
from server.webdav.status import status_line, translated
from server.webdav.target import requested, view_of
from server.webdav.upload import stored
from server.webdav.xml_body import take_xml

if TYPE_CHECKING:
    from server.model.path import VirtualPath
    from server.webdav.connection import Connection

log = logging.getLogger(__name__)

Environ = dict[str, Any]
Reply = Answer | Streamed | Download

_KERNEL_BYTES_MIN: Final = 65536
"""Shorter pieces travel with the head in one send."""
_GUARDS: Final = "".join(f"{name}: {value}\r\n" for name, value in GUARDS)
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_UNHURRIED: Final = frozenset({
    "HTTP_IF",  # locks and states of other resources
    "HTTP_CONTENT_RANGE",
    "HTTP_CONTENT_ENCODING",
})
_DEPTHS: Final = frozenset({"0", "1"})
_WAITS: Final = "100-continue"
_CONNECTIONS: Final = {"keep-alive": False, "close": True, "te": False, "": False}
"""What a Connection header may say here, and whether that is the end."""


class HotPath:
    """Answers plain requests of admitted clients. One for all listeners."""

    def __init__(self, settings: WebdavSettings) -> None:
        """Serve by `settings`."""
        self._settings = settings
        self._provider = StoreProvider()
        self._methods: dict[str, Callable[[Environ], Reply]] = {
            "GET": self._get,
            "HEAD": self._head,
            "PUT": self._put,
            "OPTIONS": self._options,
            "PROPFIND": self._propfind,
        }

    def answer(self, connection: "Connection", head: bytes) -> bool | None:
        """Answer a request.

        Returns:
            Whether the connection goes on; None when the request is to go the general
            way, and nothing of it was touched.

        Raises:
            OSError: The answer could not be sent whole.
            ServerError: An answer that had begun had to be broken off.
        """
        environ = plain_head(head, connection.memory)
        if environ is None or not self._understands(environ):
            return None
        exchange = _Exchange(connection, environ)
        return exchange.run(self._respond)

    def _understands(self, environ: Environ) -> bool:
        method = environ["REQUEST_METHOD"]
        length = environ.get("CONTENT_LENGTH", "0")
        has_body = length != "0" or "HTTP_TRANSFER_ENCODING" in environ
        return (
            method in self._methods
            and _UNHURRIED.isdisjoint(environ)
            and environ.get("HTTP_CONNECTION", "").lower() in _CONNECTIONS
            and not (method in _BODILESS and has_body)
            and int(length) <= self._settings.body_bytes_max
            and environ.get("HTTP_EXPECT", _WAITS).lower() == _WAITS
            and (method != "PROPFIND" or environ.get("HTTP_DEPTH") in _DEPTHS)
        )

    def _respond(self, exchange: "_Exchange") -> Reply:
        environ = exchange.environ
        turned = admit(environ)
        if turned is not None:
            return turned.to(environ["REQUEST_METHOD"])
        try:
            return self._made(exchange)
        except (ServerError, DAVError) as error:
            return refusal(environ, error)

    def _made(self, exchange: "_Exchange") -> Reply:
        environ = exchange.environ
        view = view_of(environ)
        operation = environ["kagikura.operation"] = operation_of(environ)
        try:
            environ["PATH_INFO"] = requested(environ)
        except PathRefusedError as error:
            view.refuse(operation, environ["REQUEST_URI"], error)
        environ["wsgi.input"] = exchange.body_of_request(self._settings)
        return self._methods[environ["REQUEST_METHOD"]](environ)

    # The methods.

    def _get(self, environ: Environ) -> Download:
        return opened(environ, lambda _, entry: require_expected(environ, entry))

    def _head(self, environ: Environ) -> Answer:
        with translated():
            entry = view_of(environ).stat(environ["PATH_INFO"])
        require_expected(environ, entry)
        length = 0 if entry.is_folder else entry.size
        headers = [*typed_headers(entry), ("Content-Length", str(length))]
        return Answer(HTTPStatus.OK, headers)

    def _put(self, environ: Environ) -> Answer:
        def judge(_: "VirtualPath", entry: Entry | None) -> None:
            require_expected(environ, entry)

        return stored(environ, judge)

    def _propfind(self, environ: Environ) -> Streamed:
        take_xml(environ, self._settings.xml_bytes_max)
        environ["wsgidav.provider"] = self._provider
        raw = environ["PATH_INFO"]
        found = self._provider.get_resource_inst(raw, environ)
        if found is None:
            raise not_found(view_of(environ), raw, environ["kagikura.operation"])
        require_expected(environ, found.entry)
        deep = environ["HTTP_DEPTH"] == "1"
        return answer(by_text(found, asked(environ), deep=deep))

    def _options(self, environ: Environ) -> Answer:  # noqa: ARG002 - as the others
        return Answer(HTTPStatus.OK, [("Allow", ALLOWED), ("Content-Length", "0")])


class _Exchange:
    """One request on its connection, and how far its answer has got."""

    def __init__(self, connection: "Connection", environ: Environ) -> None:
        """Nothing is asked or read yet."""
        self.environ = environ
        environ["kagikura.connection"] = self._connection = connection
        environ["wsgi.url_scheme"] = "https" if connection.service.tls else "http"
        said = environ.get("HTTP_CONNECTION", "").lower()
        self._last: bool = _CONNECTIONS[said]
        self._body: KnownBody | ChunkedBody | None = None
        self._continue = Continue(connection, expected="HTTP_EXPECT" in environ)
        self._begun = False

    def run(self, respond: Callable[["_Exchange"], Reply]) -> bool:
        """Make the answer and send it; whether the connection goes on."""
        try:
            reply = respond(self)
            if isinstance(reply, Download):
                self._send_download(reply)
            elif isinstance(reply, Streamed):
                self._send_stream(reply)
            else:
                self._send_head(reply.status, reply.headers)
                self._connection.wfile.write(reply.body)
            self._connection.wfile.flush()
        except (OSError, ServerError):
            raise
        except Exception:
            log.exception("webdav request failed")
            if not self._begun:
                self._connection.fail()
            return False
        return not self._last

    def body_of_request(self, settings: WebdavSettings) -> KnownBody | ChunkedBody:
        """The request's body, of which nothing is read yet."""
        inbox, ask = self._connection.inbox, self._continue
        if "HTTP_TRANSFER_ENCODING" in self.environ:
            self._body = ChunkedBody(inbox, settings.body_bytes_max, ask)
        else:
            length = int(self.environ.get("CONTENT_LENGTH", "0"))
            self._body = KnownBody(inbox, length, ask)
        return self._body

    def _send_head(self, status: int, headers: Headers) -> None:
        connection = self._connection
        if not self._settled():
            self._last = connection.lingering = True
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or not connection.may_go_on:
            self._last = True
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        end = "Connection: close\r\n" if self._last else ""
        now = http_date(int(time.time()))
        self._begun = True
        connection.wfile.holding = True
        connection.wfile.write(
            f"HTTP/1.1 {status_line(status)}\r\n{lines}{_GUARDS}"
            f"Date: {now}\r\nServer: Kagikura\r\n{end}\r\n".encode("latin-1")
        )
        connection.wfile.holding = False

    def _settled(self) -> bool:
        """Whether the next request can begin where this one's body ends."""
        body = self._body
        if body is None:  # refused before anybody looked at it
            body = self.body_of_request(self._connection.service.settings)
        return body.finished or settled(body, self._connection.inbox, self._continue)

    def _send_stream(self, answer: Streamed) -> None:
        wfile = self._connection.wfile
        if any(name == "Content-Length" for name, _ in answer.headers):
            self._send_head(answer.status, answer.headers)
            for block in answer.blocks:
                wfile.write(block)
            return
        chunked = ("Transfer-Encoding", "chunked")
        self._send_head(answer.status, [*answer.headers, chunked])
        for block in answer.blocks:
            wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        wfile.write(b"0\r\n\r\n")

    # A file's bytes.

    def _send_download(self, download: Download) -> None:
        wfile = self._connection.wfile
        with closing(download.file):
            self._send_head(download.status, download.headers)
            for piece in download.pieces:
                if isinstance(piece, bytes):
                    wfile.write(piece)
                else:
                    self._send_span(download.file, *piece)

    def _send_span(self, file: OpenFile, first: int, count: int) -> None:
        wfile = self._connection.wfile
        if count >= _KERNEL_BYTES_MIN and wfile.kernel_sends and not file.hashes_reads:
            wfile.flush()
            while count > 0:
                length = min(count, BLOCK_BYTES)
                send = partial(wfile.send_file, offset=first, count=length)
                try:
                    sent = file.lend(first, length, send)
                except BlockingIOError:
                    wfile.wait()
                    continue
                require_bytes(sent)
                first, count = first + sent, count - sent
            return
        while count > 0:
            block = file.read_at(first, min(count, BLOCK_BYTES))
            require_bytes(len(block))
            wfile.write(block)
            first, count = first + len(block), count - len(block)
