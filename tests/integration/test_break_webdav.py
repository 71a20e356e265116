"""Attempts to wear the WebDAV door out, or to pass it without a row."""

import http.client
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from server.access.devices import Issued, Offer
from tests.support.waiting import until
from tests.support.webdav import Person, WebdavStore, served

THREADS = 8
"""What the store's listeners have."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WebdavStore]:
    with served(tmp_path) as store:
        yield store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """A store for many tests that change nothing."""
    with served(tmp_path_factory.mktemp("kept")) as store:
        yield store


def basic(person: Person) -> dict[str, str]:
    pair = f"{person.secret_user}:{person.secret}".encode()
    return {"Authorization": "Basic " + b64encode(pair).decode()}


def put(store: WebdavStore, path: str, text: str) -> None:
    assert store.curl("PUT", path, "-d", text)[0] in {201, 204}


def handshake(store: WebdavStore, context: ssl.SSLContext) -> None:
    """TLS as far as the server lets it come."""
    with socket.create_connection(("127.0.0.1", store.port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert tls.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return


def refused(store: WebdavStore, rule: str) -> list[dict[str, object]]:
    return store.records(operation="login", outcome="refused", rule=rule)


def test_dribbled_bodies_of_strangers_hold_no_worker(store: WebdavStore) -> None:
    """A worker that waits for the rest of a refused body serves nobody else."""
    with ExitStack() as stack:
        for _ in range(THREADS + 2):
            peer = stack.enter_context(store.connect())
            head = (
                b"PUT /private/a HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
            )
            peer.sendall(head + b"x")
        begun = time.monotonic()
        honest = http.client.HTTPConnection("127.0.0.1", store.secret_port, timeout=20)
        stack.callback(honest.close)
        honest.request("OPTIONS", "/", headers=basic(store.alice))

        assert honest.getresponse().status == 200
        assert time.monotonic() - begun < 5


def test_a_body_that_comes_a_little_late_keeps_the_connection(
    store: WebdavStore,
) -> None:
    """Clients send head and body in two packets and go on after a 401."""
    with store.connect() as peer:
        for _ in range(2):
            peer.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
            peer.sendall(b"body")
            assert b" 401 " in peer.recv(65536)


def test_tls_clients_that_are_turned_away_are_rows(
    store: WebdavStore, tmp_path: Path
) -> None:
    """A lost certificate or a wrong one is what the admin looks for first."""
    handshake(store, store.client_context())
    store.wait_for(operation="login", rule="no_certificate")
    with served(tmp_path / "other") as other:
        foreign = ssl.create_default_context(cafile=store.server_ca)
        foreign.load_cert_chain(other.alice.certificate)
        handshake(store, foreign)
    store.wait_for(operation="login", rule="unknown_certificate")

    for rule in ("no_certificate", "unknown_certificate"):
        (row,) = refused(store, rule)
        assert row["stage"] == "device"
        assert row["protocol"] == "webdav"
        assert row["source_ip"] == "127.0.0.1"
        assert row["source_port"]


def test_a_flood_of_clients_without_certificate_is_one_row(store: WebdavStore) -> None:
    """The first of a minute is told, the others are counted."""
    for _ in range(6):
        handshake(store, store.client_context())
    store.wait_for(operation="login", rule="no_certificate")

    until(lambda: store.listener.connections == 0, what="all have gone")
    assert len(refused(store, "no_certificate")) <= 2  # a minute may have ended
    store.accounts.desk.close()
    counts = [
        row["detail"]["count"]
        for row in store.records(rule="no_certificate")
        if "count" in row["detail"]
    ]
    assert sum(counts) + len(refused(store, "no_certificate")) - len(counts) == 6


def test_a_connection_too_many_is_a_row(
    store: WebdavStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could not come in, and why: the same for every bound."""
    workers = store.secret_listener._workers
    monkeypatch.setattr(workers, "_connections_max", 1)
    with store.connect():
        until(lambda: store.secret_listener.connections == 1, what="it is in")
        for _ in range(3):
            with store.connect() as turned_away:
                assert turned_away.recv(1) == b""

    (row,) = store.wait_for(rule="webdav.connections_max")
    assert (row["stage"], row["outcome"]) == ("limit", "refused")


