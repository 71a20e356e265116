"""What takes a session's ground away ends its transfers within a second.

The real daemon with two workers and its usual pace of looking for changes; each
download is of a file without end, over both protocols.
"""

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.people import Dav, sftp
from tests.support.sftp import new_key
from tests.support.waiting import until

LIMIT_S = 5.0
"""Five times the promise: what holds on a busy machine; `bench/lock.py` measures."""
NAME = "/shared/office/endless"
VERBS = {
    "device lock": ("device", "lock", "demo", "laptop"),
    "login disable": ("login", "disable", "demo"),
    "line suspend": ("line", "suspend", "main", "loopback"),
    "line narrowed": ("line", "change", "main", "loopback", "--network", "::1"),
    "password change": ("login", "reset", "demo"),
    "grant removal": ("folder", "grant", "main", "office", "demo", "none"),
}  # fmt: skip
RULES = {
    "device lock": "device_locked",
    "login disable": "login_disabled",
    "line suspend": "line_suspended",
    "line narrowed": "line_narrowed",
    "password change": "credentials_changed",
    "grant removal": "no_grant",
}


@pytest.fixture
def endless(store: Daemon) -> Daemon:
    """A served store with a file that no download comes to the end of."""
    store.environ |= {
        "KAGIKURA_WORKERS": "2",
        "KAGIKURA_AUTH__REVISION_POLL_MS": "250",
    }
    store.start()
    with sftp(store) as client:
        client.open(NAME, "wb").close()
    (path,) = (store.folder / "data").glob("*/shared/*/endless")
    os.truncate(path, 1 << 40)
    return store


@contextmanager
def download(daemon: Daemon, protocol: str) -> Iterator[Callable[[int], bytes]]:
    """A download that has begun, as a function that reads on."""
    if protocol == "sftp":
        with sftp(daemon) as client, client.open(NAME, "rb") as file:
            yield file.read
        return
    with Dav(daemon) as dav:
        yield dav.reading(NAME)


class Eater(threading.Thread):
    """Reads until it is stopped, and keeps when the last byte came."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__(name="eater")
        self._read = read
        self.eaten = 0
        self.last_s = 0.0

    def run(self) -> None:
        try:
            while block := self._read(65536):
                self.eaten += len(block)
                self.last_s = time.time()
        except Exception:  # noqa: BLE001 - whatever ends it, ends it
            return


@pytest.mark.parametrize("protocol", ["sftp", "webdav"])
@pytest.mark.parametrize("verb", list(VERBS))
def test_a_running_transfer_is_dead_within_a_second(
    endless: Daemon, verb: str, protocol: str
) -> None:
    """Counted from the record of the intent, before which nothing may happen."""
    with download(endless, protocol) as read:
        eater = Eater(read)
        eater.start()
        until(lambda: eater.eaten > 1 << 20, what="the download runs")
        endless.told(*VERBS[verb])
        eater.join(10)
        assert not eater.is_alive()

    intent = endless.records(operation=f"admin.{_noun(verb)}", phase="intent")[-1]
    assert eater.last_s - datetime.fromisoformat(intent["time"]).timestamp() < LIMIT_S
    until(lambda: _ends(endless, protocol, RULES[verb]), what="it is on record")


def _noun(verb: str) -> str:
    return ".".join(
        {
            "line narrowed": ("line", "change"),
            "password change": ("login", "reset"),
            "grant removal": ("folder", "grant"),
        }.get(verb, tuple(verb.split()))
    )


def _ends(daemon: Daemon, protocol: str, rule: str) -> bool:
    """The read ended unclean, and the rule is told by it or by the logout."""
    rows = daemon.records(protocol=protocol, rule=rule)
    reads = daemon.records(protocol=protocol, operation="read", phase="outcome")
    return bool(rows) and all(row["outcome"] in {"aborted", "refused"} for row in reads)


def test_a_person_cuts_a_lost_device_on_every_worker(
    endless: Daemon, tmp_path: Path
) -> None:
    """By one `ssh` command from another device, over both protocols at once."""
    key = new_key(tmp_path / "phone")
    public = key.with_suffix(".pub").read_text()
    endless.told("device", "add", "demo", "phone", "--ssh-key", "-", text=public)
    with (
        download(endless, "sftp") as first,
        download(endless, "sftp") as second,
        download(endless, "webdav") as third,
    ):
        eaters = [Eater(read) for read in (first, second, third)]
        for eater in eaters:
            eater.start()
        until(lambda: all(eater.eaten > 1 << 20 for eater in eaters), what="they run")
        locked = sftp_command(endless, key, "lock laptop --json")
        for eater in eaters:
            eater.join(10)
            assert not eater.is_alive()

    assert locked["state"] == "locked"
    assert locked["sessions_cut"] == len(eaters)
    (intent,) = endless.records(operation="admin.device.lock", phase="intent")
    assert (intent["login"], intent["protocol"]) == ("demo", "sftp")
    last_s = max(eater.last_s for eater in eaters)
    assert last_s - datetime.fromisoformat(intent["time"]).timestamp() < LIMIT_S


def sftp_command(daemon: Daemon, key: Path, command: str) -> dict[str, object]:
    """What a command of the SSH door answers, in JSON, to the demo's person."""
    with sftp(daemon, key) as client:
        channel = client.get_channel().get_transport().open_session()
        channel.exec_command(command)
        told: dict[str, object] = json.loads(channel.makefile("rb").read())
        return told


def test_a_slow_client_gets_nothing_more_from_the_kernel(endless: Daemon) -> None:
    """What was sent before the lock and has not gone out is thrown away."""
    secret = endless.told("device", "add", "demo", "pc", "--secret")["secret"]
    port = int(endless.ready["webdav_secret"].rsplit(":", 1)[1].strip("/"))
    pair = base64.b64encode(f"demo+pc:{secret}".encode()).decode()
    head = f"GET {NAME} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {pair}\r\n\r\n"
    begun: list[socket.socket] = []
    until(lambda: _begins(begun, port, head), what="its worker knows the new secret")
    with begun.pop() as sock:
        until(lambda: _unsent(port) > 1 << 16, what="the server's buffer is full")
        endless.told("device", "lock", "demo", "pc")
        received = _drain(sock)

    assert received < 1 << 16


def _begins(begun: list[socket.socket], port: int, head: str) -> bool:
    """Whether a download is let in; then it is the one in `begun`."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(10)
    sock.sendall(head.encode())
    if sock.recv(12) == b"HTTP/1.1 200":
        begun.append(sock)
        return True
    sock.close()
    return False


def _unsent(port: int) -> int:
    """Bytes that the kernel holds for the client of `port` (/proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return max((int(row[4].split(":")[0], 16) for row in mine), default=0)


def _drain(sock: socket.socket) -> int:
    received = 0
    try:
        while block := sock.recv(65536):
            received += len(block)
    except ConnectionResetError:
        return received
    return received
