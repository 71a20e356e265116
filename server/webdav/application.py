"""The WSGI application behind the gate: prepares a request, answers its errors.

It stands where wsgidav's own application, resolver and error printer would: those
collapse the paths that must be recorded as sent, and print their version.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final

from wsgidav.dav_error import DAVError

from server.model.errors import PathRefusedError, ServerError
from server.settings.schema import WebdavSettings
from server.webdav.locking import principal_of
from server.webdav.refusals import operation_of, refusal
from server.webdav.requests import Environ, Requests, Start
from server.webdav.target import requested, view_of
from server.webdav.xml_body import take_xml

_WITH_XML: Final = frozenset({"PROPFIND", "PROPPATCH", "LOCK"})
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
        except (ServerError, DAVError) as error:
            return refusal(environ, error).by_wsgi(start_response)
        start_response(*started)
        return _Answer(first, answer)

    def _prepare(self, environ: Environ) -> None:
        """Fill in what wsgidav asks for, and whose act this is."""
        view = view_of(environ)
        operation = environ["kagikura.operation"] = operation_of(environ)
        try:
            environ["PATH_INFO"] = requested(environ)
        except PathRefusedError as error:
            view.refuse(operation, environ["REQUEST_URI"], error)
        environ["wsgidav.config"] = _CONFIG
        environ["wsgidav.provider"] = self._requests.provider
        environ["wsgidav.verbose"] = 0
        environ["wsgidav.auth.user_name"] = principal_of(view.session.actor)
        if environ["REQUEST_METHOD"] in _WITH_XML:
            take_xml(environ, self._settings.xml_bytes_max)


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
