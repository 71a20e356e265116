"""A WebDAV client that holds every answer against RFC 4918, for replayed requests.

It sends what a test tells it, header by header, as Windows, Office or Finder do, and
fails at the first answer that such a client could stumble over.
"""

import base64
import http.client
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from lxml import etree

TIMEOUT_S: Final = 30
D: Final = "{DAV:}"
_GRAMMAR: Final = etree.RelaxNG(etree.parse(Path(__file__).with_suffix(".rng")))
_CLASSES: Final = {"1", "2"}
_STRONG_TAG: Final = re.compile(r'"[!#-~]+"')
_TOKEN: Final = re.compile(r"<((?:opaquelocktoken|urn:uuid):[0-9a-f-]+)>")
_HREF: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")
_METHODS: Final = {
    "OPTIONS", "GET", "HEAD", "PUT", "DELETE", "MKCOL",
    "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK",
}  # fmt: skip

SUCCESS: Final[dict[str, set[int]]] = {
    "OPTIONS": {200},
    "GET": {200, 206, 304},
    "HEAD": {200, 304},
    "PUT": {201, 204},
    "DELETE": {204},
    "MKCOL": {201},
    "COPY": {201, 204},
    "MOVE": {201, 204},
    "PROPFIND": {207},
    "PROPPATCH": {207},
    "LOCK": {200, 201},
    "UNLOCK": {204},
}
"""What RFC 4918 and RFC 9110 let a method answer when it did its work."""


@dataclass(frozen=True)
class Found:
    """What a multistatus tells of one resource: the properties that were found."""

    href: str
    properties: Mapping[str, Any]
    """By name (`{DAV:}getetag`), an element each."""

    def text(self, name: str) -> str:
        """A property of the `DAV:` namespace."""
        return self.properties[D + name].text or ""

    @property
    def is_folder(self) -> bool:
        return len(self.properties[f"{D}resourcetype"]) > 0


@dataclass(frozen=True)
class Answer:
    """A checked answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def etag(self) -> str:
        return str(self.headers["ETag"])

    @property
    def token(self) -> str:
        """The lock's token with its angle brackets."""
        return str(self.headers["Lock-Token"])

    @property
    def xml(self) -> Any:  # noqa: ANN401 - an element
        return etree.fromstring(self.body)

    def found(self) -> list[Found]:
        """The resources of a multistatus, in order."""
        return [
            Found(_href(response), dict(_properties(response)))
            for response in self.xml.iter(f"{D}response")
        ]

    def refused(self) -> dict[str, int]:
        """The properties of a multistatus that were not found or set."""
        return {
            node.tag: status
            for propstat in self.xml.iter(f"{D}propstat")
            for node in propstat.find(f"{D}prop")
            if (status := _status(propstat)) != 200
        }


class Replay:
    """One client on one kept-alive connection; every answer is checked."""

    def __init__(
        self, url: str, user: str, password: str, headers: Mapping[str, str]
    ) -> None:
        self.url = url
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            str(parts.hostname), parts.port, timeout=TIMEOUT_S
        )
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._authorization = {"Authorization": f"Basic {pair}"}
        self._headers = headers

    def close(self) -> None:
        self._connection.close()

    def link(self, path: str) -> str:
        """An absolute URL, as a Destination or a tagged If names it."""
        return self.url + quote(path)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | Iterable[bytes] | None = None,
        *,
        status: int | None = None,
        known: bool = True,
        **headers: str,
    ) -> Answer:
        """Send a request and check its answer.

        Args:
            method: Of HTTP or WebDAV.
            path: Not quoted yet.
            body: An iterable goes in chunks.
            status: What is expected; None: any success of the method.
            known: Whether to show user and password.
            **headers: `Lock_Token` stands for `Lock-Token`.
        """
        told = {key.replace("_", "-"): value for key, value in headers.items()}
        content = body.encode() if isinstance(body, str) else body
        chunked = content is not None and not isinstance(content, bytes)
        self._connection.request(
            method,
            quote(path),
            content,
            {**self._headers, **(self._authorization if known else {}), **told},
            encode_chunked=chunked,
        )
        response = self._connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        wanted = {status} if status else SUCCESS[method]
        where = f"{method} {path}: {answer.status} {answer.body[:500]!r}"
        assert answer.status in wanted, where
        _check(method, answer, where)
        return answer


