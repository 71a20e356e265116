"""SFTP workloads, driven by OpenSSH's own client."""

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measure import Meter
from sizes import Sizes, make_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to measure."""

    name: str
    host: str
    port: int
    user: str
    key: Path
    pid: int
    askpass: Path | None = None
    """A program that prints the password, where the server asks for one too."""
    flags: tuple[str, ...] = ()
    """More words for `sftp`, such as `-f`: fsync each file that was put."""


class Client:
    """`sftp -b`, one process a run."""

    def __init__(self, target: Target, cipher: str) -> None:
        self._target = target
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        options += ["IdentitiesOnly=yes", "LogLevel=ERROR"]
        if target.askpass:  # -b says BatchMode=yes; ssh keeps the first that it hears
            options.insert(0, "BatchMode=no")
        if cipher:
            options.append(f"Ciphers={cipher}")
        self._options = [part for option in options for part in ("-o", option)]

    def run(self, script: str, folder: Path) -> None:
        """Have a client do what `script` says, in `folder`; it fails at any error."""
        process = self.start(folder)
        _, told = process.communicate(script.encode())
        if process.returncode:
            raise RuntimeError(told.decode(errors="replace").strip())

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """A client that takes its commands from its standard input."""
        target = self._target
        argv = ["sftp", "-q", *target.flags, *self._options, "-b", "-", "-F", "none"]
        argv += ["-P", str(target.port), "-i", str(target.key)]
        environ = dict(os.environ)
        if target.askpass:
            environ |= {
                "SSH_ASKPASS": str(target.askpass),
                "SSH_ASKPASS_REQUIRE": "force",
            }
        return subprocess.Popen(
            [*argv, f"{target.user}@{target.host}"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


Load = Callable[[Client], None]
"""One run of a workload."""


class Bench:
    """The client's side: what is sent, and where what is fetched goes."""

    def __init__(self, sizes: Sizes, scratch: Path) -> None:
        self._sizes = sizes
        self._source = scratch / "sftp-source"
        self._fetched = scratch / "sftp-fetched"
        (self._source / "small").mkdir(parents=True)
        (self._source / "many").mkdir()
        make_file(self._source / "big.bin", sizes.big_mib << 20)
        make_file(self._source / "part.bin", sizes.part_mib << 20)
        for number in range(sizes.small):
            make_file(self._source / "small" / f"f{number:05d}", 4096)
        for number in range(sizes.entries):
            (self._source / "many" / f"entry-{number:06d}.dat").touch()
        self._loads: dict[str, Load] = {
            "connect": lambda client: client.run("ls -l empty\n", self._source),
            "get_big": lambda client: self._get(client, "big.bin", self._fetched),
            "put_big": lambda client: client.run("put big.bin\n", self._source),
            "put_small": lambda client: client.run(
                "cd small\nput small/*\n", self._source
            ),
            "get_small": lambda client: client.run("get small/*\n", self._fetched),
            "ls": lambda client: client.run("ls -l many\n", self._source),
            "par_get": self._parallel,
        }

    @property
    def workloads(self) -> list[str]:
        return list(self._loads)

    def seed(self, target: Target) -> None:
        """Put there what the reading workloads need, by the protocol itself."""
        client = Client(target, "")
        client.run("-mkdir empty\n-mkdir small\n-mkdir many\n", self._source)
        client.run("put big.bin\nput part.bin\ncd small\nput small/*\n", self._source)
        client.run("cd many\nput many/*\n", self._source)

    def measure(self, workload: str, target: Target, cipher: str) -> Meter:
        """Run one workload once."""
        shutil.rmtree(self._fetched, ignore_errors=True)
        self._fetched.mkdir()
        client = Client(target, cipher)
        with Meter(target.pid) as meter:
            self._loads[workload](client)
        self._check(workload)
        return meter

    def _get(self, client: Client, name: str, folder: Path) -> None:
        client.run(f"get {name}\n", folder)

    def _parallel(self, client: Client) -> None:
        folders = [self._fetched / str(n) for n in range(self._sizes.parallel)]
        for folder in folders:
            folder.mkdir()
        with ThreadPoolExecutor(len(folders)) as pool:
            list(
                pool.map(lambda folder: self._get(client, "part.bin", folder), folders)
            )

    def _check(self, workload: str) -> None:
        """What came must be what was sent: a fast wrong answer is no result."""
        for path in self._fetched.rglob("*"):
            name = f"small/{path.name}" if workload == "get_small" else path.name
            if path.is_file():
                subprocess.run(["cmp", "-s", path, self._source / name], check=True)
