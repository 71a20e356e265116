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
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import paramiko

from tests.support.daemon import Daemon
from tests.support.ledger import RefusedByServerError

LOGIN = "demo"
TIMEOUT_S = 20


@contextmanager
def sftp(daemon: Daemon, key: Path | None = None) -> Iterator[paramiko.SFTPClient]:
    """A logged-in SFTP client, from the demo's device unless another's key is given."""
    sock = socket.create_connection(("127.0.0.1", daemon.sftp_port), TIMEOUT_S)
    transport = paramiko.Transport(sock)
    try:
        transport.banner_timeout = TIMEOUT_S
        transport.start_client(timeout=TIMEOUT_S)
        private = paramiko.PKey.from_path(key or daemon.demo / "demo_key")
        transport.auth_publickey(LOGIN, private)
        transport.auth_password(LOGIN, daemon.password)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        client.get_channel().settimeout(TIMEOUT_S)
        yield client
    finally:
        transport.close()


class Dav:
    """A WebDAV client on one kept-alive connection with the device's certificate."""

    def __init__(self, daemon: Daemon) -> None:
        context = ssl.create_default_context(cafile=daemon.demo / "server-ca.pem")
        context.load_cert_chain(daemon.demo / "demo.pem")
        port = urlsplit(daemon.ready["webdav"]).port
        self._connection = http.client.HTTPSConnection(
            "localhost", port, timeout=TIMEOUT_S, context=context
        )
        pair = f"{LOGIN}:{daemon.password}".encode()
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
        path: str,
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
