"""The demo person's clients: paramiko for SFTP, http.client for WebDAV.

They are small on purpose: what OpenSSH, curl, litmus and rclone say is tested apart;
these two give tests full control over one request after another.
"""

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import paramiko

from tests.support.daemon import Daemon
from tests.support.ledger import RefusedByServerError

TIMEOUT_S = 20


@dataclass(frozen=True)
class Credentials:
    """What a login shows: its password, and its device's key and certificate."""

    login: str
    password: str
    key: Path
    certificate: Path


def demo(daemon: Daemon) -> Credentials:
    """The demo person's."""
    folder = daemon.demo
    key, certificate = folder / "demo_key", folder / "demo.pem"
    return Credentials("demo", daemon.password, key, certificate)


@contextmanager
def sftp(
    daemon: Daemon, key: Path | None = None, *, who: Credentials | None = None
) -> Iterator[paramiko.SFTPClient]:
    """A logged-in SFTP client, the demo's unless another's key, or all, is given."""
    who = who or demo(daemon)
    sock = socket.create_connection(("127.0.0.1", daemon.sftp_port), TIMEOUT_S)
    transport = paramiko.Transport(sock)
    try:
        transport.banner_timeout = TIMEOUT_S
        transport.start_client(timeout=TIMEOUT_S)
        private = paramiko.PKey.from_path(key or who.key)
        transport.auth_publickey(who.login, private)
        transport.auth_password(who.login, who.password)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        client.get_channel().settimeout(TIMEOUT_S)
        yield client
    finally:
        transport.close()


class Dav:
    """A WebDAV client on one kept-alive connection with the device's certificate."""

    def __init__(self, daemon: Daemon, who: Credentials | None = None) -> None:
        who = who or demo(daemon)
        context = ssl.create_default_context(cafile=daemon.demo / "server-ca.pem")
        context.load_cert_chain(who.certificate)
        port = urlsplit(daemon.ready["webdav"]).port
        self._connection = http.client.HTTPSConnection(
            "localhost", port, timeout=TIMEOUT_S, context=context
        )
        pair = f"{who.login}:{who.password}".encode()
        self._authorization = "Basic " + base64.b64encode(pair).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def reading(self, path: str) -> Callable[[int], bytes]:
        """A GET whose body is read piece by piece."""
        told = {"Authorization": self._authorization}
        self._connection.request("GET", quote(path), None, told)
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise RefusedByServerError(f"{answer.status} {answer.reason}")
        return answer.read

    def ask(
        self,
        method: str,
        path: str | bytes,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """One request; the body of its answer.

        Raises:
            RefusedByServerError: The status is 400 or more.
        """
        told = {"Authorization": self._authorization, **(headers or {})}
        self._connection.request(method, quote(path), body, told)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RefusedByServerError(f"{answer.status} {answer.reason}")
        return content
