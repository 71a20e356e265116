"""The WSGI application behind the gate: prepares a request, answers its errors.

It stands where wsgidav's own application, resolver and error printer would: those
collapse the paths that must be recorded as sent, and print their version.
"""

import io
import itertools
from collections.abc import Generator, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from wsgidav.dav_error import DAVError
from wsgidav.xml_tools import etree, xml_to_bytes

from server.model.errors import (
    ConditionFailedError,
    IncompleteUploadError,
    LockedError,
    NotFoundError,
    PathRefusedError,
    RefusedError,
    ServerError,
)
from server.model.operation import Operation, Stage
from server.settings.schema import WebdavSettings
from server.webdav.body import DRAIN_BYTES_MAX, BodyTooLargeError, KnownBody
from server.webdav.locking import principal_of
from server.webdav.requests import ALLOWED, Environ, Requests, Start
from server.webdav.status import dav_error, status_line
from server.webdav.target import requested, view_of
from server.webdav.upload import body_of

_OPERATIONS: Final = {
    "GET": Operation.READ,
    "HEAD": Operation.STAT,
    "PUT": Operation.WRITE,
    "DELETE": Operation.DELETE,
    "MKCOL": Operation.MKDIR,
    "COPY": Operation.COPY,
    "MOVE": Operation.RENAME,
    "PROPFIND": Operation.LIST,
    "PROPPATCH": Operation.SETATTR,
    "LOCK": Operation.LOCK,
    "UNLOCK": Operation.UNLOCK,
}
_WITH_XML: Final = frozenset({"PROPFIND", "PROPPATCH", "LOCK"})
_TOLD: Final[dict[int, type[ServerError]]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.LOCKED: LockedError,
    HTTPStatus.PRECONDITION_FAILED: ConditionFailedError,
}
"""What wsgidav and our methods find out themselves, by its own name in the trail; the
rest is told by its number."""
_METHOD_CHARACTERS_MAX: Final = 20
_RANGE: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

_CONFIG: Final[dict[str, Any]] = {"block_size": 1024 * 1024, "hotfixes": {}}


class Application:
    """Answers admitted requests."""

    def __init__(self, settings: WebdavSettings) -> None:
        """Serve by `settings`."""
        self._requests = Requests()
        self._settings = settings

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """WSGI. A body that streams is closed by the server, however it ends."""
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: object) -> None:
            started[:] = [status, headers]

        answer: Generator[bytes, None, None] | None = None
        try:
            self._prepare(environ)
            answer = self._requests(environ, start)
            first = next(answer, b"")
        except (IncompleteUploadError, BodyTooLargeError) as error:
            # Of a body that no act was waiting for.
            told = _told(environ, error, dav_error(error))
            return _refused(environ, start_response, told)
        except ServerError as error:
            return _refused(environ, start_response, dav_error(error))
        except DAVError as error:
            return _refused(environ, start_response, _recorded(environ, error))
        start_response(*started)
        return _Answer(first, answer)

    def _prepare(self, environ: Environ) -> None:
        """Fill in what wsgidav asks for, and whose act this is."""
        view = view_of(environ)
        operation = environ["kagikura.operation"] = _operation(environ)
        try:
            environ["PATH_INFO"] = requested(environ)
        except PathRefusedError as error:
            view.refuse(operation, environ["REQUEST_URI"], error)
        environ["wsgidav.config"] = _CONFIG
        environ["wsgidav.provider"] = self._requests.provider
        environ["wsgidav.verbose"] = 0
        environ["wsgidav.auth.user_name"] = principal_of(view.session.actor)
        if environ["REQUEST_METHOD"] in _WITH_XML:
            self._take_xml(environ)

    def _take_xml(self, environ: Environ) -> None:
        """Hold the small body, chunked or not, so that wsgidav can read its length.

        Raises:
            DAVError: 413, too long; 400, a document type, which could hide entities.
        """
        body = body_of(environ)
        bytes_max = self._settings.xml_bytes_max
        if isinstance(body, KnownBody) and body.length_bytes > bytes_max:
            raise DAVError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The XML is too long.")
        xml = bytearray()
        while block := body.read(DRAIN_BYTES_MAX):
            xml += block
            if len(xml) > bytes_max:
                raise DAVError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The XML is too long."
                )
        # A NUL means UTF-16 or UTF-32, in which a DOCTYPE would look different.
        if b"\0" in xml or b"<!doctype" in xml.lower():
            raise DAVError(HTTPStatus.BAD_REQUEST, "XML with a document type.")
        environ["wsgi.input"] = io.BytesIO(xml)
        environ["CONTENT_LENGTH"] = str(len(xml))


class _Answer:
    """A body whose first block was made before its head could be sent."""

    def __init__(self, first: bytes, rest: Generator[bytes, None, None]) -> None:
        self._first = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain((self._first,), self._rest)

    def close(self) -> None:
        """The server is done with it, or the client has gone."""
        self._rest.close()


def _operation(environ: Environ) -> Operation:
    method = environ["REQUEST_METHOD"]
    if method == "PROPFIND" and environ.get("HTTP_DEPTH") == "0":
        return Operation.STAT
    return _OPERATIONS.get(method, Operation.STAT)


def _recorded(environ: Environ, error: DAVError) -> DAVError:
    """The error, on record: somebody who is logged in wanted something in vain."""
    if error.src_exception is not None or "kagikura.operation" not in environ:
        return error
    status = error.value
    if status < HTTPStatus.BAD_REQUEST or status == _RANGE:
        return error  # no error, or told by the read that was opened for it
    known = _TOLD.get(status)
    if known is not None:
        refusal = known(error.context_info or "Somebody else holds a lock on it.")
        return _told(environ, refusal, error)
    refusal = RefusedError(
        error.context_info or "The request is wrong.",
        stage=Stage.REQUEST,
        rule=f"http_{status}",
    )
    return _told(environ, refusal, error)


def _told(environ: Environ, refusal: ServerError, error: DAVError) -> DAVError:
    """`error`, once the refusal is on record; else what came before it."""
    raw, operation = environ["PATH_INFO"], environ["kagikura.operation"]
    method: str = environ["REQUEST_METHOD"]
    try:
        view_of(environ).refuse(
            operation,
            raw,
            refusal,
            target_raw=environ.get("kagikura.target", ""),
            detail={"method": method[:_METHOD_CHARACTERS_MAX]},
        )
    except ServerError as told:
        return error if told is refusal else dav_error(told)


def _refused(
    environ: Environ, start_response: Start, error: DAVError
) -> Iterable[bytes]:
    headers = list(error.add_headers or [])
    if error.value == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", ALLOWED))
    if error.value == HTTPStatus.NOT_MODIFIED:
        start_response(status_line(error.value), headers)
        return [b""]
    condition = error.err_condition
    if condition is None:
        kind, body = "text/plain", (error.context_info or "").encode()
    else:
        kind, body = "application/xml", _explained(condition, error.context_info or "")
    headers.append(("Content-Type", f"{kind}; charset=utf-8"))
    headers.append(("Content-Length", str(len(body))))
    start_response(status_line(error.value), headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _explained(condition: Any, words: str) -> bytes:  # noqa: ANN401 - wsgidav's
    """A failed condition (RFC 4918, section 16), with words for a person."""
    found = condition.as_xml()
    etree.SubElement(found, "{urn:kagikura:}message").text = words
    body: bytes = xml_to_bytes(found)
    return body
