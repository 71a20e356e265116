"""How the store grows, and what its trail costs: `python bench/growth.py --help`.

Folders of 1,000 to 100,000 entries, 1 to 500 idle sessions, 1 to 16 downloads at once,
and the same daemon with a journal that keeps nothing. Tables in Markdown on stdout.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import sftp
import store
import versions
import webdav
from measure import WEIGHT_HEAD, Meter, Samples, require_space, table, weighed
from peers import Workspace
from sizes import Sizes
from suites import GCM, sftp_target, webdav_target

ENTRIES: Final = (1_000, 10_000, 100_000)
SESSIONS: Final = (0, 1, 10, 100, 500)
PARALLEL: Final = (1, 2, 4, 8, 16)
_PARALLEL_MIB: Final = 1024
_COST: Final = Sizes(big_mib=512, part_mib=1, parallel=1, small=2000, entries=1)
_NEED_MIB: Final = 6 * 1024
_CONNECT_S: Final = 300
_MANY_CONNECTIONS: Final = {
    "KAGIKURA_SFTP__CONNECTIONS_MAX": "1024",
    "KAGIKURA_SFTP__STARTUPS": "100:30:200",
    "KAGIKURA_SFTP__STARTUPS_SOURCE_MAX": "200",
}

Runs = Mapping[str, Callable[[], Meter]]
"""One measured run by the server's name."""


class Servers:
    """The store, sshd and Apache, side by side."""

    def __init__(self, stack: ExitStack, home: Path) -> None:
        self.home = home
        for name in ("ours", "peers", "client"):
            (home / name).mkdir()
        ours = stack.enter_context(store.running(home / "ours", more=_MANY_CONNECTIONS))
        workspace = stack.enter_context(Workspace(home / "peers"))
        sshd, apache = workspace.start("openssh"), workspace.start("apache")
        self.sftp = {store.NAME: ours.sftp, "openssh": sftp_target(workspace, sshd)}
        self.webdav = {store.NAME: ours.webdav, "apache": webdav_target(apache)}
        connection = webdav.Connection(ours.webdav)
        connection.request("MKCOL", "")
        connection.close()
        self.roots = (
            (ours.private, ours.private / "dav"),
            (sshd.plan.root, apache.plan.root),
        )
        """For ours and the peers: where SFTP and WebDAV clients begin."""


def main() -> None:
    options = _options()
    require_space(options.scratch, _NEED_MIB)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.scratch) as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        print(f"    {versions.command()}\n\n{versions.programs()}\n")
        print(versions.machine(scratch))
        for section in options.sections:
            home = scratch / section
            home.mkdir()
            with ExitStack() as stack:
                _SECTIONS[section](stack, home, options.repeat)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument(
        "--sections", nargs="+", choices=_SECTIONS, default=list(_SECTIONS)
    )
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))  # noqa: S108 - tmpfs, so that the disk is not the bound
    return parser.parse_args()


def folders(stack: ExitStack, home: Path, rounds: int) -> None:
    """Listings of growing folders, by both protocols."""
    servers = Servers(stack, home)
    rows: dict[str, dict[str, Samples]] = {}
    for entries in ENTRIES:
        name = f"many-{entries}"
        for in_sftp, in_webdav in servers.roots:
            for root in {in_sftp, in_webdav}:
                _fill(root / name, entries)
        lists = {
            server: partial(_list, target, name, home / "client")
            for server, target in servers.sftp.items()
        }
        finds = {
            server: partial(_find, target, name, entries)
            for server, target in servers.webdav.items()
        }
        rows[f"`ls -l`, {entries:,}"] = _alternate(lists, rounds)
        rows[f"PROPFIND, {entries:,}"] = _alternate(finds, rounds)
    _print("Folders: SFTP beside openssh", _only(rows, "ls"), "openssh")
    _print("Folders: WebDAV beside apache", _only(rows, "PROPFIND"), "apache")


def idle(stack: ExitStack, home: Path, _: int) -> None:
    """Memory of the servers with idle sessions that have listed a folder."""
    servers = Servers(stack, home)
    print("\n### Idle SFTP sessions\n")
    print(WEIGHT_HEAD)
    for name, target in servers.sftp.items():
        clients = _Clients(target, home / f"sessions-{name}")
        stack.callback(clients.close)
        for row in weighed(name, target.pid, SESSIONS, clients.grow):
            print(row, flush=True)
        clients.close()


