"""The real daemon over a real store, driven by the `kagikura` command and clients.

A store is initialised once for a test session and copied for each test: keys take the
longest. Everything listens on loopback at free ports.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from server.audit.segment import LOCK
from tests.support.checker import read_journal
from tests.support.waiting import until

Record = dict[str, Any]

_CONFIG = """
state_dir = "state"
data_dir = "data"
workers = 1
drain_s = 5
[sftp]
host = ["127.0.0.1"]
port = 0
[webdav]
host = ["127.0.0.1"]
port = 0
[webdav.secret]
enabled = true
host = ["127.0.0.1"]
port = 0
tls = false
[auth]
argon2_memory_kib = 19456
argon2_iterations = 1
revision_poll_ms = 50
[audit]
reserve_bytes = 65536
"""


@dataclass(slots=True)
class Daemon:
    """A store in `folder`; `start` serves it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def demo(self) -> Path:
        """The demo client's files: `demo_key`, `demo.pem`, `server-ca.pem`."""
        return self.state / "demo"

    @property
    def password(self) -> str:
        return (self.demo / "password").read_text().strip()

    @property
    def sftp_port(self) -> int:
        return int(self.ready["sftp"][1])

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def cli(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command; `text` is its standard input."""
        return subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            env={**os.environ, **self.environ},
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *arguments: str, text: str = "") -> Any:  # noqa: ANN401 - JSON
        """Run a command that must work and read its JSON."""
        done = self.cli(*arguments, "--json", text=text)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self) -> None:
        """Serve; returns when every listener accepts."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self._command("serve"),
                cwd=self.folder,
                env={**os.environ, **self.environ},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = _stdout(self.process).readline()
        assert line, self.log
        self.ready = json.loads(line)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL to the supervisor and to each of its children."""
        assert self.process is not None
        pids = [*self.children().values(), self.process.pid]
        self.process.send_signal(signal.SIGSTOP)  # or it would fork them anew
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self._reap()

    def lose_supervisor(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def children(self) -> dict[str, int]:
        """The pids of worker and keeper, by slot."""
        assert self.process is not None
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = {}
        for pid in below.read_text().split():
            slot = self._slot(int(pid))
            if slot:
                found[slot] = int(pid)
        return found

    def records(self, **wanted: str) -> list[Record]:
        """The journal's records that have these fields."""
        return [
            record
            for record in read_journal(self.state / "journal")
            if all(record.get(key) == value for key, value in wanted.items())
        ]

    def rows(self) -> list[Record]:
        """The audit DB's records, in the order of their rows."""
        url = f"file:{self.state}/audit.db?mode=ro"
        connection = sqlite3.connect(url, uri=True)
        try:
            found = connection.execute("SELECT record FROM records ORDER BY row")
            return [json.loads(record) for (record,) in found]
        finally:
            connection.close()

    def wait_indexed(self, deadline_s: float = 10) -> None:
        """Until the audit DB holds what the journal holds now."""
        ids = {record["id"] for record in self.records()}
        until(
            lambda: ids <= self._indexed(),
            what="the DB holds every record",
            deadline_s=deadline_s,
        )

    def _indexed(self) -> set[str]:
        """The ids of the rows; none while the DB is built anew."""
        try:
            return {row["id"] for row in self.rows()}
        except sqlite3.Error:
            return set()

    def _slot(self, pid: int) -> str:
        """Whose stream the process writes: it holds that stream's lock file."""
        locks = f"journal/*/{LOCK}"
        with suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    path = fd.readlink()
                    if path.match(locks):
                        return path.parent.name
        return ""

    def _command(self, *arguments: str) -> list[str]:
        config = str(self.folder / "kagikura.toml")
        return [sys.executable, "-m", "server", "--config", config, *arguments]

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(60)
        _stdout(self.process).close()
        self.process = None
        return code


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made by `kagikura init --demo`."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "kagikura.toml").write_text(_CONFIG)
    done = Daemon(folder).cli("init", "--demo")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def store(store_template: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A store of the test's own, not served yet."""
    daemon = copy_store(store_template, tmp_path / "store")
    yield daemon
    if daemon.process is not None:
        daemon.stop()


@pytest.fixture
def daemon(store: Daemon) -> Daemon:
    """A store that is served."""
    store.start()
    return store


def copy_store(
    template: Path, folder: Path, environ: Mapping[str, str] | None = None
) -> Daemon:
    """A copy of a store, to be served by itself."""
    shutil.copytree(template, folder)
    return Daemon(folder, dict(environ or {}))
