"""What an attacker, a broken client or an unknown device gets."""

import os
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.webdav.body import DRAIN_BYTES_MAX
from server.webdav.connection import TURN_REQUESTS_MAX
from tests.support.waiting import until
from tests.support.webdav import HEADER_TIMEOUT_S, WebdavStore, curl, served

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """One store for the page: nothing here may harm it for the next test."""
    with served(tmp_path_factory.mktemp("webdav")) as store:
        yield store


def _login(store: WebdavStore) -> str:
    login = f"{store.alice.secret_user}:{store.alice.secret}"
    return f"Authorization: Basic {b64encode(login.encode()).decode()}\r\n"


def _answer(peer: socket.socket) -> bytes:
    """All that comes until the end of the connection."""
    blocks = []
    while block := peer.recv(65536):
        blocks.append(block)
    return b"".join(blocks)


def _exchange(store: WebdavStore, request: str) -> bytes:
    with store.connect() as peer:
        peer.sendall(request.encode("latin-1"))
        return _answer(peer)


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MIB


def test_an_unknown_line_gets_no_byte(store: WebdavStore) -> None:
    """Neither a banner nor an alert: nothing tells that anything listens."""
    for port in (store.port, store.secret_port):
        source = ("127.0.0.66", 0)
        with socket.create_connection(("127.0.0.1", port), 10, source) as peer:
            assert peer.recv(1) == b""
    store.wait_for(operation="login", outcome="refused", stage="line")


def test_without_a_certificate_there_is_no_handshake(store: WebdavStore) -> None:
    """A password alone is not enough to be asked for one."""
    alice = store.alice
    status, _ = curl(
        "GET",
        store.url + "/",
        *("--cacert", str(store.server_ca), "-u", f"{alice.name}:{alice.password}"),
    )
    assert status == 0


def test_a_strange_certificate_is_not_taken(store: WebdavStore, tmp_path: Path) -> None:
    """One that no contract's device authority has issued."""
    with served(tmp_path) as other:
        status, _ = store.curl("GET", "/", "--cert", str(other.alice.certificate))
    assert status == 0


def test_another_logins_device_is_refused_like_a_wrong_password(
    store: WebdavStore,
) -> None:
    """Bob's laptop does not open alice's account, and nobody learns why."""
    bobs = ("--cert", str(store.bob.certificate))
    status, with_bobs = store.curl("GET", "/private/", "-i", *bobs)
    _, wrong = store.curl("GET", "/private/", "-i", "-u", "alice:wrong")

    assert status == 401
    assert 'WWW-Authenticate: Basic realm="Kagikura", charset="UTF-8"' in with_bobs
    assert "DAV: 1, 2" in with_bobs
    assert "MS-Author-Via: DAV" in with_bobs
    assert _without_date(with_bobs) == _without_date(wrong)
    (record,) = store.wait_for(operation="login", rule="device_of_another_login")
    assert record["login"].startswith("alice")


def _without_date(answer: str) -> list[str]:
    return [line for line in answer.splitlines() if not line.startswith("Date:")]


def test_tls_1_1_is_not_offered_and_an_ended_session_not_resumed(
    store: WebdavStore,
) -> None:
    """See test_break_webdav for sessions whose first connection still lives."""
    context = store.client_context(store.alice)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", store.port), 10) as plain,
            context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as peer,
        ):
            cipher = peer.cipher()
            assert cipher is not None
            assert cipher[0].startswith("ECDHE-")
            assert not peer.session_reused
            session = peer.session
        until(lambda: store.listener.connections == 0, what="the connection ended")


def test_fifty_silent_clients_delay_nobody(store: WebdavStore) -> None:
    """With 8 threads; a silent or dribbling client costs a descriptor only."""
    silent = [
        socket.create_connection(("127.0.0.1", port), 10)
        for port in (store.port, store.secret_port)
        for _ in range(50)
    ]
    try:
        for peer in silent[25:50]:
            peer.sendall(b"\x16\x03\x01\x02\x00")  # the beginning of a ClientHello
        for peer in silent[75:]:
            peer.sendall(b"GET / HT")
        began_s = time.monotonic()
        assert store.curl("OPTIONS", "/")[0] == 200
        assert _exchange(store, "GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 401")
        assert time.monotonic() - began_s < HEADER_TIMEOUT_S
        for peer in silent:
            assert peer.recv(1) == b""
    finally:
        for peer in silent:
            peer.close()


