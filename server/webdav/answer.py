"""An answer before it is written: status, header fields, body."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from server.webdav.status import status_line

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Callable[[bytes], None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is known whole."""

    status: int
    headers: Headers
    body: bytes = b""

    def to(self, method: str) -> "Answer":
        """The same without its body to a HEAD, which a body would confuse."""
        return Answer(self.status, self.headers) if method == "HEAD" else self

    def by_wsgi(self, start_response: StartResponse) -> Iterable[bytes]:
        """Give it as a WSGI application does."""
        start_response(status_line(self.status), self.headers)
        return [self.body]


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer whose body is made while it is sent."""

    status: int
    headers: Headers
    blocks: Iterator[bytes]


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """Words for a person."""
    body = text.encode()
    return Answer(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *headers,
        ],
        body,
    )
