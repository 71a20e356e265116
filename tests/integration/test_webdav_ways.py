"""The short way and the general way answer and record alike.

Both are ours where wsgidav is wrong, and so they agree where it would not:

| point | wsgidav 4.4 | here, on both ways |
|---|---|---|
| getetag in a PROPFIND | without its quotes | as GET sends it |
| several ranges | the first alone | multipart/byteranges, up to a bound |
| getlastmodified | rounded to the next second | cut, as Last-Modified is |
| a condition on a PUT | checked before the body alone | when it is replaced, too |
| a PUT that is cut, or without a length | stored, 201 | 400 or 411, nothing changed |
| Depth: infinity | a whole tree | 403, propfind-finite-depth |
| a chunked XML body | ignored | read |
| supportedlock of `/` | both locks | none |
"""

import hashlib
import http.client
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.support.webdav import WebdavStore, served

PATHS = (
    *("/private/", "/private", "/private/a.txt", "/private/sub/", "/private/sub"),
    *("/private/%E8%AB%8B%20%26%3C100%25.pdf", "/private/x.tar.gz", "/private/empty"),
    *("/private/locked", "/private/dead", "/private/missing", "/private/no/where"),
    *("/", "/shared", "/shared/team/", "/shared/none", "/nowhere", "/priv%61te/a.txt"),
    *("/private/a%2Fb", "/private/../a.txt", "/private/con.txt", "/private/a.txt?x=1"),
    *("//private/a.txt", "/private/%00", "/private/%ff"),
)
CHANGED = ("/private/put", "/private/locked", "/private/no/where", "/private/sub")
DATES = ("Wed, 01 Jan 2020 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT", "today")
TAGS = ("*", '"none"', "{etag}", "W/{etag}", '"none", {etag}', "etag")
RANGES = (
    *("bytes=0-9", "bytes=5-", "bytes=-3", "bytes=90000-", "bytes=0-1,5-6"),
    *("bytes=0-1, 90000-", "bytes=3-2", "bytes=0-5,2-7", "bytes=-0", "lines=1-2", "="),
    "bytes=0-0,2-2,4-4,6-6,8-8,10-10",
)
FIELDS = {
    "Range": RANGES,
    "If-Range": (*TAGS, *DATES),
    "If-Match": TAGS,
    "If-None-Match": TAGS,
    "If-Modified-Since": DATES,
    "If-Unmodified-Since": DATES,
    "If": ("(<urn:none>)", "(Not <urn:none>)", "([{etag}])"),
    "Depth": ("0", "1", "infinity", "2"),
    "Connection": ("keep-alive", "close", "TE", "Upgrade, TE"),
    "Expect": ("100-continue",),
    "Content-Range": ("bytes 0-1/2",),
    "X-Forwarded-For": ("192.0.2.1",),
    "Accept": ("*/*",),
}
_D = '<?xml version="1.0"?><D:propfind xmlns:D="DAV:" xmlns:W="urn:schemas-microsoft-com:" xmlns:P="urn:100%25&amp;">'  # noqa: E501 - one head
XML = (
    "",
    f"{_D}<D:allprop/></D:propfind>",
    f"{_D}<D:propname/></D:propfind>",
    f"{_D}<D:prop><D:getetag/><D:getcontentlength/><D:resourcetype/></D:prop></D:propfind>",
    f"{_D}<D:prop><P:a/><x/><!-- no --><D:b/><D:displayname/></D:prop></D:propfind>",
    f"{_D}<D:prop><W:Win32FileAttributes/><W:Win32CreationTime/></D:prop></D:propfind>",
    f"{_D}<D:prop><D:quota-used-bytes/><D:supportedlock/></D:prop></D:propfind>",
    f"{_D}<D:prop><D:lockdiscovery/><Z:z xmlns:Z='urn:z'/></D:prop></D:propfind>",
    f"{_D}<D:prop/></D:propfind>",
    f"{_D}<D:allprop/><D:propname/></D:propfind>",
    "<propfind/>",
    "<!DOCTYPE a><a/>",
    "no XML",
)
LOCK = b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'  # noqa: E501 - one body
UPDATE = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><z xmlns="urn:z">1</z></D:prop></D:set></D:propertyupdate>'  # noqa: E501 - one body
LOOKS = {"stat", "list", "login", "logout"}


