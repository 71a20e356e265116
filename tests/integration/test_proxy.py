"""Behind a proxy: the true source, and nothing for those who only claim one.

Debian's haproxy stands in front with `send-proxy-v2`; forged headers are sent by hand.
"""

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.sockets import free_port
from tests.support.ssh_probe import read_all
from tests.support.waiting import until

PROXY, CLIENT = "127.0.0.9", "127.0.0.5"
V1 = b"PROXY TCP4 127.0.0.5 127.0.0.1 40000 2022\r\n"
LISTENERS = ("sftp", "webdav", "webdav_secret")


@pytest.fixture
def proxied(store: Daemon) -> Daemon:
    """A served store whose listeners all stand behind `PROXY`, line: `CLIENT` alone."""
    store.told("line", "remove", "main", "loopback")
    store.told("line", "add", "main", "branch", "--network", f"{CLIENT}/32")
    for section in ("SFTP", "WEBDAV", "WEBDAV__SECRET"):
        store.environ[f"KAGIKURA_{section}__PROXY_PROTOCOL"] = "required"
        trusted = json.dumps([f"{PROXY}/32"])
        store.environ[f"KAGIKURA_{section}__PROXY_TRUSTED"] = trusted
    store.start()
    return store


def port_of(daemon: Daemon, listener: str) -> int:
    if listener == "sftp":
        return daemon.sftp_port
    return int(daemon.ready[listener].rsplit(":", 1)[1].strip("/"))


def connect(daemon: Daemon, listener: str, source: str = PROXY) -> socket.socket:
    address = ("127.0.0.1", port_of(daemon, listener))
    return socket.create_connection(address, timeout=10, source_address=(source, 0))


