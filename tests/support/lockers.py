"""People who lock, write, rename and unlock the same few files through both doors.

Each holds the store to its word: while a lock is held, what the file holds changes by
the holder's own doing alone, it stays where it is, and nobody else has it locked.
"""

import base64
import http.client
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import paramiko

from server.access.devices import Offer, Package
from server.daemon import build
from server.model.operation import PRESETS
from server.settings.loader import load
from tests.support.accounts import PASSWORD
from tests.support.daemon import Daemon

FOLDER = "/shared/ring"
FILES = tuple(f"{FOLDER}/{name}" for name in ("a", "b", "c"))
TIMEOUT_S = 30
PAUSE_S_MAX = 0.02
_LOCK = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
_STOPPED = re.compile("locked by|open for writing")


@dataclass(frozen=True, slots=True)
class Person:
    """A login with a key for SFTP and a secret for WebDAV."""

    name: str
    key: Path
    secret: str


def people(daemon: Daemon, count: int) -> list[Person]:
    """Make so many logins that may all write in one shared folder."""
    settings = load(daemon.folder / "kagikura.toml", {}).settings
    settings = settings.model_copy(
        update={
            "state_dir": daemon.folder / "state",
            "data_dir": daemon.folder / "data",
        }
    )
    with build.administration(settings, "os:test") as admin:
        admin.folders.add("main", "ring")
        return [_person(admin, daemon.folder, f"locker{n}") for n in range(count)]


def _person(admin: build.Administration, folder: Path, name: str) -> Person:
    added = admin.logins.add(name, totp_rule="off")
    admin.logins.enrol(name, str(added["enrolment_code"]), PASSWORD)
    offer = Offer(issue=Package.PEM, secret=True)
    issued = admin.devices.add(name, "pc", offer)[1]
    key = folder / f"{name}.key"
    key.write_text(issued.ssh_private_key)
    admin.folders.grant("main", "ring", name, PRESETS["editor"])
    return Person(name, key, issued.secret)


@dataclass(slots=True)
class Ring:
    """What the people of one run have in common."""

    daemon: Daemon
    until_s: float
    counts: Counter[str] = field(default_factory=Counter)
    holders: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def holds(self, path: str, who: str) -> None:
        """`who` was told that the lock is taken."""
        with self.lock:
            other = self.holders.get(path)
            if other is not None:
                self.broken.append(f"{who} and {other} both hold {path}")
            self.holders[path] = who

    def lets_go(self, path: str) -> None:
        with self.lock:
            del self.holders[path]


class Doors:
    """One person's two connections; a broken one is opened anew."""

    def __init__(self, ring: Ring, person: Person, stack: ExitStack) -> None:
        self._ring = ring
        self._person = person
        self._stack = stack
        pair = f"{person.name}+pc:{person.secret}".encode()
        self._basic = "Basic " + base64.b64encode(pair).decode()
        self._http: http.client.HTTPConnection | None = None
        self._sftp: paramiko.SFTPClient | None = None

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes, str]:
        """Status, body and Lock-Token; status 0 when the connection broke."""
        if self._http is None:
            netloc = urlsplit(self._ring.daemon.ready["webdav_secret"]).netloc
            self._http = http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)
            self._stack.callback(self._http.close)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._http.request(
                method, path, body, {"Authorization": self._basic, **told}
            )
            answer = self._http.getresponse()
            if answer.status >= 500:
                self._ring.broken.append(f"{method} {path}: {answer.status}")
            return answer.status, answer.read(), answer.headers.get("Lock-Token", "")
        except (OSError, http.client.HTTPException):
            self._http = None
            return 0, b"", ""

    @property
    def sftp(self) -> paramiko.SFTPClient:
        """The SFTP client."""
        if self._sftp is None or not self._sftp.get_channel().active:
            self._sftp = self._connected()
        return self._sftp

    def _connected(self) -> paramiko.SFTPClient:
        address = ("127.0.0.1", self._ring.daemon.sftp_port)
        transport = paramiko.Transport(socket.create_connection(address, TIMEOUT_S))
        self._stack.callback(transport.close)
        transport.banner_timeout = TIMEOUT_S
        transport.start_client(timeout=TIMEOUT_S)
        key = paramiko.PKey.from_path(self._person.key)
        transport.auth_publickey(self._person.name, key)
        transport.auth_password(self._person.name, PASSWORD)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        client.get_channel().settimeout(TIMEOUT_S)
        return client


