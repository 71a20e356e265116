"""Clients that work on a store until told to stop, and write down what they are told.

Each has a folder of its own and asks one thing at a time; half of them speak SFTP, half
WebDAV. A connection that breaks is opened anew.
"""

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any, Protocol, Self
from urllib.parse import quote

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_OPEN,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    int64,
)

from tests.support.daemon import Daemon
from tests.support.ledger import Ledger, RefusedByServerError, content
from tests.support.people import Dav, sftp

LENGTH_MAX = 200_000
FILES_MAX = 12
BLOCK = 32768


class Hands(Protocol):
    """What a client does with one connection."""

    def put(self, path: str, data: bytes) -> None: ...

    def get(self, path: str) -> bytes: ...

    def rename(self, path: str, target: str) -> None: ...

    def delete(self, path: str) -> None: ...

    def mkdir(self, path: str) -> None: ...


class SftpHands:
    """SFTP, request by request: paramiko's own file object hides a failed CLOSE."""

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self._client = client

    def put(self, path: str, data: bytes) -> None:
        handle = self._open(path, SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_TRUNC)
        for offset in range(0, len(data), BLOCK):
            block = data[offset : offset + BLOCK]
            self._request(CMD_WRITE, handle, int64(offset), block)
        self._request(CMD_CLOSE, handle)

    def get(self, path: str) -> bytes:
        with self._client.open(path, "rb") as file:
            return file.read()

    def rename(self, path: str, target: str) -> None:
        self._client.posix_rename(path, target)

    def delete(self, path: str) -> None:
        self._client.remove(path)

    def mkdir(self, path: str) -> None:
        self._client.mkdir(path)

    def _open(self, path: str, flags: int) -> bytes:
        _, answer = self._request(
            CMD_OPEN, path.encode(), flags, paramiko.SFTPAttributes()
        )
        handle: bytes = answer.get_binary()
        return handle

    def _request(self, *parts: object) -> Any:  # noqa: ANN401 - paramiko's
        return self._client._request(*parts)  # type: ignore[attr-defined]  # hidden


class DavHands:
    """WebDAV."""

    def __init__(self, client: Dav) -> None:
        self._client = client

    def put(self, path: str, data: bytes) -> None:
        self._client.ask("PUT", path, data)

    def get(self, path: str) -> bytes:
        return self._client.ask("GET", path)

    def rename(self, path: str, target: str) -> None:
        self._client.ask("MOVE", path, headers={"Destination": quote(target)})

    def delete(self, path: str) -> None:
        self._client.ask("DELETE", path)

    def mkdir(self, path: str) -> None:
        self._client.ask("MKCOL", path)


class Crowd:
    """Several clients at once."""

    def __init__(
        self, daemon: Daemon, ledger: Ledger, *, clients: int, seed: int
    ) -> None:
        self._daemon = daemon
        self._ledger = ledger
        self._stop = threading.Event()
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(
                target=self._run, args=(number, seed + number), name=f"client-{number}"
            )
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} hangs"
        if self.failures:
            raise self.failures[0]

    def _run(self, number: int, seed: int) -> None:
        try:
            _Client(number, seed, self._daemon, self._ledger, self._stop).work()
        except BaseException as error:  # noqa: BLE001 - shown at the end
            self.failures.append(error)


class _Client:
    """One of them."""

    def __init__(
        self,
        number: int,
        seed: int,
        daemon: Daemon,
        ledger: Ledger,
        stop: threading.Event,
    ) -> None:
        self._name = f"c{number}"
        self._home = f"/private/{self._name}"
        self._speaks_sftp = number % 2 == 0
        self._random = random.Random(seed)  # noqa: S311 - a repeatable run
        self._daemon = daemon
        self._ledger = ledger
        self._stop = stop
        self._files: list[str] = []
        self._count = 0

    def work(self) -> None:
        """Until told to stop; a broken connection is made anew."""
        while not self._stop.is_set():
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                if self._speaks_sftp:
                    with sftp(self._daemon) as client:
                        self._session(SftpHands(client))
                else:
                    with Dav(self._daemon) as dav:
                        self._session(DavHands(dav))
            self._stop.wait(0.02)

    def _session(self, hands: Hands) -> None:
        self._ask("mkdir", self._home, lambda: hands.mkdir(self._home))
        while not self._stop.is_set():
            before = self._ledger.count("info")
            self._one(hands)
            mine = self._ledger.count("info")
            if mine > before and self._broken:
                return

    def _one(self, hands: Hands) -> None:
        kind = self._random.choice(["put", "put", "over", "get", "rename", "delete"])
        if kind == "put" or not self._files:
            self._put(hands, self._new_name())
            return
        path = self._random.choice(self._files)
        if kind == "over":
            self._put(hands, path)
        elif kind == "get":
            self._ask("get", path, lambda: hands.get(path))
        elif kind == "rename":
            target = self._new_name()
            self._files.remove(path)
            self._files.append(target)
            self._ask("rename", path, lambda: hands.rename(path, target), target=target)
        elif len(self._files) > FILES_MAX // 2:
            self._files.remove(path)
            self._ask("delete", path, lambda: hands.delete(path))

    def _put(self, hands: Hands, path: str) -> None:
        seed = self._random.randrange(2**32)
        length = self._random.choice([0, 1, 4096, self._random.randrange(LENGTH_MAX)])
        if path not in self._files:
            self._files.append(path)
        if len(self._files) > FILES_MAX:
            self._files.pop(0)
        data = content(seed, length)
        kind = "write" if self._speaks_sftp else "put"
        self._ask(kind, path, lambda: hands.put(path, data), seed=seed, length=length)

    def _ask(
        self,
        kind: str,
        path: str,
        act: Callable[[], object],
        **facts: object,
    ) -> None:
        self._broken = True
        with self._ledger.asking(self._name, kind, path, **facts):  # type: ignore[arg-type]  # one of the kinds
            try:
                act()
            except RefusedByServerError:
                self._broken = False
                raise
            except OSError as error:
                if self._speaks_sftp and _is_answer(error):
                    self._broken = False
                    raise RefusedByServerError(str(error)) from error
                raise
            self._broken = False

    def _new_name(self) -> str:
        self._count += 1
        return f"{self._home}/資料 {self._count}.bin"


def _is_answer(error: OSError) -> bool:
    """Whether paramiko made this of a status that the server sent."""
    plain = type(error) in {OSError, FileNotFoundError, PermissionError}
    return plain and str(error) != "Socket is closed"
