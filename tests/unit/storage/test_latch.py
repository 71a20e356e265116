"""Latches and marks between processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.model.errors import LockedError, StorageFailedError
from server.storage import latch, marks
from server.storage.disk import Disk
from server.storage.latch import Latches

HOLD = """
import sys
from pathlib import Path
from server.storage.disk import Disk
from server.storage.latch import Latches
latches = Latches(Disk(Path(sys.argv[1]), sync=False))
with getattr(latches, sys.argv[2])("c"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def latches(tmp_path: Path) -> Iterator[Latches]:
    disk = Disk(tmp_path, sync=False)
    (tmp_path / "c").mkdir()
    found = Latches(disk)
    yield found
    found.close()
    disk.close()


def holder(folder: Path, how: str) -> "subprocess.Popen[str]":
    """Another process that holds the latch until it is told, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(
    ("theirs", "ours", "together"),
    [
        ("shared", "shared", True),
        ("shared", "alone", False),
        ("alone", "shared", False),
        ("alone", "alone", False),
    ],
)
def test_a_latch_holds_between_processes_and_ends_with_its_holder(
    latches: Latches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    theirs: str,
    ours: str,
    *,
    together: bool,
) -> None:
    """A worker that is killed in the middle must not stop the others for ever."""
    monkeypatch.setattr(latch, "WAIT_S", 0.05)
    with holder(tmp_path, theirs) as other:
        if together:
            with getattr(latches, ours)("c"):
                pass
        else:
            with pytest.raises(StorageFailedError), getattr(latches, ours)("c"):
                pass
        other.kill()
    with getattr(latches, ours)("c"):
        pass


def test_the_number_is_another_one_after_each_change(latches: Latches) -> None:
    """By it a process knows that the locks in its memory are those there are."""
    before = latches.number("c")
    with latches.shared("c") as number:
        assert number == before
    with pytest.raises(KeyError), latches.alone("c"):
        raise KeyError

    assert latches.number("c") == before + 1


def test_a_mark_tells_own_handles_from_others_and_ends_with_them(
    tmp_path: Path,
) -> None:
    """Two handles of one login do not stand in each other's way."""
    path = tmp_path / "file"
    with path.open("w+b") as mine, path.open("r+b") as asking:
        marks.mark(mine.fileno(), "alice")
        assert not marks.is_written(asking.fileno(), "alice")
        assert marks.is_written(asking.fileno(), "bob")
        marks.keep_away(asking.fileno(), "alice")
    with path.open("r+b") as mine, path.open("r+b") as asking:
        marks.mark(mine.fileno(), "alice")
        with pytest.raises(LockedError):
            marks.keep_away(asking.fileno(), "bob")
        mine.close()
        marks.keep_away(asking.fileno(), "bob")