def test_who_has_not_logged_in_keeps_no_place(store: WebdavStore) -> None:
    """After a 401 the client has a head's time, not an hour between requests."""
    with store.connect() as peer:
        peer.sendall(b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 401 " in peer.recv(65536)

        until(lambda: peer.recv(65536) == b"", what="it is closed", deadline_s=6)


def test_many_users_on_one_connection_leave_nothing_behind(store: WebdavStore) -> None:
    """The view of a session that ended goes with it, its counts told before."""
    secrets = [(f"alice+{name}", _secret(store, name)) for name in "abcdef"]
    client = http.client.HTTPConnection("127.0.0.1", store.secret_port, timeout=20)
    for user, secret in secrets:
        token = b64encode(f"{user}:{secret}".encode()).decode()
        for _ in range(2):
            headers = {"Authorization": f"Basic {token}", "Depth": "1"}
            client.request("PROPFIND", "/private/", headers=headers)
            answer = client.getresponse()
            answer.read()
            assert answer.status == 207
    (connection,) = store.secret_listener._workers.open_connections()
    assert len(connection._views) == 4
    client.close()
    ended = store.wait_for(6, operation="logout")

    for row in ended:
        of_it = store.records(session=row["session"])
        assert [r["operation"] for r in of_it] == ["login", "list", "list", "logout"]


def _secret(store: WebdavStore, name: str) -> str:
    issued: Issued = store.accounts.administration.devices.add(
        "alice", name, Offer(secret=True)
    )[1]
    store.accounts.watch.refresh()
    return issued.secret


@pytest.mark.parametrize(
    ("method", "options", "operation"),
    [
        ("PUT", ["-d", "x", "-H", "If-None-Match: *"], "write"),
        ("PUT", ["-d", "x", "-H", 'If-Match: "guess"'], "write"),
        ("DELETE", ["-H", 'If-Match: "guess"'], "delete"),
        ("MOVE", ["-H", 'If-Match: "g"', "-H", "Destination: /private/b"], "rename"),
        ("COPY", ["-H", 'If-Match: "g"', "-H", "Destination: /private/b"], "copy"),
        ("GET", ["-H", 'If-Match: "guess"'], "read"),
    ],
)
def test_a_failed_condition_is_a_row(
    kept: WebdavStore, method: str, options: list[str], operation: str
) -> None:
    """It tells the client how the file stands, and it wanted something of it."""
    put(kept, "/private/a", "old")

    assert kept.curl(method, "/private/a", *options)[0] == 412

    row = kept.outcomes(operation)[-1]
    assert (row["outcome"], row["reason"]) == ("failed", "condition_failed")
    assert row["path"] == "/private/a"
    if "Destination: /private/b" in options:
        assert row["target"] == "/private/b"


@pytest.mark.parametrize(
    ("destination", "status", "told"),
    [
        ("/shared/none/x", 403, ("refused", "rights", "no_folder")),
        ("/private/what%3F", 400, ("refused", "path", "windows_character")),
        ("/private/x%2Fy", 400, ("refused", "path", "encoded_slash")),
        ("/private/%00", 400, ("refused", "path", "control_character")),
        ("/private/../x", 400, ("refused", "path", "dots")),
        ("/private/a%5Cb", 400, ("refused", "path", "windows_character")),
        ("/private/%c0%ae%c0%ae/x", 400, ("refused", "path", "utf8")),
        ("/private/a", 403, ("refused", "path", "into_itself")),
        ("/private/a/b", 403, ("refused", "path", "into_itself")),
        ("/private", 403, ("refused", "path", "into_itself")),
    ],
)
@pytest.mark.parametrize("method", ["MOVE", "COPY"])
def test_a_refused_destination_is_told_of_its_source(
    kept: WebdavStore,
    method: str,
    destination: str,
    status: int,
    told: tuple[str, str, str],
) -> None:
    """The row's path is what was to go, never where it was to go."""
    put(kept, "/private/a", "old")

    got = kept.curl(method, "/private/a", "-H", f"Destination: {destination}")[0]

    row = kept.outcomes("rename" if method == "MOVE" else "copy")[-1]
    assert (got, row["path"]) == (status, "/private/a")
    assert (row["outcome"], row["stage"], row["rule"]) == told
    assert row.get("target") or row["detail"]["target_raw"]
    assert kept.curl("GET", "/private/a") == (200, "old")


_DOCTYPE = '<!DOCTYPE a [<!ENTITY b "c">]><propfind xmlns="DAV:"><allprop/></propfind>'
_LONG = ("-H", f"X-Expected-Entity-Length: {'9' * 5000}")
_FAR = "Destination: https://other.example/private/b"


@pytest.mark.parametrize(
    ("method", "options", "status", "operation"),
    [
        ("PATCH", ["-d", "x"], 405, "stat"),
        ("PUT", [], 411, "write"),
        ("PUT", ["-d", "x", "-H", "Content-Range: bytes 0-0/9"], 400, "write"),
        ("PUT", ["-d", "x", "-H", "Transfer-Encoding: chunked", *_LONG], 400, "write"),
        ("MKCOL", ["-d", "x"], 415, "mkdir"),
        ("DELETE", ["-H", "Depth: 1"], 400, "delete"),
        ("MOVE", ["-H", _FAR], 502, "rename"),
        ("COPY", [], 400, "copy"),
        ("PROPFIND", ["-H", "Depth: 5"], 400, "list"),
        ("PROPFIND", ["-H", "Depth: 1", "-d", _DOCTYPE], 400, "list"),
        ("PROPFIND", ["-H", "Depth: 1", "-d", "x" * 9000], 413, "list"),
    ],
)
def test_a_wrong_request_of_a_person_is_a_row(
    kept: WebdavStore, method: str, options: list[str], status: int, operation: str
) -> None:
    """Somebody who is logged in tried something; nothing of that stays untold."""
    kept.curl("MKCOL", "/private/wrong")

    assert kept.curl(method, "/private/wrong", *options)[0] == status

    row = kept.outcomes(operation)[-1]
    assert (row["path"], row["outcome"]) == ("/private/wrong", "refused")
    assert (row["stage"], row["rule"]) == ("request", f"http_{status}")
    assert row["detail"]["method"] == method


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        (b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 50), 413),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70000 + b"\r\n\r\n", 431),
    ],
)
def test_a_wrong_head_of_nobody_known_is_counted(
    kept: WebdavStore, head: bytes, status: int
) -> None:
    """A first row, then a number: noise neither hides nor fills the trail."""
    rule = f"http_{status}"
    for _ in range(3):
        with kept.connect() as sock:
            sock.sendall(head)
            assert sock.recv(65536).startswith(b"HTTP/1.1 %d" % status)

    minutes = {row["time"][:16] for row in kept.records(rule=rule)}
    told = kept.records(operation="login", stage="request", rule=rule)
    assert 1 <= len(told) <= 2 * len(minutes)
    assert {row["outcome"] for row in told} == {"refused"}


