"""WebDAV workloads: curl for big files, a lean keep-alive client for small ones."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from measure import Meter
from sizes import Sizes, make_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to measure; `url` ends in a slash and names the folder to work in."""

    name: str
    url: str
    pid: int
    user: str = ""
    password: str = ""
    certificate: Path | None = None
    """PEM of the client's certificate with its key, where the server asks for it."""


class Connection:
    """A minimal HTTP/1.1 client: little time of its own per request."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self._base = parts.path
        self._head = f"Host: {parts.netloc}\r\n"
        if target.user:
            token = base64.b64encode(f"{target.user}:{target.password}".encode())
            self._head += f"Authorization: Basic {token.decode()}\r\n"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        raw = socket.create_connection((parts.hostname or "", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _wrap(raw, target) if parts.scheme == "https" else raw
        self._reader = self._socket.makefile("rb", buffering=1 << 18)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def request(
        self, method: str, name: str, body: bytes = b"", fields: str = ""
    ) -> tuple[int, bytes]:
        """Send one request; the status and the body of the answer."""
        head = f"{method} {self._base}{name} HTTP/1.1\r\n{self._head}{fields}"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        status = int(self._line().split()[1])
        answer: dict[bytes, bytes] = {}
        while line := self._line():
            key, _, value = line.partition(b":")
            answer[key.strip().lower()] = value.strip()
        if answer.get(b"transfer-encoding", b"").lower() == b"chunked":
            return status, self._chunks()
        return status, self._reader.read(int(answer.get(b"content-length", b"0")))

    def _line(self) -> bytes:
        line = self._reader.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return line.rstrip(b"\r\n")

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._line().partition(b";")[0], 16):
            parts.append(self._reader.read(size))
            self._line()
        self._line()
        return b"".join(parts)


def _wrap(raw: socket.socket, target: Target) -> socket.socket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # throw-away certificates on loopback
    if target.certificate:
        context.load_cert_chain(target.certificate)
    return context.wrap_socket(raw)


def curl(target: Target, *arguments: str) -> None:
    """Run curl once; it fails on any status of 400 and above."""
    argv = ["curl", "-sS", "-k", "-f", "--http1.1", *arguments]
    if target.user:
        argv += ["-u", f"{target.user}:{target.password}"]
    if target.certificate:
        argv += ["--cert", str(target.certificate)]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip())


Load = Callable[[Target], None]
"""One run of a workload."""
_SOME: Final = 1000
"""Entries of the folder that every run lists."""
_ASKED: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    b"<D:resourcetype/><D:getcontentlength/><D:getlastmodified/><D:getetag/>"
    b"<D:creationdate/></D:prop></D:propfind>"
)
"""The properties a drive asks for: the same of every server."""


class Bench:
    """The client's side."""

    def __init__(self, sizes: Sizes, scratch: Path) -> None:
        self._sizes = sizes
        self._source = scratch / "dav-source"
        self._fetched = scratch / "dav-fetched"
        self._source.mkdir()
        self._big = self._source / "big.bin"
        self._part = self._source / "part.bin"
        make_file(self._big, sizes.big_mib << 20)
        make_file(self._part, sizes.part_mib << 20)
        self._body = os.urandom(4096)
        self._loads: dict[str, Load] = {
            "get_big": lambda target: self._get(target, self._big, "0"),
            "put_big": lambda target: curl(
                target, "-T", str(self._big), f"{target.url}up.bin"
            ),
            "put_small": lambda target: self._small(target, "PUT"),
            "get_small": lambda target: self._small(target, "GET"),
            "propfind_1k": lambda target: propfind(target, "some/", _SOME),
            "propfind": lambda target: propfind(target, "many/", sizes.entries),
            "par_get": self._parallel,
        }

    @property
    def workloads(self) -> list[str]:
        return list(self._loads)

    def seed(self, target: Target) -> None:
        """Put there what the reading workloads need, by the protocol itself."""
        connection = Connection(target)
        for folder in ("", "small/", "some/", "many/"):
            connection.request("MKCOL", folder)
        connection.close()  # nobody keeps it for as long as the next takes
        for path in (self._big, self._part):
            curl(target, "-T", str(path), f"{target.url}{path.name}")
        connection = Connection(target)
        for folder, entries in (("some", _SOME), ("many", self._sizes.entries)):
            for number in range(entries):
                connection.request("PUT", f"{folder}/entry-{number:06d}.dat")
        connection.close()
        self._small(target, "PUT")

    def measure(self, workload: str, target: Target) -> Meter:
        """Run one workload once."""
        shutil.rmtree(self._fetched, ignore_errors=True)
        self._fetched.mkdir()
        with Meter(target.pid) as meter:
            self._loads[workload](target)
        for path in self._fetched.iterdir():
            source = self._part if workload == "par_get" else self._big
            subprocess.run(["cmp", "-s", path, source], check=True)
        return meter

    def _get(self, target: Target, source: Path, name: str) -> None:
        curl(target, "-o", str(self._fetched / name), f"{target.url}{source.name}")

    def _parallel(self, target: Target) -> None:
        names = [str(number) for number in range(self._sizes.parallel)]
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self._get(target, self._part, name), names))

    def _small(self, target: Target, method: str) -> None:
        connection = Connection(target)
        body = self._body if method == "PUT" else b""
        for number in range(self._sizes.small):
            status, got = connection.request(method, f"small/f{number:05d}", body)
            if status >= 300 or (method == "GET" and got != self._body):
                raise RuntimeError(f"{method}: {status}, {len(got)} bytes")
        connection.close()


def propfind(target: Target, folder: str, entries: int) -> None:
    """List a folder of at least `entries` members with the properties of a drive."""
    connection = Connection(target)
    fields = "Depth: 1\r\nContent-Type: application/xml\r\n"
    status, body = connection.request("PROPFIND", folder, _ASKED, fields)
    connection.close()
    if status != 207 or body.count(b"entry-") < entries:
        raise RuntimeError(f"PROPFIND: {status}, {body.count(b'entry-')} names")
