"""How much a run moves, and the files that it moves."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The defaults of `bench/run.py` finish in minutes; `--full` is publishable."""

    big_mib: int
    part_mib: int
    parallel: int
    small: int
    entries: int


def make_file(path: Path, size_bytes: int) -> None:
    """Fill a file with bytes that do not compress."""
    block = os.urandom(min(size_bytes, 1 << 20))
    with path.open("wb") as file:
        while size_bytes > 0:
            size_bytes -= file.write(block[:size_bytes])
