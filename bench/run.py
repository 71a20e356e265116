"""Measure our daemon beside reference servers: `make bench`, or `bench/run.py --help`.

Our daemon runs with a demo store, audit and rights on. Rounds alternate between the
servers, so that drift hits all alike; only medians and ratios of one run mean anything.
The tables go to stdout and, with `--report`, into a file; progress to stderr.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import targets
import versions
from measure import Results, Samples, require_space, table
from sizes import Sizes
from suites import FRONTS, Place, Suite, suites

SMALL: Final = Sizes(big_mib=64, part_mib=16, parallel=4, small=200, entries=1000)
FULL: Final = Sizes(big_mib=1024, part_mib=256, parallel=8, small=2000, entries=10000)
_TMPFS: Final = Path("/dev/shm")  # noqa: S108 - tmpfs, so that the disk is not the bound
_NOTE: Final = (
    "Medians; the ratio is to the table's reference server in the same run: below 1 "
    "is faster, or cheaper. CPU: the server's alone, and beside it the client's: both "
    "share the cores, and where the client's comes near the wall time no server could "
    "be faster. No peer keeps an audit trail. Apache and nginx ask for a password "
    "(apr1, htpasswd's own), sshd for a key; rclone, paramiko and wsgidav for nothing."
)


def main() -> None:
    options = _options()
    sizes = FULL if options.full else SMALL
    told = _Report(options.report)
    told.add("# Results\n")
    told.add("    " + versions.command() + "\n")
    told.add(versions.programs() + "\n")
    told.add(f"{_NOTE} {options.repeat} rounds of {_words(sizes)}.")
    for word in options.places.split(","):
        where, _, sync = word.partition(":")
        _measure(where, sync or "close", sizes, options, told)


def _measure(
    where: str,
    sync: str,
    sizes: Sizes,
    options: argparse.Namespace,
    told: "_Report",
) -> None:
    """All tables with state and data in one place."""
    base = _base(where, options)
    require_space(base, 8 * sizes.big_mib + (4 + sizes.parallel) * sizes.part_mib)
    tables: dict[str, Results] = {}
    place = Place(
        scratch=base,
        sync=sync,
        durability=options.durability,
        on_disk=where == "disk",
    )
    title = f'{place.title}, audit.durability = "{place.durability}"'
    with _scratch(base) as scratch:
        machine = versions.machine(scratch)
    told.add(f"\n## {title[0].upper()}{title[1:]}\n\n{machine}\n")
    fronts = ([title for title in front if options.only in title] for front in FRONTS)
    for wanted in filter(None, fronts):
        # Each front with servers of its own: all files at once fill a small memory.
        with _scratch(base) as scratch, ExitStack() as stack:
            there = replace(place, scratch=scratch)
            for suite in suites(stack, there, sizes, options, wanted):
                tables[suite.title] = results = _run(suite, options.repeat)
                told.add(f"\n### {suite.title}\n\n{table(results, suite.reference)}")
    goals = targets.DISK_TARGETS if where == "disk" else targets.TARGETS
    if found := targets.report(goals, tables):
        told.add(f"\n### Targets, {place.title}\n\n{found}")
    if options.json:
        _write_json(options.json / f"{where}-{sync}.json", sizes, tables)


@contextmanager
def _scratch(base: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as name:
        Path(name).chmod(0o755)
        yield Path(name)


class _Report:
    """What is told on stdout and kept in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            path.write_text("", "utf-8")

    def add(self, text: str) -> None:
        print(text, flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="1 GiB, 2,000 and 10,000 files"
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--only", default="", help="tables whose title contains this")
    parser.add_argument("--workloads", default="", help="comma list; all by default")
    parser.add_argument("--peers", default="", help="comma list; all by default")
    parser.add_argument("--durability", choices=["disk", "process"], default="disk")
    parser.add_argument(
        "--places",
        default="tmpfs:close",
        help="comma list of tmpfs or disk with storage.sync, such as disk:never",
    )
    parser.add_argument("--scratch", type=Path, help="the folder that is the disk")
    parser.add_argument("--report", type=Path, help="also write the tables here")
    parser.add_argument("--json", type=Path, help="folder for all samples as JSON")
    return parser.parse_args()


def _base(where: str, options: argparse.Namespace) -> Path:
    if where == "tmpfs" and _TMPFS.is_dir():
        return _TMPFS
    return options.scratch or Path(tempfile.gettempdir())


def _words(sizes: Sizes) -> str:
    return (
        f"one file of {sizes.big_mib} MiB (`big`), {sizes.small:,} of 4 KiB (`small`), "
        f"a folder of {sizes.entries:,} (`ls`, `propfind`), {sizes.parallel} downloads "
        f"of {sizes.part_mib} MiB at once (`par_get`)"
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
    suite.tidy()


def _write_json(path: Path, sizes: Sizes, tables: dict[str, Results]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        title: {
            load: {name: asdict(samples) for name, samples in row.items()}
            for load, row in results.items()
        }
        for title, results in tables.items()
    }
    path.write_text(json.dumps({"sizes": asdict(sizes), "tables": found}, indent=1))


if __name__ == "__main__":
    main()
