"""Lines of IPv6, with real clients over both protocols."""

import socket
import subprocess

import pytest

from tests.support.daemon import Daemon
from tests.support.openssh import Someone, client
from tests.support.waiting import until
from tests.support.webdav import curl


@pytest.fixture
def both(store: Daemon) -> Daemon:
    """Served over IPv4 and IPv6; the only line is the IPv6 network."""
    for section in ("SFTP", "WEBDAV"):
        store.environ[f"KAGIKURA_{section}__HOST"] = "127.0.0.1, ::1"
    store.told("line", "remove", "main", "loopback")
    store.told("line", "add", "main", "ngn", "--network", "::/64")
    store.start()
    return store


def sftp(daemon: Daemon, host: str) -> subprocess.CompletedProcess[str]:
    demo = Someone("demo", daemon.demo / "demo_key")
    there = (f"-oHostName={host}",)
    return client(daemon, demo, password=daemon.password, more=there).sftp("ls")


def webdav(daemon: Daemon, host: str) -> int:
    """The status that curl gets."""
    url = f"{daemon.ready['webdav']}private/"
    port = url.split(":")[2].partition("/")[0]
    authority, certificate = daemon.demo / "server-ca.pem", daemon.demo / "demo.pem"
    options = ["--resolve", f"localhost:{port}:{host}", "--cacert", str(authority)]
    options += ["--cert", str(certificate), "-u", f"demo:{daemon.password}"]
    return curl("PROPFIND", url, *options, "-H", "Depth: 0")[0]


def test_an_ipv6_line_admits_its_own_and_nobody_else(both: Daemon) -> None:
    """The line that an NGN gives; the same machine over IPv4 is a stranger."""
    assert [sftp(both, "::1").returncode, webdav(both, "::1")] == [0, 207]
    assert sftp(both, "127.0.0.1").returncode != 0
    assert webdav(both, "127.0.0.1") == 0

    logins = both.records(operation="login", outcome="done")
    assert {(one["source_ip"], one["line"]) for one in logins} == {("::1", "ngn")}
    assert {one["protocol"] for one in logins} == {"sftp", "webdav"}
    refused = both.records(operation="login", outcome="refused")
    assert {(one["source_ip"], one["rule"]) for one in refused} == {
        ("127.0.0.1", "no_line")
    }
    both.told("line", "change", "main", "ngn", "--network", "2001:db8::/48")
    until(lambda: _is_silent(both), what="every worker knows the narrower line")


def _is_silent(daemon: Daemon) -> bool:
    with socket.create_connection(("::1", daemon.sftp_port), timeout=10) as sock:
        return sock.recv(4) == b""
