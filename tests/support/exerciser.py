"""Random work on one file against a model of it, after the idea of BSD's `fsx`.

Whoever mounts the store must not tell it from a local disk: what is read is what was
written, whatever was written, cut, stretched or reopened in between, in any order.
"""

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE_MAX: Final = 400_000
_LENGTHS: Final = (1, 511, 4096, 32768, 65536, 131072)
"""Around the blocks of pages, packets and requests."""
_LOG_MAX: Final = 40


class Mismatch(AssertionError):  # noqa: N818 - it is what a test finds, no fault of ours
    """The file is not what its model says."""


class Exerciser:
    """Works on one file; the same seed does the same work."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - the same work each time
        self._model = bytearray()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._log: list[str] = []
        self._steps: tuple[tuple[Callable[[], str], int], ...] = (
            (self._write, 30),
            (self._append, 10),
            (self._read, 30),
            (self._truncate, 10),
            (self._stretch, 3),
            (self._sync, 3),
            (self._reopen, 6),
            (self._empty, 1),
            (self._rename, 2),
        )

    def run(self, seconds: float) -> int:
        """Work so long, then compare the whole; how many steps it were."""
        steps, weights = zip(*self._steps, strict=True)
        until_s = time.monotonic() + seconds
        count = 0
        while time.monotonic() < until_s:
            (step,) = self._chance.choices(steps, weights)
            self._log = [*self._log[1 - _LOG_MAX :], step()]
            count += 1
        self._reopen()
        self._compare(0, len(self._model) + 1)
        os.close(self._fd)
        return count

    @property
    def content(self) -> bytes:
        """What the file must hold now."""
        return bytes(self._model)

    def _write(self) -> str:
        at = self._chance.randint(0, min(len(self._model), _SIZE_MAX))
        return self._put(at, self._some())

    def _append(self) -> str:
        return self._put(len(self._model), self._some())

    def _put(self, at: int, content: bytes) -> str:
        content = content[: max(0, _SIZE_MAX - at)]
        self._model[at : at + len(content)] = content
        done = 0
        while done < len(content):
            done += os.pwrite(self._fd, content[done:], at + done)
        return f"write {len(content)} at {at}"

    def _read(self) -> str:
        at = self._chance.randint(0, len(self._model) + 10)
        length = self._chance.choice(_LENGTHS)
        self._compare(at, length)
        return f"read {length} at {at}"

    def _truncate(self) -> str:
        size = self._chance.randint(0, len(self._model))
        del self._model[size:]
        os.ftruncate(self._fd, size)
        return f"truncate to {size}"

    def _stretch(self) -> str:
        size = self._chance.randint(len(self._model), _SIZE_MAX)
        self._model += bytes(size - len(self._model))
        os.truncate(self._path, size)
        return f"stretch to {size}"

    def _sync(self) -> str:
        os.fsync(self._fd)
        return "sync"

    def _reopen(self) -> str:
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR)
        return "reopen"

    def _empty(self) -> str:
        self._model.clear()
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR | os.O_TRUNC)
        return "empty"

    def _rename(self) -> str:
        os.close(self._fd)
        aside = self._path.with_name(f"{self._path.name} aside")
        self._path.rename(aside)
        aside.rename(self._path)
        self._fd = os.open(self._path, os.O_RDWR)
        return "rename there and back"

    def _some(self) -> bytes:
        length = self._chance.choice(_LENGTHS) + self._chance.randint(-1, 1)
        return self._chance.randbytes(length)

    def _compare(self, at: int, length: int) -> None:
        size = os.fstat(self._fd).st_size
        wanted = bytes(self._model[at : at + length])
        found = b""
        while len(found) < len(wanted):
            block = os.pread(self._fd, len(wanted) - len(found), at + len(found))
            if not block:
                break
            found += block
        if found == wanted and size == len(self._model):
            return
        first = next(
            (n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b),
            min(len(found), len(wanted)),
        )
        raise Mismatch(
            f"seed {self._seed}: size {size} for {len(self._model)}, "
            f"{len(found)} bytes for {len(wanted)} at {at}, first difference at "
            f"{at + first}, after: {'; '.join(self._log)}"
        )