@dataclass
class Way:
    """One client that goes one of the ways, and where it came from."""

    store: WebdavStore
    port: int
    ports: set[int] = field(default_factory=set)
    connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, fields: dict[str, str], body: bytes | list[bytes]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields in lower case, body."""
        alice = self.store.alice
        login = b64encode(f"{alice.secret_user}:{alice.secret}".encode()).decode()
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, 10)
            self.connection.connect()
            self.ports.add(self.connection.sock.getsockname()[1])
        everything = {"Authorization": f"Basic {login}", **fields}
        if isinstance(body, list):
            everything["Transfer-Encoding"] = "chunked"
        self.connection.request(
            method, path, body, everything, encode_chunked=isinstance(body, list)
        )
        response = self.connection.getresponse()
        content = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        return response.status, headers, content

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None


@dataclass
class Ways:
    """Both ways to one store, and a client that prepares it."""

    short: Way
    general: Way
    beside: Way
    etag: str = ""


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """A store with what the requests are about."""
    with served(tmp_path_factory.mktemp("ways")) as store:
        both = Ways(
            short=Way(store, store.secret_port),
            general=Way(store, store.general_port),
            beside=Way(store, store.general_port),
        )
        with closing(both.short), closing(both.general), closing(both.beside):
            _fill(both)
            yield both


def _fill(ways: Ways) -> None:
    ask = ways.beside.ask
    ask("MKCOL", "/private/sub", {}, b"")
    names = ("a.txt", "x.tar.gz", "locked", "dead", "%E8%AB%8B%20%26%3C100%25.pdf")
    for name in names:
        _, headers, _ = ask("PUT", f"/private/{name}", {}, b"0123456789" * 2)
        ways.etag = ways.etag or headers["etag"]
    ask("PUT", "/private/empty", {}, b"")
    assert ask("LOCK", "/private/locked", {}, LOCK)[0] == 200
    assert ask("PROPPATCH", "/private/dead", {}, UPDATE)[0] == 207


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, str], bytes | list[bytes]]:
    """A request that a client could send, and some that none would."""
    method = draw(st.sampled_from(["GET", "HEAD", "PUT", "PROPFIND", "OPTIONS"]))
    names = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=2))
    body: bytes | list[bytes] = b""
    path = draw(st.sampled_from(PATHS))
    if method == "PROPFIND":
        names |= draw(st.sampled_from([{"Depth"}, {"Depth"}, set()]))
        body = draw(st.sampled_from(XML)).encode()
    if method == "PUT":
        path = draw(st.sampled_from((*CHANGED, "/private/con.txt", "/private/a%2Fb")))
        body = draw(st.sampled_from([b"new", b"", b"n" * 70_000, [b"ne", b"w"]]))
    fields = {name: draw(st.sampled_from(FIELDS[name])) for name in sorted(names)}
    return method, path, fields, body


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(request=requests(), there=st.booleans())
def test_both_ways_answer_alike(
    ways: Ways,
    request: tuple[str, str, dict[str, str], bytes | list[bytes]],
    there: bool,  # noqa: FBT001 - hypothesis passes it by name
) -> None:
    """A client must not be able to tell which way its request went."""
    method, path, fields, body = request
    fields = {
        name: value.replace("{etag}", ways.etag) for name, value in fields.items()
    }
    answers = []
    for way in (ways.short, ways.general):
        if method == "PUT":
            state = "PUT" if there else "DELETE"
            ways.beside.ask(state, "/private/put", {}, b"old" if there else b"")
        answers.append(_comparable(*way.ask(method, path, fields, body)))

    assert answers[0] == answers[1]


def test_a_long_folder_is_listed_alike(ways: Ways) -> None:
    """The short way writes some hundred members at once; none may get lost between."""
    ask = ways.beside.ask
    assert ask("MKCOL", "/private/long", {}, b"")[0] == 201
    (folder,) = ways.short.store.folder.glob("**/private/*/long")
    for number in range(1100):
        (folder / f"{number:04d} 見積.pdf").touch()
    (folder / "0600 folder").mkdir()
    (folder / "link").symlink_to("0000")
    (folder / "no\x01text").touch()
    for name, method, body in (("lock", "LOCK", LOCK), ("dead", "PROPPATCH", UPDATE)):
        ask("PUT", f"/private/long/{name}", {}, b"x")
        assert ask(method, f"/private/long/{name}", {}, body)[0] < 300

    for xml in XML[:5]:
        asked = ("PROPFIND", "/private/long/", {"Depth": "1"}, xml.encode())
        short, general = (
            _comparable(*way.ask(*asked)) for way in (ways.short, ways.general)
        )
        assert short == general
        assert len(short[2]) == 1 + 1100 + 1 + 2


def test_a_long_upload_is_hashed_as_it_came(ways: Ways) -> None:
    """Its blocks take turns; one that is filled too early would be hashed wrong."""
    body = os.urandom(17 * 1024 * 1024 + 1)

    assert ways.short.ask("PUT", "/private/huge", {}, body)[0] == 201

    told = ways.short.store.records(operation="write", path="/private/huge")
    assert told[-1]["sha256"] == hashlib.sha256(body).hexdigest()
    assert ways.short.ask("GET", "/private/huge", {}, b"")[2] == body
    ways.beside.ask("DELETE", "/private/huge", {}, b"")


def test_both_ways_leave_equal_records(ways: Ways) -> None:
    """The trail must not depend on which way was fast."""
    ways.beside.ask("DELETE", "/private/put", {}, b"")
    for way in (ways.short, ways.general):
        way.ports.clear()
        way.close()
        for path in PATHS:
            way.ask("GET", path, {}, b"")
            way.ask("GET", path, {"If-Match": '"none"'}, b"")
        for path in CHANGED:
            way.ask("PUT", path, {}, b"content")
            way.ask("PUT", path, {"If-None-Match": "*"}, [b"content"])
            way.ask("PROPFIND", path, {"Depth": "1"}, b"no XML")
        ways.beside.ask("DELETE", "/private/put", {}, b"")

    rows = {port: _rows(way) for port, way in _named(ways)}

    assert len(rows["short"]) > len(PATHS)
    assert rows["short"] == rows["general"]


def _named(ways: Ways) -> tuple[tuple[str, Way], ...]:
    return ("short", ways.short), ("general", ways.general)


def _rows(way: Way) -> list[dict[str, Any]]:
    told = (
        *("operation", "phase", "outcome", "reason", "stage", "rule", "folder", "path"),
        *("path_raw", "size", "bytes", "ranges", "sha256", "detail"),
    )
    return [
        {name: record.get(name) for name in told}
        for record in way.store.records()
        if record.get("source_port") in way.ports and record["operation"] not in LOOKS
    ]


def _comparable(
    status: int, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], object]:
    """An answer without what differs each time."""
    told = {n: v for n, v in headers.items() if n not in {"date", "keep-alive"}}
    if "multipart/byteranges" in told.get("content-type", ""):
        boundary = told["content-type"].partition("boundary=")[2]
        told["content-type"] = "multipart/byteranges"
        body = body.replace(boundary.encode(), b"boundary")
    if status in {201, 204}:
        told["etag"] = str(re.fullmatch(r'"[0-9a-f-]+"', told.get("etag", "")) is None)
    if status == 207:
        for name in ("content-length", "transfer-encoding"):
            told.pop(name, None)
        return status, told, _properties(body)
    return status, told, body


def _properties(xml: bytes) -> dict[str, dict[str, str]]:
    """What a multistatus says: for each href and property its status and element."""
    found: dict[str, dict[str, str]] = {}
    for response in etree.fromstring(xml):
        href = response.findtext("{DAV:}href")
        of_href = found.setdefault(href, {})
        for stat in response.iterfind("{DAV:}propstat"):
            status = stat.findtext("{DAV:}status")
            for element in stat.find("{DAV:}prop"):
                of_href[element.tag] = f"{status} {_infoset(element)}"
    return found


def _infoset(element: Any) -> object:  # noqa: ANN401 - lxml's element
    """Names, text and children; no prefixes."""
    below = [_infoset(child) for child in element]
    return element.tag, (element.text or ""), sorted(element.attrib.items()), below
