"""What the trail says of what WebDAV clients do."""

import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.support.webdav import WebdavStore, served


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WebdavStore]:
    """A store with nothing on record but its accounts."""
    with served(tmp_path) as store:
        yield store


def _put(store: WebdavStore, path: str, text: str) -> None:
    assert store.curl("PUT", path, "-d", text)[0] in {201, 204}


def test_a_file_act_is_two_records_and_no_look_beside_them(store: WebdavStore) -> None:
    """For every method wsgidav looks a path up; that is no act of the user's."""
    _put(store, "/private/a", "abc")
    assert store.curl("GET", "/private/a")[1] == "abc"
    assert store.curl("DELETE", "/private/a")[0] == 204

    assert store.records(operation="stat") == []
    (stored,) = store.outcomes("write")
    assert stored["outcome"] == "done"
    assert stored["bytes"] == stored["size"] == 3
    assert stored["sha256"].startswith("ba7816bf")
    (read,) = store.wait_for(operation="read", phase="outcome")
    assert (read["outcome"], read["bytes"]) == ("done", 3)
    assert [r["outcome"] for r in store.outcomes("delete")] == ["done"]
    for operation in ("write", "read", "delete"):
        intent, outcome = store.records(operation=operation)
        assert (intent["phase"], outcome["phase"]) == ("intent", "outcome")
        assert intent["login"] == "alice"
        assert intent["protocol"] == "webdav"
        assert intent["device_name"] == "laptop"
        assert intent["client"].startswith("curl/")


def test_looks_are_looks(store: WebdavStore) -> None:
    """HEAD and Depth 0 are a stat, Depth 1 is a list; repeats are counted."""
    _put(store, "/private/a", "abc")
    for _ in range(2):
        assert store.curl("PROPFIND", "/private/", "-H", "Depth: 1")[0] == 207
    assert store.curl("HEAD", "/private/a")[0] == 200

    listed = store.wait_for(operation="list")
    assert listed[0]["path"] == "/private"
    assert len(store.wait_for(operation="stat")) >= 1


def test_a_cut_upload_leaves_the_old_file_and_an_aborted_record(
    store: WebdavStore,
) -> None:
    """1,234 of 1,000,000 bytes: wsgidav on cheroot stores them and says 201."""
    alice = store.alice
    _put(store, "/private/a", "the old file")
    login = f"{alice.secret_user}:{alice.secret}"
    with store.connect() as peer:
        head = f"PUT /private/a HTTP/1.1\r\nHost: a\r\n{_basic(login)}"
        peer.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())
        peer.sendall(b"x" * 1234)
        store.wait_for(operation="write", phase="intent", count=2)
    until(lambda: len(store.outcomes("write")) == 2, what="the upload is told")

    aborted = store.outcomes("write")[-1]
    assert aborted["outcome"] == "aborted"
    assert aborted["bytes"] == 1234
    assert aborted["reason"] == "incomplete_upload"
    assert store.curl("GET", "/private/a")[1] == "the old file"
    assert list((store.folder / "data").glob("*/.stage/*")) == []


def test_finders_announced_length_is_checked(store: WebdavStore) -> None:
    """Finder sends chunks and tells the length apart; a short body is no file."""
    chunked = ("-H", "Transfer-Encoding: chunked", "-d", "abc")
    length = "X-Expected-Entity-Length: "

    assert store.curl("PUT", "/private/f", *chunked, "-H", f"{length}10")[0] == 400
    assert store.curl("HEAD", "/private/f")[0] == 404
    assert store.curl("PUT", "/private/f", *chunked, "-H", f"{length}3")[0] == 201
    assert [r["outcome"] for r in store.outcomes("write")] == ["aborted", "done"]


