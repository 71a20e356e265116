"""The gate in front of the application: who sends this request?

The line was checked at accept and the device's certificate by TLS; here each request
shows login and password (RFC 7617). Every refusal looks the same from outside.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from server.model.errors import LoginRefusedError, ServerError, UnavailableError
from server.webdav.answer import Answer, Headers, StartResponse, text_answer
from server.webdav.exchange import DAV_HEADERS
from server.webdav.status import RETRY_AFTER_S, status_of

if TYPE_CHECKING:
    from server.webdav.connection import Connection

log = logging.getLogger(__name__)

Environ = dict[str, Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_CLIENT_LENGTH_MAX: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CHALLENGE: Final = 'Basic realm="Kagikura", charset="UTF-8"'
_OURS: Final = frozenset(name.lower() for name, _ in DAV_HEADERS)
GUARDS: Final = (
    *DAV_HEADERS,
    # A stored page must neither run scripts nor be taken for another type.
    ("Content-Security-Policy", "sandbox"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "private, no-cache"),
)


class Gate:
    """Lets a request through with its session and view in the environ."""

    def __init__(self, application: Application) -> None:
        """Guard `application`."""
        self._application = application

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """WSGI: admit or refuse, and put our headers on every answer."""

        def start(status: str, headers: Headers, *rest: Any) -> Callable[..., None]:  # noqa: ANN401 - WSGI's exc_info
            others = [pair for pair in headers if pair[0].lower() not in _OURS]
            return start_response(status, [*others, *GUARDS], *rest)

        turned = admit(environ)
        if turned is not None:
            return turned.to(environ["REQUEST_METHOD"]).by_wsgi(start)
        return self._application(environ, start)


def admit(environ: Environ) -> Answer | None:
    """Put session and view of the request into its environ, or say why not.

    Args:
        environ: With `kagikura.connection`; the credentials are taken out of it.
    """
    connection: Connection = environ["kagikura.connection"]
    credentials = parse_basic(environ.pop("HTTP_AUTHORIZATION", ""))
    if credentials is None:
        return _challenge()
    if not connection.arrival.client:
        agent = environ.get("HTTP_USER_AGENT", "")
        connection.arrival.client = _cleaned(agent)
    try:
        session = connection.login.admit(*credentials)
        environ["kagikura.session"] = session
        environ["kagikura.view"] = connection.view(session)
    except LoginRefusedError:
        return _challenge()
    except UnavailableError as error:
        later = ("Retry-After", str(RETRY_AFTER_S))
        return text_answer(status_of(error), str(error), later)
    except ServerError as error:
        return text_answer(status_of(error), str(error))
    return None


def parse_basic(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header, or None if it is no Basic one.

    Args:
        header: The value as WSGI gives it.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(token.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    if not colon or not user or _CONTROL.search(text):
        return None
    return user, password


def _cleaned(agent: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in agent)[:_CLIENT_LENGTH_MAX]


def _challenge() -> Answer:
    return text_answer(401, "Log in, please.", ("WWW-Authenticate", _CHALLENGE))