def parallel(stack: ExitStack, home: Path, rounds: int) -> None:
    """Downloads at once that move the same bytes in all."""
    servers = Servers(stack, home)
    rows: dict[str, dict[str, Samples]] = {}
    for count in PARALLEL:
        part_mib = _PARALLEL_MIB // count
        sizes = Sizes(big_mib=1, part_mib=part_mib, parallel=count, small=1, entries=1)
        folder = home / "client" / str(count)
        folder.mkdir()
        bench = sftp.Bench(sizes, folder)
        for target in servers.sftp.values():
            bench.seed(target)
        runs = {
            name: partial(bench.measure, "par_get", target, GCM)
            for name, target in servers.sftp.items()
        }
        rows[f"{count} x {part_mib} MiB"] = _alternate(runs, rounds)
    _print("SFTP downloads at once, AES-GCM", rows, "openssh")


def audit(stack: ExitStack, home: Path, rounds: int) -> None:
    """The daemon beside itself with a journal that keeps nothing."""
    stores = {}
    for name, program in (("recorded", store.KAGIKURA), ("none", store.UNRECORDED)):
        folder = home / name
        folder.mkdir()
        stores[name] = stack.enter_context(store.running(folder, program=program))
    client = home / "client"
    client.mkdir()
    files, dav = sftp.Bench(_COST, client), webdav.Bench(_COST, client)
    for made in stores.values():
        files.seed(made.sftp)
        dav.seed(made.webdav)
    rows: dict[str, dict[str, Samples]] = {}
    for load in ("get_big", "put_big", "put_small", "get_small"):
        by_sftp = {
            n: partial(files.measure, load, s.sftp, GCM) for n, s in stores.items()
        }
        by_dav = {n: partial(dav.measure, load, s.webdav) for n, s in stores.items()}
        rows[f"SFTP {load}"] = _alternate(by_sftp, rounds)
        rows[f"WebDAV {load}"] = _alternate(by_dav, rounds)
    _print("What the trail costs: 512 MiB, 2,000 files of 4 KiB", rows, "none")


_SECTIONS: Final[dict[str, Callable[[ExitStack, Path, int], None]]] = {
    "folders": folders,
    "idle": idle,
    "parallel": parallel,
    "audit": audit,
}


class _Clients:
    """Real `sftp` clients that list a folder and then wait."""

    def __init__(self, target: sftp.Target, folder: Path) -> None:
        folder.mkdir()
        self._client, self._folder = sftp.Client(target, ""), folder
        self._running: list[subprocess.Popen[bytes]] = []

    def grow(self, count: int) -> None:
        """Have `count` sessions."""
        while len(self._running) < count:
            there = self._folder / str(len(self._running))
            process = self._client.start(self._folder)
            self._running.append(process)
            if process.stdin is None:
                raise RuntimeError("no pipe to sftp")
            process.stdin.write(f"ls -l\n!touch {there}\n".encode())
            process.stdin.flush()
            _wait_for(there, process)

    def close(self) -> None:
        """End all sessions."""
        for process in self._running:
            process.communicate(timeout=_CONNECT_S)
        self._running.clear()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + _CONNECT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("an idle session did not come about")
        time.sleep(0.005)


def _fill(folder: Path, entries: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(entries):
        (folder / f"entry-{number:06d}.dat").touch()


def _list(target: sftp.Target, name: str, folder: Path) -> Meter:
    with Meter(target.pid) as meter:
        sftp.Client(target, "").run(f"ls -l {name}\n", folder)
    return meter


def _find(target: webdav.Target, name: str, entries: int) -> Meter:
    with Meter(target.pid) as meter:
        webdav.propfind(target, f"{name}/", entries)
    return meter


def _alternate(runs: Runs, rounds: int) -> dict[str, Samples]:
    samples = {name: Samples() for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            samples[name].add(run())
    return samples


def _only(
    rows: dict[str, dict[str, Samples]], word: str
) -> dict[str, dict[str, Samples]]:
    return {name: row for name, row in rows.items() if word in name}


def _print(title: str, rows: dict[str, dict[str, Samples]], reference: str) -> None:
    print(f"\n### {title}\n\n{table(rows, reference)}", flush=True)


if __name__ == "__main__":
    main()