def test_a_cut_download_is_aborted(store: WebdavStore, tmp_path: Path) -> None:
    """Somebody who took a tenth of a file has not read it."""
    big = tmp_path / "big"
    big.write_bytes(b"x" * 50_000_000)
    assert store.curl("PUT", "/private/big", "-T", str(big))[0] == 201
    alice = store.alice
    login = f"{alice.secret_user}:{alice.secret}"
    with store.connect() as peer:
        head = f"GET /private/big HTTP/1.1\r\nHost: a\r\n{_basic(login)}\r\n"
        peer.sendall(head.encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 200 OK")
    until(lambda: store.outcomes("read"), what="the download is told")

    (read,) = store.outcomes("read")
    assert read["outcome"] == "aborted"
    assert read["bytes"] < 50_000_000


@pytest.mark.parametrize(
    ("method", "path", "options", "operation", "rule"),
    [
        ("GET", "/private/a%00b", (), "read", "control_character"),
        ("GET", "/private/../etc/passwd", (), "read", "dots"),
        ("DELETE", "/private/%2e%2e/x", (), "delete", "dots"),
        ("PUT", "/private/con.txt", ("-d", "x"), "write", "windows_device"),
        ("MKCOL", "/private/" + "a" * 256, (), "mkdir", "name_length"),
        ("GET", "/private/a%2Fb", (), "read", "encoded_slash"),
        ("PROPFIND", "/private", ("-H", "Depth: infinity"), "list", "propfind_depth"),
        ("PROPFIND", "/private", (), "list", "propfind_depth"),
    ],
)
def test_a_refused_act_is_one_record_with_its_rule(
    store: WebdavStore,
    method: str,
    path: str,
    options: tuple[str, ...],
    operation: str,
    rule: str,
) -> None:
    """And never a 500: each of these has broken another server."""
    assert store.curl(method, path, *options)[0] in {400, 403}

    (record,) = store.outcomes(operation)
    assert record["outcome"] == "refused"
    assert record["rule"] == rule


def test_a_file_that_is_not_there_is_on_record(store: WebdavStore) -> None:
    """Who looked for what is part of the story."""
    assert store.curl("GET", "/private/none")[0] == 404
    assert store.curl("DELETE", "/private/none")[0] == 404

    for operation in ("read", "delete"):
        (record,) = store.outcomes(operation)
        assert (record["outcome"], record["reason"]) == ("failed", "not_found")


def test_a_lock_and_who_it_stopped_are_on_record(store: WebdavStore) -> None:
    """LOCK and UNLOCK are acts, and a 423 is a refusal."""
    lock = (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
        "<D:locktype><D:write/></D:locktype></D:lockinfo>"
    )
    _put(store, "/shared/team/a", "abc")
    assert store.curl("LOCK", "/shared/team/a", "-d", lock)[0] == 200
    assert store.curl("DELETE", "/shared/team/a", person=store.bob)[0] == 423
    assert store.curl("DELETE", "/shared/team/", person=store.bob)[0] in {403, 423}

    assert [r["outcome"] for r in store.outcomes("lock")] == ["done"]
    refused = store.outcomes("delete")[0]
    assert (refused["login"], refused["reason"]) == ("bob", "locked")
    assert refused["outcome"] == "refused"


def test_the_other_persons_folder_does_not_exist(store: WebdavStore) -> None:
    """/private is everybody's own."""
    _put(store, "/private/secret.txt", "alice's")

    assert store.curl("GET", "/private/secret.txt", person=store.bob)[0] == 404


def test_a_locked_device_loses_its_connection_at_once(store: WebdavStore) -> None:
    """A stolen laptop with an open connection reads nothing more (goal: 1 s)."""
    alice = store.alice
    context = store.client_context(alice)
    address = ("127.0.0.1", store.port)
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as peer,
    ):
        login = _basic(f"{alice.name}:{alice.password}")
        peer.sendall(f"OPTIONS / HTTP/1.1\r\nHost: a\r\n{login}\r\n".encode())
        assert peer.recv(4096).startswith(b"HTTP/1.1 200")
        store.accounts.administration.devices.lock("alice", "laptop")
        peer.settimeout(5)
        assert peer.recv(1) == b""
    until(lambda: store.outcomes("logout"), what="the end is told")
    assert store.curl("OPTIONS", "/")[0] == 401


def _basic(login: str) -> str:
    return f"Authorization: Basic {b64encode(login.encode()).decode()}\r\n"