class Locker(threading.Thread):
    """One person at work."""

    def __init__(self, ring: Ring, person: Person, seed: int) -> None:
        super().__init__(name=person.name, daemon=True)
        self._ring = ring
        self._who = person
        self._chance = random.Random(seed)  # noqa: S311 - the same run each time
        self._written = 0

    def run(self) -> None:
        acts: list[Callable[[Doors, str], None]] = [
            *[self._under_lock] * 4,
            self._put,
            self._write_in_place,
            self._write_in_place,
            self._replace_by_sftp,
            self._replace_by_dav,
            self._remove,
        ]
        with ExitStack() as stack:
            doors = Doors(self._ring, self._who, stack)
            while time.monotonic() < self._ring.until_s and not self._ring.broken:
                path = self._chance.choice(FILES)
                try:
                    self._chance.choice(acts)(doors, path)
                except (EOFError, paramiko.SSHException, TimeoutError, ConnectionError):
                    self._ring.count("connection lost")

    def _content(self) -> bytes:
        self._written += 1
        return f"{self._who.name} {self._written} ".encode() * self._chance.choice((
            1,
            50,
            4000,
        ))

    def _pause(self) -> None:
        time.sleep(self._chance.uniform(0, PAUSE_S_MAX))

    def _under_lock(self, doors: Doors, path: str) -> None:
        """Lock, look again and again, write now and then, unlock."""
        ring = self._ring
        status, _, token = doors.ask("LOCK", path, _LOCK, Timeout="Second-60")
        if status not in {200, 201}:
            ring.count(f"lock {status}")
            return
        ring.holds(path, self._who.name)
        ring.count("locked")
        self._hold(doors, path, token)
        ring.lets_go(path)
        status, _, _ = doors.ask("UNLOCK", path, Lock_Token=token)
        if status != 204:
            ring.broken.append(f"{self._who.name} could not unlock {path}: {status}")

    def _hold(self, doors: Doors, path: str, token: str) -> None:
        expected: bytes | None = None
        for _ in range(self._chance.randint(1, 5)):
            self._pause()
            status, found, _ = doors.ask("GET", path)
            if status == 0:
                return
            if status != 200 or expected not in {None, found}:
                self._ring.broken.append(
                    f"{self._who.name} holds {path}: GET {status}, "
                    f"{found[:40]!r} instead of {(expected or b'')[:40]!r}"
                )
                return
            expected = found
            if self._chance.random() < 0.5:
                expected = self._content()
                status, _, _ = doors.ask("PUT", path, expected, If=f"({token})")
                if status != 204:
                    self._ring.broken.append(f"own PUT to {path}: {status}")
                    return

    def _put(self, doors: Doors, path: str) -> None:
        status, _, _ = doors.ask("PUT", path, self._content())
        self._ring.count(f"put {status}")

    def _replace_by_dav(self, doors: Doors, path: str) -> None:
        mine = f"{FOLDER}/{self._who.name}.dav"
        if doors.ask("PUT", mine, self._content())[0] in {201, 204}:
            status, _, _ = doors.ask("MOVE", mine, Destination=path)
            self._ring.count(f"move {status}")

    def _remove(self, doors: Doors, path: str) -> None:
        status, _, _ = doors.ask("DELETE", path)
        self._ring.count(f"delete {status}")

    def _write_in_place(self, doors: Doors, path: str) -> None:
        """Hold the file open for a while, as sshfs and editors do."""
        mode = self._chance.choice(("r+", "w", "a"))
        with self._told("sftp write"), doors.sftp.open(path, mode) as file:
            for _ in range(3):
                file.write(self._content())
                file.flush()
                self._pause()

    def _replace_by_sftp(self, doors: Doors, path: str) -> None:
        mine = f"{FOLDER}/{self._who.name}.sftp"
        with doors.sftp.open(mine, "w") as file:
            file.write(self._content())
        with self._told("sftp rename"):
            doors.sftp.posix_rename(mine, path)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            words = str(error)
            stopped = bool(_STOPPED.search(words))
            self._ring.count(f"{what} stopped" if stopped else f"{what} failed")
        else:
            self._ring.count(f"{what} done")
