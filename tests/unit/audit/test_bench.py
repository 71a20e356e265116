"""The bench of the index works: its table is published."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_the_bench_asks_every_question_along_an_index(tmp_path: Path) -> None:
    """A bench that breaks unseen leaves numbers nobody can repeat."""
    told = subprocess.run(
        [sys.executable, "bench/audit.py", "--rows", "4000", "--scratch", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    rows = [line.split("|") for line in told.stdout.splitlines() if line[:2] == "| "]
    assert len(rows) > 35
    assert all(row[5].strip() for row in rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
def test_the_bench_finds_every_record_that_the_keeper_copies(tmp_path: Path) -> None:
    """The figure from an act to a found row comes from a whole daemon."""
    told = subprocess.run(
        [
            *(sys.executable, "bench/audit.py", "--lag", "200", "--seconds", "2"),
            *("--scratch", tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "200 acts/s for 2 s, 800 records" in told.stdout
    assert not list(tmp_path.iterdir())
