"""Measure our daemon beside reference servers: `make bench`, or `bench/run.py --help`.

Our daemon runs with a demo store, audit and rights on. Rounds alternate between the
servers, so that drift hits all alike; only medians and ratios of one run mean anything.
The tables go to stdout, progress to stderr.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import sftp
import store
import webdav
from measure import Meter, Results, Samples, require_space, table
from peers import HOST, Workspace, program
from sizes import Sizes

SMALL = Sizes(big_mib=64, part_mib=16, parallel=4, small=200, entries=1000)
FULL = Sizes(big_mib=1024, part_mib=256, parallel=8, small=2000, entries=10000)
GCM = "aes128-gcm@openssh.com"
_SCRATCH = Path("/dev/shm")  # noqa: S108 - tmpfs, so that the disk is not the bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One table: a way in, and the servers on it by name."""

    title: str
    reference: str
    workloads: list[str]
    servers: list[str]
    measure: Callable[[str, str], Meter]
    """Runs a workload once against a server."""


def main() -> None:
    options = _options()
    sizes = FULL if options.full else SMALL
    base = options.scratch or (_SCRATCH if _SCRATCH.is_dir() else None)
    require_space(
        base or Path(tempfile.gettempdir()),
        8 * sizes.big_mib + (4 + sizes.parallel) * sizes.part_mib,
    )
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=base))
        )
        scratch.chmod(0o755)
        _print_machine(scratch, options)
        for suite in _suites(stack, scratch, sizes, options):
            results = _run(suite, options.repeat)
            print(
                f"\n### {suite.title}\n\n{table(results, suite.reference)}", flush=True
            )
            if options.json:
                _write_json(options.json / f"{suite.title}.json", sizes, results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="1 GiB, 2,000 and 10,000 files"
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--only", default="", help="tables whose title contains this")
    parser.add_argument("--workloads", default="", help="comma list; all by default")
    parser.add_argument("--durability", choices=["disk", "process"], default="disk")
    parser.add_argument("--sync", choices=["close", "never"], default="close")
    parser.add_argument("--scratch", type=Path, help="folder; tmpfs if there is one")
    parser.add_argument("--json", type=Path, help="folder for all samples as JSON")
    return parser.parse_args()


def _suites(
    stack: ExitStack, scratch: Path, sizes: Sizes, options: argparse.Namespace
) -> list[Suite]:
    homes = [scratch / name for name in ("ours", "peers", "client")]
    for home in homes:
        home.mkdir()
    ours = stack.enter_context(
        store.running(homes[0], durability=options.durability, sync=options.sync)
    )
    workspace = stack.enter_context(Workspace(homes[1]))
    files = sftp.Bench(sizes, homes[2])
    dav = webdav.Bench(sizes, homes[2])
    suites = [
        *_sftp_suites(files, ours, workspace),
        _webdav_suite("WebDAV", dav, ours.webdav, workspace),
        _webdav_suite("WebDAV over TLS", dav, ours.webdav_tls, workspace),
    ]
    return [_narrow(suite, options) for suite in suites if options.only in suite.title]


def _narrow(suite: Suite, options: argparse.Namespace) -> Suite:
    wanted = options.workloads.split(",") if options.workloads else suite.workloads
    suite.workloads[:] = [name for name in suite.workloads if name in wanted]
    return suite


def _sftp_suites(
    bench: sftp.Bench, ours: store.Store, workspace: Workspace
) -> list[Suite]:
    targets = {store.NAME: ours.sftp}
    if program("sshd"):
        peer = workspace.start("openssh")
        targets["openssh"] = sftp.Target(
            name="openssh",
            host=HOST,
            port=peer.plan.port,
            user=workspace.user,
            key=workspace.client_key,
            pid=peer.process.pid,
        )
    for target in targets.values():
        bench.seed(target)
    return [
        Suite(
            title=title,
            reference="openssh" if "openssh" in targets else store.NAME,
            workloads=list(bench.workloads),
            servers=list(targets),
            measure=partial(_measure_sftp, bench, targets, cipher),
        )
        for title, cipher in (("SFTP, the client's cipher", ""), ("SFTP, AES-GCM", GCM))
    ]


def _measure_sftp(
    bench: sftp.Bench,
    targets: dict[str, sftp.Target],
    cipher: str,
    load: str,
    name: str,
) -> Meter:
    return bench.measure(load, targets[name], cipher)


def _webdav_suite(
    title: str, bench: webdav.Bench, ours: webdav.Target, workspace: Workspace
) -> Suite:
    tls = "-tls" if ours.url.startswith("https") else ""
    targets = {store.NAME: ours}
    for name, command in (("apache", "apache2"), ("nginx", "nginx"), ("wsgidav", "")):
        if command and not program(command):
            continue
        peer = workspace.start(name + tls)
        url = f"http{'s' if tls else ''}://{HOST}:{peer.plan.port}/"
        targets[name] = webdav.Target(name=name, url=url, pid=peer.process.pid)
    for target in targets.values():
        bench.seed(target)
    return Suite(
        title=title,
        reference=list(targets)[1],
        workloads=list(bench.workloads),
        servers=list(targets),
        measure=lambda load, name: bench.measure(load, targets[name]),
    )


def _run(suite: Suite, rounds: int) -> Results:
    results: Results = {
        load: {name: Samples() for name in suite.servers} for load in suite.workloads
    }
    for number in range(rounds):
        for load, row in results.items():
            for name, samples in row.items():
                _once(suite, load, name, samples)
        print(f"{suite.title}: round {number + 1} of {rounds}", file=sys.stderr)
    return results


def _once(suite: Suite, load: str, name: str, samples: Samples) -> None:
    try:
        samples.add(suite.measure(load, name))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        samples.error = str(error)[-300:]
        print(f"{suite.title}, {load}, {name}: {error}", file=sys.stderr)


def _print_machine(scratch: Path, options: argparse.Namespace) -> None:
    print(
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, fdatasync of an "
        f"append {_fdatasync_ms(scratch):.2f} ms; "
        f"audit.durability = {options.durability}, "
        f"storage.sync = {options.sync}; wall s / server's CPU s (wall ratio to the "
        "reference; below 1 is faster)"
    )


def _fdatasync_ms(folder: Path) -> float:
    with (folder / "sync").open("wb", buffering=0) as file:
        began_s = time.perf_counter()
        for _ in range(50):
            file.write(b"x" * 500)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began_s) * 1000 / 50


def _write_json(path: Path, sizes: Sizes, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, object]] = {
        load: {name: asdict(samples) for name, samples in row.items()}
        for load, row in results.items()
    }
    path.write_text(json.dumps({"sizes": asdict(sizes), "results": rows}, indent=1))


if __name__ == "__main__":
    main()
