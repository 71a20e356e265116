"""Flame graphs of the daemon under each kind of load: `make profile`.

py-spy samples the daemon and its workers while a workload of the bench runs again and
again; one SVG a workload in `--folder`, and the functions that cost most on stdout.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import sftp
import store
import webdav
from measure import require_space
from sizes import Sizes
from suites import GCM

_SIZES: Final = Sizes(big_mib=512, part_mib=1, parallel=1, small=2000, entries=10000)
_SFTP: Final = ("get_big", "put_big", "get_small", "put_small", "ls")
_WEBDAV: Final = ("get_big", "put_big", "get_small", "put_small", "propfind")
_MOST: Final = 12
_RATE_HZ: Final = 250
_PY_SPY: Final = str(Path(sys.executable).with_name("py-spy"))


def main() -> None:
    options = _options()
    require_space(options.scratch, 8 * _SIZES.big_mib)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.scratch) as name:
        scratch = Path(name)
        for home in ("ours", "client"):
            (scratch / home).mkdir()
        with store.running(scratch / "ours") as ours:
            files = sftp.Bench(_SIZES, scratch / "client")
            dav = webdav.Bench(_SIZES, scratch / "client")
            files.seed(ours.sftp)
            dav.seed(ours.webdav)
            for load in _SFTP:
                _profile(
                    f"sftp-{load}",
                    ours.sftp.pid,
                    lambda load=load: files.measure(load, ours.sftp, GCM),
                    options,
                )
            for load in _WEBDAV:
                _profile(
                    f"webdav-{load}",
                    ours.webdav.pid,
                    lambda load=load: dav.measure(load, ours.webdav),
                    options,
                )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/profile"))
    parser.add_argument("--seconds", type=int, default=6, help="a workload")
    parser.add_argument("--gil", action="store_true", help="only what holds the GIL")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))  # noqa: S108 - tmpfs, so that the disk is not the bound
    return parser.parse_args()


def _profile(
    name: str, pid: int, run: Callable[[], object], options: argparse.Namespace
) -> None:
    """Sample the daemon while `run` is repeated, then draw and count."""
    folded = options.folder / f"{name}.folded"
    command = [_PY_SPY, "record", "--subprocesses", "--nonblocking"]
    command += ["--pid", str(pid), "--rate", str(_RATE_HZ)]
    command += ["--duration", str(options.seconds), *(["--gil"] if options.gil else [])]
    drawing = [
        *command,
        "--format",
        "flamegraph",
        "-o",
        str(folded.with_suffix(".svg")),
    ]
    counting = [*command, "--format", "raw", "-o", str(folded)]
    for words in (drawing, counting):
        _while_busy(words, run, options.seconds)
    print(f"\n### {name}\n")
    for share, function in _costliest(folded):
        print(f"{share:5.1%}  {function}")


def _while_busy(words: list[str], run: Callable[[], object], seconds: int) -> None:
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as spy:
        began_s = time.monotonic()
        while spy.poll() is None and time.monotonic() - began_s < seconds + 30:
            run()
        _, told = spy.communicate()
        if spy.returncode:
            sys.exit(f"py-spy: {told.decode(errors='replace').strip()}")


def _costliest(folded: Path) -> list[tuple[float, str]]:
    """Shares of the samples by the innermost frame, waiting left out by py-spy."""
    found: Counter[str] = Counter()
    for line in folded.read_text("utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack.rpartition(";")[2]] += int(count)
    total = sum(found.values()) or 1
    return [(count / total, name) for name, count in found.most_common(_MOST)]


if __name__ == "__main__":
    main()