def test_a_refused_upload_is_not_read_and_its_401_arrives(store: WebdavStore) -> None:
    """Cheroot reads 300 MiB into memory first; a reset would eat the answer."""
    answers: list[bytes] = []
    with store.connect() as peer:
        reader = threading.Thread(target=lambda: answers.append(_answer(peer)))
        before_mib = _rss_mib()
        size = 300 * MIB
        peer.sendall(
            f"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        reader.start()
        block = b"x" * MIB
        for _ in range(300):
            try:
                peer.sendall(block)
            except OSError:
                break  # the server has stopped listening, as it may
        reader.join()
    assert answers[0].startswith(b"HTTP/1.1 401")
    assert b"Connection: close" in answers[0]
    assert _rss_mib() - before_mib < 20


def test_a_small_refused_body_keeps_the_connection(store: WebdavStore) -> None:
    """Explorer sends its PUT before it has heard of the password."""
    body = "x" * DRAIN_BYTES_MAX
    head = f"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    last = f"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{_login(store)}\r\n"

    answer = _exchange(store, head + body + last)

    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.count(b"HTTP/1.1 200 OK") == 1


def test_expect_is_answered_after_admission_only(store: WebdavStore) -> None:
    """100 Continue is an invitation to send."""
    head = "PUT /private/e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    length = "Content-Length: 3\r\n"
    assert b"100 Continue" not in _exchange(store, f"{head}{length}\r\n")
    with store.connect() as peer:
        peer.sendall(f"{head}{length}{_login(store)}\r\n".encode())
        assert peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"abc")
        assert peer.recv(100).startswith(b"HTTP/1.1 201")


def test_one_huge_chunk_passes_through_little_memory(store: WebdavStore) -> None:
    """Cheroot holds a chunk whole, however large it says it is."""
    before_mib = _rss_mib()
    with store.connect() as peer:
        peer.sendall(
            f"PUT /private/chunk HTTP/1.1\r\nHost: a\r\n{_login(store)}"
            f"Transfer-Encoding: chunked\r\n\r\n{200 * MIB:x}\r\n".encode()
        )
        block, highest_mib = b"x" * MIB, 0.0
        for _ in range(200):
            peer.sendall(block)
            highest_mib = max(highest_mib, _rss_mib())
        peer.sendall(b"\r\n0\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 201")
    assert highest_mib - before_mib < 30
    (stored,) = store.wait_for(operation="write", path="/private/chunk", outcome="done")
    assert stored["bytes"] == 200 * MIB


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 50\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\n Content-Length: 50\r\n",
        "Content_Length: 5\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Host: b\r\n",
    ],
)
def test_an_ambiguous_request_ends_the_connection(
    store: WebdavStore, framing: str
) -> None:
    """The hidden second request must never be answered."""
    hidden = f"GET /hidden HTTP/1.1\r\nHost: a\r\n{_login(store)}\r\n"
    request = f"PUT /private/s HTTP/1.1\r\nHost: a\r\n{_login(store)}{framing}\r\n"

    answer = _exchange(store, f"{request}0\r\n\r\n{hidden}")

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert store.records(path="/hidden") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', 400),
        ("<a" * 20, 400),
        ("x" * 9000, 413),
    ],
)
def test_dangerous_xml_is_refused(store: WebdavStore, body: str, status: int) -> None:
    """Entities, half a document, too much of it."""
    assert store.curl("PROPFIND", "/", "-H", "Depth: 0", "-d", body)[0] == status


def test_xml_in_chunks_is_read(store: WebdavStore) -> None:
    """Stock wsgidav ignores it and answers with all properties."""
    body = '<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
    chunked = ("-H", "Transfer-Encoding: chunked", "-d", body)

    status, answer = store.curl("PROPFIND", "/", "-H", "Depth: 0", *chunked)

    assert status == 207
    assert "collection" in answer
    assert "getlastmodified" not in answer