_UPDATE = '<propertyupdate xmlns="DAV:"><set><prop>{}</prop></set></propertyupdate>'
_LIVE = _UPDATE.format("<getetag>1</getetag>")
_EXPLORER = "urn:schemas-microsoft-com:"
_BITS = _UPDATE.format(
    f'<Win32FileAttributes xmlns="{_EXPLORER}">00000022</Win32FileAttributes>'
)


def test_a_property_that_cannot_be_set_is_a_row(kept: WebdavStore) -> None:
    """The answer is a 207 that says no; it was a change refused all the same."""
    put(kept, "/private/a", "old")

    assert kept.curl("PROPPATCH", "/private/a", "-d", _LIVE)[0] == 207

    row = kept.outcomes("setattr")[-1]
    assert (row["outcome"], row["stage"]) == ("refused", "rights")
    assert (row["rule"], row["path"]) == ("property", "/private/a")


def test_what_explorer_says_of_a_file_is_kept_and_on_record(kept: WebdavStore) -> None:
    """It sets its attribute bits after each upload, and asks for them in listings."""
    put(kept, "/private/a", "old")

    assert kept.curl("PROPPATCH", "/private/a", "-d", _BITS)[0] == 207

    row = kept.outcomes("setattr")[-1]
    assert (row["outcome"], row["path"]) == ("done", "/private/a")
    assert row["detail"]["properties"] == [f"{{{_EXPLORER}}}Win32FileAttributes"]
    listing = kept.curl("PROPFIND", "/private/", "-H", "Depth: 1")[1]
    assert ">00000022<" in listing


def test_a_long_listing_passes_through_little_memory(store: WebdavStore) -> None:
    """It goes out as it is read, and is well-formed from its first to its last."""
    put(store, "/private/a", "x")
    (home,) = (store.folder / "data").glob("*/private/*")
    for number in range(1500):
        (home / f"見積 & {number}").touch()

    status, body = store.curl("PROPFIND", "/private/", "-H", "Depth: 1", "-i")

    head, _, xml = body.partition("\r\n\r\n")
    assert status == 207
    assert "transfer-encoding: chunked" in head.lower()
    found = ET.fromstring(xml)  # noqa: S314 - our own answer
    assert len(found) == 1502
    assert found.tag == "{DAV:}multistatus"
    _, small = store.curl("PROPFIND", "/private/a", "-H", "Depth: 0", "-i")
    assert "content-length: " in small.lower()


def test_a_request_for_countless_properties_is_refused(kept: WebdavStore) -> None:
    """Each one is answered for each member: a small request would make gigabytes."""
    names = "".join(f"<p{n}/>" for n in range(300))
    body = f'<propfind xmlns="DAV:"><prop>{names}</prop></propfind>'

    assert kept.curl("PROPFIND", "/private/", "-H", "Depth: 1", "-d", body)[0] == 413


def _options(peer: ssl.SSLSocket, person: Person) -> bytes:
    pair = f"{person.name}:{person.password}".encode()
    token = b64encode(pair).decode()
    head = f"OPTIONS / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {token}\r\n\r\n"
    peer.sendall(head.encode())
    return peer.recv(65536)[:12]


def test_a_resumed_tls_session_opens_nothing_that_a_new_one_does_not(
    store: WebdavStore,
) -> None:
    """Clients with TLS 1.2 resume by themselves, and were cut off when they did.

    What the certificate opens is asked for each request, and a change of the accounts
    ends every session.
    """
    context = store.client_context(store.alice)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def opened(session: ssl.SSLSession | None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", store.port), 10)
        return context.wrap_socket(plain, server_hostname="localhost", session=session)

    with opened(None) as first:
        assert _options(first, store.alice) == b"HTTP/1.1 200"
        with opened(first.session) as second:
            assert _options(second, store.alice) == b"HTTP/1.1 200"
        with opened(first.session) as third:
            assert _options(third, store.bob) == b"HTTP/1.1 401"
        store.accounts.administration.devices.lock("alice", "laptop")
        store.accounts.watch.refresh()
        with opened(first.session) as fourth:
            assert not fourth.session_reused
            assert _options(fourth, store.alice) == b"HTTP/1.1 401"
