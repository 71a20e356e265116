"""How fast `device lock` kills running transfers, over both protocols, two workers.

    .venv/bin/python bench/lock.py [--runs 50]

Each run starts two SFTP and two WebDAV downloads of one device at full speed, locks
the device by the command, and waits until each client has ended. Counted from the
lock's intent record; what the command itself needs to start is told beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import store

FILE_BYTES = 1 << 40
"""Sparse: no run ever comes to its end."""
BEGUN_BYTES = 8 << 20
LOGIN, DEVICE = "demo", "laptop"


@dataclass(slots=True)
class Times:
    """Seconds from the intent to the end of the last client, by protocol."""

    sftp: list[float] = field(default_factory=list)
    webdav: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)


def _sftp(target: store.sftp.Target) -> subprocess.Popen[bytes]:
    options = ["BatchMode=no", "StrictHostKeyChecking=no", "LogLevel=ERROR"]
    options += ["UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
    told = [part for option in options for part in ("-o", option)]
    process = subprocess.Popen(
        [
            *("sftp", "-q", *told, "-b", "-", "-F", "none", "-P", str(target.port)),
            *("-i", str(target.key), f"{target.user}@{target.host}"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "SSH_ASKPASS": str(target.askpass),
            "SSH_ASKPASS_REQUIRE": "force",
        },
    )
    assert process.stdin
    process.stdin.write(b"get /private/endless /dev/null\n")
    process.stdin.close()
    return process


def _webdav(target: store.webdav.Target, authority: Path) -> subprocess.Popen[bytes]:
    url = target.url.replace("private/dav/", "private/endless")
    return subprocess.Popen(
        [
            *("curl", "-sS", "-o", "/dev/null", "--cacert", str(authority)),
            *("--cert", str(target.certificate)),
            *("-u", f"{target.user}:{target.password}", url),
        ],
        stderr=subprocess.DEVNULL,
    )


def _begun(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """A download that runs; tried again while workers have yet to see the unlock."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        process = start()
        while process.poll() is None:
            told = Path(f"/proc/{process.pid}/io").read_text()
            if int(told.split()[3]) > BEGUN_BYTES:  # wchar
                return process
            time.sleep(0.01)
    raise RuntimeError("no download begins")


def _deaths(processes: list[subprocess.Popen[bytes]]) -> Iterator[tuple[int, float]]:
    """Which client ended when (wall clock)."""
    living = dict(enumerate(processes))
    until_s = time.monotonic() + 30
    while living and time.monotonic() < until_s:
        for n, process in list(living.items()):
            if process.poll() is not None:
                del living[n]
                yield n, time.time()
        time.sleep(0.001)
    if living:
        raise RuntimeError("a download survived the lock")


def _intent_s(state: Path) -> float:
    """When the newest lock was recorded, before it took effect."""
    segments = sorted((state / "journal" / "cli").glob("*.jsonl"))
    records = [
        json.loads(line)
        for segment in segments[-2:]
        for line in segment.read_text().splitlines()
    ]
    intents = [
        record
        for record in records
        if (record["operation"], record.get("phase")) == ("admin.device.lock", "intent")
    ]
    return datetime.fromisoformat(intents[-1]["time"]).timestamp()


def _run(served: store.Store, folder: Path, times: Times) -> None:
    config, authority = folder / "kagikura.toml", folder / "state/demo/server-ca.pem"
    doors = (
        lambda: _sftp(served.sftp),
        lambda: _webdav(served.webdav_tls, authority),
    )
    clients = [_begun(start) for start in doors * 2]
    began_s = time.time()
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "server", "--config", str(config)),
            *("device", "lock", LOGIN, DEVICE, "--json"),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    ended = dict(_deaths(clients))
    told: dict[str, Any] = json.loads(command.communicate()[0])
    locked_s = _intent_s(folder / "state")
    times.sftp.append(max(ended[0], ended[2]) - locked_s)
    times.webdav.append(max(ended[1], ended[3]) - locked_s)
    times.command.append(locked_s - began_s)
    if told["sessions_cut"] != len(clients) or told["workers_pending"]:
        raise RuntimeError(f"the lock told something else: {told}")
    store.kagikura(config, "device", "unlock", LOGIN, DEVICE)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    times = Times()
    with (
        _scratch() as folder,
        store.running(folder, durability="disk", sync="close", workers=2) as served,
    ):
        config = folder / "kagikura.toml"
        contract = store.kagikura(config, "contract", "show", "main")["id"]
        login = store.kagikura(config, "login", "show", LOGIN)["id"]
        home = folder / "data" / contract / "private" / login
        home.mkdir(mode=0o700, parents=True)
        with (home / "endless").open("wb") as file:
            file.truncate(FILE_BYTES)
        for _ in range(runs):
            _run(served, folder, times)
    print("| from the lock to a dead transfer | runs | median ms | maximum ms |")
    print("|---|---|---|---|")
    for name in ("sftp", "webdav"):
        taken_ms = [taken * 1000 for taken in getattr(times, name)]
        median, most = statistics.median(taken_ms), max(taken_ms)
        print(f"| {name} | {len(taken_ms)} | {median:.0f} | {most:.0f} |")
    started = statistics.median(times.command) * 1000
    print(f"\nThe command needed {started:.0f} ms (median) to start before that.")
    worst = max(times.sftp + times.webdav)
    sys.exit(0 if worst <= 1.0 else "more than a second")


if __name__ == "__main__":
    main()