@pytest.mark.parametrize("header", ["Basic !!!", "Basic QUJD", "Digest x", "Basic"])
def test_malformed_credentials_are_a_plain_401(store: WebdavStore, header: str) -> None:
    """Stock wsgidav answers 500, a way to find out what runs here."""
    request = f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {header}\r\n"
    answer = _exchange(store, f"{request}Connection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"wsgidav" not in answer.lower()
    assert b"cheroot" not in answer.lower()


def test_a_drain_lets_a_running_upload_end(tmp_path: Path) -> None:
    """A stopping daemon must not cut what is nearly done."""
    with served(tmp_path) as store, store.connect() as peer:
        peer.sendall(
            f"PUT /private/d HTTP/1.1\r\nHost: a\r\n{_login(store)}"
            "Content-Length: 6\r\n\r\nabc".encode()
        )
        store.wait_for(operation="write", phase="intent")
        stop = threading.Thread(target=store.secret_listener.drain, args=(20,))
        stop.start()
        until(lambda: _refused(store.secret_port), what="nobody new is served")
        peer.sendall(b"def")
        assert peer.recv(1000).startswith(b"HTTP/1.1 201")
        stop.join()
        store.wait_for(operation="write", outcome="done")


def _refused(port: int) -> bool:
    """Whether a new connection stays unanswered for a moment."""
    with socket.create_connection(("127.0.0.1", port), 0.2) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            return not peer.recv(1)
        except TimeoutError:
            return True


def test_more_requests_at_once_than_a_turn_are_all_answered(store: WebdavStore) -> None:
    """After a turn others are served; what was received already must not be lost."""
    one = f"OPTIONS / HTTP/1.1\r\nHost: x\r\n{_login(store)}"
    count = TURN_REQUESTS_MAX + 3

    answers = _exchange(
        store, f"{one}\r\n" * (count - 1) + f"{one}Connection: close\r\n\r\n"
    )

    assert answers.count(b"HTTP/1.1 200 OK") == count


def test_an_unchanged_file_names_its_version(store: WebdavStore) -> None:
    """RFC 9110, section 15.4.5: a cache learns which of its copies still holds."""
    assert store.curl("PUT", "/private/same", "--data-binary", "x")[0] == 201
    status, head = store.curl("HEAD", "/private/same", "-H", "If-None-Match: *")

    assert status == 304
    assert re.search('^etag: "', head, re.IGNORECASE | re.MULTILINE)


def test_an_upload_that_is_to_replace_nothing_replaces_nothing(
    store: WebdavStore,
) -> None:
    """Two people save a new file of one name: the second must hear of the first."""
    before = len(store.outcomes("write"))
    with store.connect() as peer:
        peer.sendall(
            "PUT /private/both HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n"
            f"{_login(store)}Content-Length: 6\r\n\r\nsec".encode()
        )
        until(
            lambda: any(
                record["phase"] == "intent" and record["path"] == "/private/both"
                for record in store.records(operation="write")
            ),
            what="the second upload has begun",
        )
        assert store.curl("PUT", "/private/both", "--data-binary", "first")[0] == 201
        peer.sendall(b"ond")
        assert peer.recv(1000).startswith(b"HTTP/1.1 412")

    assert store.curl("GET", "/private/both") == (200, "first")
    told = [(row["outcome"], row.get("reason")) for row in store.outcomes("write")]
    assert told[before:] == [("done", None), ("failed", "condition_failed")]


@pytest.mark.parametrize(
    ("path", "condition", "status"),
    [
        ("/private/unmapped", "(<urn:none>)", 412),
        ("/private/unmapped", '(["none"])', 412),
        ("/private/unmapped", '(Not <urn:none> Not ["none"])', 201),
        ("/private", '(["none"])', 412),
    ],
)
def test_an_if_counts_where_nothing_is_and_for_folders(
    store: WebdavStore, path: str, condition: str, status: int
) -> None:
    """RFC 4918, section 10.4: who lost lock and file must not make a new one."""
    method = "PUT" if path.endswith("unmapped") else "DELETE"

    got = store.curl(method, path, "-H", f"If: {condition}", "--data-binary", "x")[0]

    assert got == status
