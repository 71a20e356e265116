"""The effect oracle: every system call on the files must be explained by the trail.

A tracer outside the product writes down what a process does below `data_dir`; each
successful call must lie between the intent and the outcome of an act that is about
these very paths and may do such a thing.
"""

import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

Record = dict[str, Any]

_BY_NAME = {
    "linkat",
    "mkdirat",
    "openat",
    "openat2",
    "renameat",
    "renameat2",
    "unlinkat",
}
"""Calls whose descriptors are folders, with a name in them behind each."""
_BY_DESCRIPTOR = {
    "copy_file_range",
    "fchmod",
    "fsetxattr",
    "ftruncate",
    "pread64",
    "pwrite64",
    "read",
    "utimensat",
    "write",
}
CALLS = sorted(_BY_NAME | _BY_DESCRIPTOR)
_PUBLISHING = {"fsetxattr", "linkat", "renameat", "renameat2", "unlinkat"}
_KEEPING = {"copy_file_range", "fchmod", "openat2", "renameat2", "utimensat"}
_WRITING = _KEEPING | {"pread64", "pwrite64", "ftruncate"}
_MAY = {
    "read": {"pread64"},
    "write": _WRITING | _PUBLISHING,
    "deposit": _WRITING | _PUBLISHING,
    "copy": {"copy_file_range", "mkdirat", "openat"} | _WRITING | _PUBLISHING,
    "rename": {"linkat", "renameat", "renameat2", "unlinkat"},
    "restore": {"linkat", "renameat", "renameat2", "unlinkat"},
    "delete": {"renameat2"},
    "mkdir": {"mkdirat"},
    "rmdir": {"unlinkat"},
    "setattr": _KEEPING | {"ftruncate"},
}
_SPECIAL = {".stage", ".trash", ".quarantine"}
_LATCH = ".latch"
"""A number of the store's own (docs/adr/0025): it holds nothing of anybody's."""

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_PLACE = re.compile(r'(?:\d+|AT_FDCWD)<([^>]*)>(?:, "((?:[^"\\]|\\.)*)")?')
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")


@dataclass(frozen=True, slots=True)
class Effect:
    """A successful call that read, made or changed something below the folder."""

    time_s: float
    call: str
    paths: tuple[Path, ...]
    """Relative to the traced folder."""


@dataclass(frozen=True, slots=True)
class _Act:
    """An act of the trail, with the time in which it may have effects."""

    id: str
    operation: str
    paths: tuple[str, ...]
    begin_s: float
    end_s: float
    done: bool

    @property
    def changed_files(self) -> bool:
        """Whether it was done, and was of a kind that changes something."""
        return self.done and self.operation != "read" and self.operation in _MAY

    def explains(self, effect: Effect, prefixes: dict[str, str]) -> bool:
        in_time = self.begin_s <= effect.time_s <= self.end_s
        may = effect.call in _MAY.get(self.operation, set())
        return in_time and may and all(self._about(p, prefixes) for p in effect.paths)

    def _about(self, path: Path, prefixes: dict[str, str]) -> bool:
        _, area, *rest = path.parts
        if area in _SPECIAL:
            return rest[:1] == [self.id]
        virtual = "/".join([prefixes.get(f"{area}/{rest[0]}", "?"), *rest[1:]])
        return any(virtual == p or virtual.startswith(f"{p}/") for p in self.paths)


class Oracle:
    """The acts of a trail, asked about effects."""

    def __init__(self, records: Iterable[Record], prefixes: dict[str, str]) -> None:
        """Read the trail.

        Args:
            records: Of all streams.
            prefixes: The virtual folder of each `area/id` on the disk.
        """
        self._prefixes = prefixes
        self.acts: dict[str, _Act] = {}
        intents: dict[str, Record] = {}
        for record in records:
            if record["phase"] == "intent":
                intents[record["act"]] = record
            elif record["phase"] == "outcome":
                intent = intents[record["act"]]
                paths = (intent.get("path", ""), intent.get("target", ""))
                self.acts[record["act"]] = _Act(
                    id=record["act"],
                    operation=record["operation"],
                    paths=tuple(path for path in paths if path),
                    begin_s=_seconds(intent["time"]),
                    end_s=_seconds(record["time"]),
                    done=record["outcome"] == "done",
                )

    def unexplained(self, effects: Iterable[Effect]) -> list[Effect]:
        """The effects that no act accounts for."""
        return [effect for effect in effects if not self.explaining(effect)]

    def explaining(self, effect: Effect) -> set[str]:
        """The acts that account for an effect."""
        return {
            act.id for act in self.acts.values() if act.explains(effect, self._prefixes)
        }


@contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """Trace a process and all its threads; skips where that is not possible."""
    command = ["strace", "-f", "-y", "-ttt", "-s", "0", "-e", "signal=none"]
    command += ["-e", f"trace={','.join(CALLS)}", "-o", str(output), "-p", str(pid)]
    try:
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    try:
        until(lambda: tracer.poll() is not None or _is_traced(pid), what="it is traced")
        if tracer.poll() is not None:
            pytest.skip("strace cannot attach to a process here")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)


def traced_command(command: list[str], output: Path) -> None:
    """Run a command to its end under the tracer."""
    trace = ["strace", "-f", "-y", "-ttt", "-s", "0", "-e", f"trace={','.join(CALLS)}"]
    subprocess.run([*trace, "-o", str(output), *command], check=True)


def effects(output: Path, folder: Path) -> list[Effect]:
    """What a trace tells of the files below `folder`."""
    return [
        effect
        for time_s, text in _whole_calls(output)
        if (effect := _effect(time_s, text, folder)) is not None
    ]


def _is_traced(pid: int) -> bool:
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0" not in (t / "status").read_text() for t in tasks)


def _whole_calls(output: Path) -> Iterator[tuple[float, str]]:
    begun: dict[str, tuple[float, str]] = {}
    for line in output.read_text(encoding="ascii").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, time_s, text = match[1], float(match[2]), match[3]
        if text.endswith(_UNFINISHED):
            begun[thread] = (time_s, text.removesuffix(_UNFINISHED))
            continue
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None and thread in begun:
            time_s, head = begun.pop(thread)
            text = head + resumed[1]
        yield time_s, text


def _effect(time_s: float, text: str, folder: Path) -> Effect | None:
    match = _CALL.match(text)
    if match is None or match[3].startswith("-"):
        return None
    call, arguments = match[1], match[2]
    if call.startswith("openat") and "O_CREAT" not in arguments:
        return None  # by itself it neither reads nor changes anything
    paths = []
    for place, name in _PLACE.findall(arguments):
        path = Path(_plain(place))
        path = path / _plain(name) if call in _BY_NAME else path
        if path.is_relative_to(folder) and path.name != _LATCH:
            paths.append(path.relative_to(folder))
    return Effect(time_s, call, tuple(paths)) if paths else None


def _plain(text: str) -> str:
    """Undo the tracer's escapes."""
    return text.encode("ascii").decode("unicode_escape").encode("latin-1").decode()


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
