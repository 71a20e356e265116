"""What a quota costs: whole uploads through the VFS, without and with one, alternating.

    python bench/quota.py [--rounds N] [--files N]

Real journal, gate and disk, no network. Prints microseconds an upload of 4 KiB (staged,
as by PUT) and a file written in place (as by SFTP), medians, the difference, and how
fast a recount goes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from server.model.quota import Quota
from server.vfs.entry import Disposition
from server.vfs.view import View
from tests.support.house import House
from tests.support.quotas import Metered, accounts_with, metered_house

NEW = Disposition(create=True, truncate=True)
BLOCK = b"x" * 4096
LIMIT = Quota(bytes=1 << 40, files=1 << 30)
KINDS = {
    "none": accounts_with(),
    "login": accounts_with(login=LIMIT),
    "login and contract": accounts_with(login=LIMIT, contract=LIMIT),
}


def upload(view: View, path: str) -> None:
    received = view.upload(path, length=len(BLOCK))
    received.write(BLOCK)
    received.commit()


def write(view: View, path: str) -> None:
    file = view.open_write(path, NEW)
    file.write_at(0, BLOCK)
    file.close()


def timed_us(view: View, act: Callable[[View, str], None], label: str, n: int) -> float:
    """The median of `n` acts."""
    took = []
    for number in range(n):
        begun = time.perf_counter_ns()
        act(view, f"/private/{label}-{number}")
        took.append((time.perf_counter_ns() - begun) / 1000)
    return statistics.median(took)


def compare(house: House, metered: Metered, rounds: int, files: int) -> None:
    view = house.view()
    for act in (upload, write):
        took: dict[str, list[float]] = {name: [] for name in KINDS}
        for number in range(rounds):
            for name, accounts in KINDS.items():
                metered.accounts = accounts
                assert metered.meter is not None
                metered.meter.distrust("c", crashed=False)
                for scope in metered.scopes:
                    metered.used(scope.title)
                label = f"{act.__name__}-{name}-{number}"
                took[name].append(timed_us(view, act, label, files))
        plain = statistics.median(took["none"])
        for name in KINDS:
            us = statistics.median(took[name])
            print(
                f"{act.__name__}, {name}: {us:.0f} us (+{us - plain:.0f} us, "
                f"ratio {us / plain:.2f})"
            )
    begun = time.perf_counter()
    found = metered.meter.on_disk(metered.scopes[0])
    took = time.perf_counter() - begun
    print(f"recount: {found.files} files in {took:.3f} s, {found.files / took:.0f}/s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=200)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        metered_house(Path(folder), accounts_with()) as (house, metered),
    ):
        compare(house, metered, asked.rounds, asked.files)


if __name__ == "__main__":
    main()