def greeting(sock: socket.socket, listener: str, daemon: Daemon) -> str:
    """What a client of this door gets as its first answer."""
    if listener == "sftp":
        return sock.recv(4).decode()
    if listener == "webdav":
        context = ssl.create_default_context(cafile=daemon.demo / "server-ca.pem")
        context.load_cert_chain(daemon.demo / "demo.pem")
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            return tls.version() or ""
    sock.sendall(b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock.recv(8).decode()


@contextmanager
def haproxy(daemon: Daemon, folder: Path) -> Iterator[dict[str, int]]:
    """Debian's haproxy in front of every listener; its ports by listener."""
    program = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    ports = {name: free_port() for name in LISTENERS}
    blocks = [
        f"listen {name}\n bind 127.0.0.1:{port}\n server store "
        f"127.0.0.1:{port_of(daemon, name)} source {PROXY} send-proxy-v2 "
        "check inter 100ms\n"
        for name, port in ports.items()
    ]
    times = "timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
    config = folder / "haproxy.cfg"
    config.write_text(f"defaults\n mode tcp\n {times}{''.join(blocks)}")
    process = subprocess.Popen([program, "-db", "-f", str(config)])
    try:
        for port in ports.values():
            until(lambda port=port: _answers(port), what="haproxy listens")  # type: ignore[misc]
        yield ports
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_the_trail_names_the_client_and_the_proxy(
    proxied: Daemon, tmp_path: Path
) -> None:
    """The line is checked against the client's address, on both doors."""
    with haproxy(proxied, tmp_path) as ports:
        sftp = subprocess.run(
            ["sftp", "-oBatchMode=no", "-F/dev/null", "-b", "-",
             "-oStrictHostKeyChecking=no",
             f"-oUserKnownHostsFile={tmp_path}/known", "-oIdentitiesOnly=yes",
             f"-oIdentityFile={proxied.demo}/demo_key", f"-oBindAddress={CLIENT}",
             "-P", str(ports["sftp"]), "demo@127.0.0.1"],
            input="ls /private\n", text=True, capture_output=True, timeout=60,
            env=_askpass(tmp_path, proxied.password), check=False,
        )  # fmt: skip
        curl = subprocess.run(
            ["curl", "-sS", "--interface", CLIENT, "--fail", "-X", "PROPFIND",
             "--cacert", str(proxied.demo / "server-ca.pem"),
             "--cert", str(proxied.demo / "demo.pem"),
             "-u", f"demo:{proxied.password}", "-H", "X-Forwarded-For: 192.0.2.9",
             "-H", "Forwarded: for=192.0.2.9", "-H", "X-Real-IP: 192.0.2.9",
             "-H", "Depth: 1",
             f"https://localhost:{ports['webdav']}/private/"],
            text=True, capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    assert (sftp.returncode, curl.returncode) == (0, 0), sftp.stderr + curl.stderr
    for protocol in ("sftp", "webdav"):
        ended = partial(proxied.records, operation="logout", protocol=protocol)
        until(ended, what="the session is over")
        rows = proxied.records(protocol=protocol)
        mine = [row for row in rows if row.get("login") == "demo"]
        assert {row["operation"] for row in mine} >= {"login", "list", "logout"}
        assert {(row["source_ip"], row["via"]) for row in mine} == {(CLIENT, PROXY)}
        assert {row["line"] for row in mine} == {"branch"}


def test_health_checks_leave_no_record(proxied: Daemon, tmp_path: Path) -> None:
    """Ten looks a second by haproxy: LOCAL is no attack."""
    with haproxy(proxied, tmp_path):
        time.sleep(1)  # what is awaited is that nothing comes of it

    assert proxied.records(operation="login", source_ip=PROXY) == []


def _askpass(folder: Path, password: str) -> dict[str, str]:
    path = folder / "askpass"
    path.write_text(f"#!/bin/sh\necho '{password}'\n")
    path.chmod(0o700)
    return {
        "SSH_ASKPASS": str(path),
        "SSH_ASKPASS_REQUIRE": "force",
        "PATH": "/usr/bin",
    }


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_trusted_proxys_client_is_served(proxied: Daemon, listener: str) -> None:
    """Byte by byte too: what follows the header is not swallowed."""
    with connect(proxied, listener) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in V1:
            sock.send(bytes([byte]))

        assert greeting(sock, listener, proxied)[:3] in {"SSH", "TLS", "HTT"}


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_forged_header_gets_nowhere(proxied: Daemon, listener: str) -> None:
    """A peer that is no proxy of ours is not even listened to."""
    with connect(proxied, listener, source=CLIENT) as sock:
        sock.sendall(V1)
        assert read_all(sock) == b""

    def refused() -> bool:
        rows = proxied.records(rule="not_a_trusted_proxy", outcome="refused")
        return [row["source_ip"] for row in rows] == [CLIENT]

    until(refused, what="the refusal is on record")


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_client_outside_every_line_is_refused_behind_a_proxy_too(
    proxied: Daemon, listener: str
) -> None:
    """The proxy's own address opens nothing, and a client's is checked."""
    for claimed in (b"192.0.2.1", PROXY.encode()):
        with connect(proxied, listener) as sock:
            sock.sendall(V1.replace(CLIENT.encode(), claimed))
            assert read_all(sock) == b""
    (row,) = proxied.records(rule="no_line", source_ip="192.0.2.1")
    assert row["via"] == PROXY


@pytest.mark.parametrize("listener", LISTENERS)
def test_without_a_header_a_trusted_proxy_is_refused(
    proxied: Daemon, listener: str
) -> None:
    """Required means required: there is no guessing."""
    with connect(proxied, listener) as sock:
        sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        assert read_all(sock) == b""

    until(lambda: proxied.records(rule="proxy_header"), what="it is on record")


def test_a_late_header_holds_nobody_up(proxied: Daemon) -> None:
    """Fifty silent ones beside one that is served at once; theirs end after 3 s."""
    silent = [connect(proxied, "sftp") for _ in range(50)]
    began_s = time.monotonic()
    with connect(proxied, "sftp") as sock:
        sock.sendall(V1)
        assert sock.recv(4) == b"SSH-"
        assert time.monotonic() - began_s < 2.5
    for sock in silent:
        assert read_all(sock) == b""
        sock.close()

    assert 2.5 < time.monotonic() - began_s < 15
    until(lambda: proxied.records(rule="proxy_header_late"), what="it is on record")


@pytest.mark.parametrize("listener", LISTENERS)
def test_without_the_setting_a_header_is_a_protocol_error(
    daemon: Daemon, listener: str
) -> None:
    """No PROXY header is believed, or even skipped."""
    with connect(daemon, listener, source=CLIENT) as sock:
        plain = listener == "webdav_secret"
        request = b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(V1 + (request if plain else b"SSH-2.0-OpenSSH_9.2p1\r\n"))
        answer = read_all(sock)

    assert b"SSH-" not in answer[4:]
    assert not plain or answer.startswith(b"HTTP/1.1 400")
    assert not daemon.records(source_ip="127.0.0.5", source_port=40000)
