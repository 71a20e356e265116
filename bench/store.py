"""Our own daemon with a demo store, as `kagikura init --demo` makes it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sftp
import webdav

NAME: Final = "kagikura"
KAGIKURA: Final = [sys.executable, "-m", "server"]
"""The daemon as it is delivered."""
UNRECORDED: Final = [sys.executable, str(Path(__file__).with_name("unrecorded.py"))]
"""The same daemon with a trail that keeps nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A running daemon, as each front end's target."""

    sftp: sftp.Target
    webdav: webdav.Target
    """Plain HTTP with a device's secret."""
    webdav_tls: webdav.Target
    """HTTPS with a device's certificate."""
    folder: Path

    @property
    def private(self) -> Path:
        """Where the demo's files lie on the disk; made at the first look at them."""
        (found,) = self.folder.glob("data/*/private/*")
        return found

    def empty_trash(self) -> None:
        """Make room: each round replaces the big files of the one before."""
        for kept in self.folder.glob("data/*/.trash/*"):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()


@contextmanager
def running(
    folder: Path,
    *,
    durability: str = "disk",
    sync: str = "close",
    workers: int = 1,
    more: dict[str, str] | None = None,
    program: Sequence[str] = KAGIKURA,
) -> Iterator[Store]:
    """Make a store in `folder`, serve it on free loopback ports, stop it at the end.

    Args:
        folder: Where it lies; `state` and `data` are made below it.
        durability: `audit.durability`.
        sync: `storage.sync`.
        workers: How many.
        more: Further settings, as environment variables.
        program: What serves.
    """
    config = folder / "kagikura.toml"
    config.write_text(f"""\
state_dir = "state"
data_dir = "data"
workers = {workers}
[sftp]
host = "127.0.0.1"
port = 0
[webdav]
host = "127.0.0.1"
port = 0
[webdav.secret]
enabled = true
host = "127.0.0.1"
port = 0
tls = false
[audit]
durability = "{durability}"
[storage]
sync = "{sync}"
""")
    demo = kagikura(config, "init", "--demo")
    secret = kagikura(config, "device", "add", demo["login"], "bench", "--secret")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*program, "--config", str(config), "serve"],
            env=environ() | (more or {}),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        ready = _ready(process)
        yield _targets(process.pid, demo, secret, ready, folder)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _targets(
    pid: int,
    demo: dict[str, Any],
    secret: dict[str, Any],
    ready: dict[str, Any],
    folder: Path,
) -> Store:
    askpass = folder / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{demo['password']}'\n")
    askpass.chmod(0o700)
    host, port = ready["sftp"]
    return Store(
        folder=folder,
        sftp=sftp.Target(
            name=NAME,
            host=host,
            port=port,
            user=demo["login"],
            key=Path(demo["ssh_key"]),
            pid=pid,
            askpass=askpass,
        ),
        webdav=webdav.Target(
            name=NAME,
            url=f"{ready['webdav_secret']}private/dav/",
            pid=pid,
            user=f"{demo['login']}+bench",
            password=secret["secret"],
        ),
        webdav_tls=webdav.Target(
            name=NAME,
            url=f"{ready['webdav']}private/dav/",
            pid=pid,
            user=demo["login"],
            password=demo["password"],
            certificate=Path(demo["certificate"]),
        ),
    )


def kagikura(config: Path, *arguments: str) -> dict[str, Any]:
    """Run a command and read what it answers."""
    done = subprocess.run(
        [*KAGIKURA, "--config", str(config), *arguments, "--json"],
        env=environ(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def environ() -> dict[str, str]:
    """Ours without settings of the person who runs the bench."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KAGIKURA_")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[1])}


def _ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    if process.stdout is None:
        raise RuntimeError("no pipe to the daemon")
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    line = process.stdout.readline()
    alarm.cancel()
    if not line:
        raise RuntimeError("the daemon did not get ready; see server.log")
    found: dict[str, Any] = json.loads(line)
    return found