@contextmanager
def replaying(
    url: str, user: str, password: str, headers: Mapping[str, str]
) -> Iterator[Replay]:
    """A client that sends these headers with each request."""
    replay = Replay(url, user, password, headers)
    try:
        yield replay
    finally:
        replay.close()


def _check(method: str, answer: Answer, where: str) -> None:
    """What RFC 4918 asks of every answer, and real clients of this one."""
    headers = answer.headers
    assert "Set-Cookie" not in headers, where
    assert _CLASSES <= {one.strip() for one in headers["DAV"].split(",")}, where
    assert headers["MS-Author-Via"] == "DAV", where
    assert parsedate_to_datetime(headers["Date"]).tzinfo is not None, where
    if answer.status in {204, 304} or method == "HEAD":
        assert answer.body == b"", where
    elif headers.get("Transfer-Encoding") is None:
        assert int(headers["Content-Length"]) == len(answer.body), where
    if answer.status == 401:
        assert headers["WWW-Authenticate"].startswith("Basic realm="), where
    if answer.status == 405:
        assert headers["Allow"], where
    _check_validators(method, answer, where)
    _check_xml(method, answer, where)


def _check_validators(method: str, answer: Answer, where: str) -> None:
    headers = answer.headers
    if method == "OPTIONS" and answer.status == 200:
        assert {one.strip() for one in headers["Allow"].split(",")} >= _METHODS, where
    if method in {"GET", "HEAD"} and answer.status in {200, 206}:
        assert parsedate_to_datetime(headers["Last-Modified"]).year >= 1970, where
    if (method, answer.status) in {
        ("GET", 200), ("GET", 206), ("HEAD", 200), ("PUT", 201), ("PUT", 204),
    }:  # fmt: skip
        assert _STRONG_TAG.fullmatch(answer.etag), where
    if method == "LOCK" and "Lock-Token" in headers:
        token = _TOKEN.fullmatch(answer.token)
        assert token is not None, where
        shown = answer.xml.findall(f".//{D}locktoken/{D}href")
        assert token[1] in {href.text for href in shown}, where


def _check_xml(method: str, answer: Answer, where: str) -> None:
    kind = answer.headers.get("Content-Type", "")
    if answer.status == 207 or (method == "LOCK" and answer.status in {200, 201}):
        assert kind.startswith(("application/xml", "text/xml")), where
    elif answer.status == 423:
        wanted = "no-conflicting-lock" if method == "LOCK" else "lock-token-submitted"
        assert answer.xml.findall(f"{D}{wanted}/{D}href"), where
    elif method in {"GET", "HEAD"} or "xml" not in kind:
        return
    document = answer.xml
    assert _GRAMMAR.validate(document), f"{where}\n{_GRAMMAR.error_log}"
    hrefs = [_href(response) for response in document.iter(f"{D}response")]
    assert len(hrefs) == len(set(hrefs)), where
    for response in document.iter(f"{D}response"):
        href = _href(response)
        assert _HREF.fullmatch(href), where
        assert unquote(href, errors="strict"), where
        kinds = dict(_properties(response)).get(f"{D}resourcetype")
        if kinds is not None:
            assert href.endswith("/") is (len(kinds) > 0), where


def _href(response: Any) -> str:  # noqa: ANN401 - an element
    return str(response.findtext(f"{D}href"))


def _status(propstat: Any) -> int:  # noqa: ANN401 - an element
    return int(propstat.findtext(f"{D}status").split()[1])


def _properties(response: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - an element
    for propstat in response.iter(f"{D}propstat"):
        if _status(propstat) == 200:
            for node in propstat.find(f"{D}prop"):
                yield node.tag, node
