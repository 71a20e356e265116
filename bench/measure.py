"""Wall time, CPU time and memory of a server's process tree (Linux /proc)."""

import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def require_space(folder: Path, need_mib: int) -> None:
    """Refuse to fill a file system (tmpfs: the memory) that others need too."""
    free_mib = shutil.disk_usage(folder).free >> 20
    if need_mib > free_mib * 0.6:
        sys.exit(f"{folder}: {need_mib} MiB needed of {free_mib} free; ask for less")


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def _cpu_s(pid: int) -> float:
    """User and system time of the tree, reaped children included."""
    total = 0
    for process in _tree(pid):
        try:
            total += sum(int(ticks) for ticks in _stat(process)[11:15])
        except OSError:
            continue
    return total / _TICKS_PER_S


def pss_mib(pid: int) -> float:
    """Proportional set size of the tree: shared pages are counted once."""
    total_kib = 0
    for process in _tree(pid):
        try:
            lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if "Pss:" in line[:4])
    return total_kib / 1024


WEIGHT_HEAD: Final = """\
| whose | how many | PSS MiB | KiB for each beyond the first |
|---|---|---|---|"""


def weighed(
    title: str, pid: int, counts: Iterable[int], hold: Callable[[int], None]
) -> Iterator[str]:
    """Rows below `WEIGHT_HEAD`: a server's memory while clients are held open.

    Args:
        title: Whose they are.
        pid: The server.
        counts: How many, rising.
        hold: Has that many open, and waits until the server has settled.
    """
    first_mib = 0.0
    for count in counts:
        hold(count)
        held_mib = pss_mib(pid)
        first_mib = held_mib if count <= 1 else first_mib
        each_kib = (held_mib - first_mib) * 1024 / max(1, count - 1)
        told = "-" if count <= 1 else f"{each_kib:.0f}"
        yield f"| {title} | {count} | {held_mib:.0f} | {told} |"


class Meter:
    """`with Meter(pid) as meter: work()`; then wall, CPU and peak memory.

    The client is this process and those it waited for: where its CPU time comes near
    the wall time, no server can be faster.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="meter")
        self.wall_s = self.cpu_s = self.client_cpu_s = self.memory_mib = 0.0

    def __enter__(self) -> Self:
        self.memory_mib = pss_mib(self._pid)
        self._sampler.start()
        self._cpu_before_s = _cpu_s(self._pid)
        self._client_before_s = sum(os.times()[:4])
        self._began_s = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._began_s
        self.client_cpu_s = sum(os.times()[:4]) - self._client_before_s
        self._stop.set()
        self._sampler.join()
        time.sleep(0.15)  # a server reaps its session's processes a moment later
        self.cpu_s = _cpu_s(self._pid) - self._cpu_before_s

    def _sample(self) -> None:
        while not self._stop.wait(0.25):
            self.memory_mib = max(self.memory_mib, pss_mib(self._pid))


@dataclass(slots=True)
class Samples:
    """All runs of one workload against one server."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    client_cpu_s: list[float] = field(default_factory=list)
    memory_mib: float = 0.0
    error: str = ""

    def add(self, meter: Meter) -> None:
        self.wall_s.append(round(meter.wall_s, 4))
        self.cpu_s.append(round(meter.cpu_s, 3))
        self.client_cpu_s.append(round(meter.client_cpu_s, 3))
        self.memory_mib = round(max(self.memory_mib, meter.memory_mib), 1)

    @property
    def median_s(self) -> float | None:
        return statistics.median(self.wall_s) if self.wall_s else None

    @property
    def median_cpu_s(self) -> float | None:
        return statistics.median(self.cpu_s) if self.cpu_s else None


Results = dict[str, dict[str, Samples]]
"""Workload, then server."""

_HEAD: Final = [
    "workload",
    "server",
    "wall s",
    "lowest to highest",
    "ratio",
    "CPU s",
    "ratio",
    "client CPU s",
    "peak MiB",
]


def table(results: Results, reference: str) -> str:
    """Medians as Markdown, a row a workload and server; ratios to `reference`."""
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    for workload, row in results.items():
        base = row.get(reference, Samples())
        for name, samples in row.items():
            cells = _cells(samples, None if name == reference else base)
            lines.append(_line([workload, name, *cells]))
    return "\n".join(lines)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """How much of theirs ours is; None where one of them is not known."""
    return ours / theirs if ours is not None and theirs else None


def as_ratio(number: float | None) -> str:
    """Two digits, or a dash."""
    return "-" if number is None else f"{number:.2f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(samples: Samples, base: Samples | None) -> list[str]:
    if samples.error or not samples.wall_s:
        return ["error", *["-"] * (len(_HEAD) - 3)]
    wall, cpu = samples.median_s, samples.median_cpu_s
    ratios = [
        as_ratio(base and ratio(wall, base.median_s)),
        as_ratio(base and ratio(cpu, base.median_cpu_s)),
    ]
    spread = f"{min(samples.wall_s):.3f} to {max(samples.wall_s):.3f}"
    client, peak = statistics.median(samples.client_cpu_s), samples.memory_mib
    ends = [f"{client:.2f}", f"{peak:.0f}"]
    return [f"{wall:.3f}", spread, ratios[0], f"{cpu:.2f}", ratios[1], *ends]
