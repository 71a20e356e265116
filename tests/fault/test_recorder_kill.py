"""kill -9 of the recorder, again and again, while 5,000 acts a second come in."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from os import kill
from pathlib import Path
from typing import IO

import pytest
import sqlalchemy as sa

from server.audit.recorder import Recorder
from server.audit.tables import RECORDS
from server.db.engine import Role, open_engine, reading
from tests.support.daemon import Daemon
from tests.support.trail import NODE, stream_lines
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]

GENERATOR = """
import sys, time
from pathlib import Path
from typing import IO
from tests.support.trail import event, open_journal

journal = open_journal(Path(sys.argv[1]), sys.argv[2], segment_bytes_max=1 << 22)
print("ready", flush=True)
begin, done = time.monotonic(), 0
while True:
    due = int((time.monotonic() - begin) * 5000)
    for number in range(done, due):
        last = journal.append(event(number))
    if due > done:
        journal.wait(last)
    done = due
    time.sleep(0.01)
"""

RECORDERS = """
import os, sys, threading
from pathlib import Path
from typing import IO
from server.audit.recorder import Recorder
from tests.support.trail import NODE

while True:
    pid = os.fork()
    if not pid:
        Recorder(Path(sys.argv[1]), sys.argv[2], node=NODE).run(threading.Event())
    print(pid, flush=True)
    os.waitpid(pid, 0)
"""
"""One recorder after the other, each in a process of its own."""


SLOT = "worker-9"
SOAK_KILLS = 200
KEEPER_KILLS = 40
ACTS_PER_S_MIN = 4000
"""What the long run must have had to do with; a busy machine may miss it in a short."""


@pytest.mark.parametrize(
    "kills",
    [20, pytest.param(SOAK_KILLS, marks=[pytest.mark.soak, pytest.mark.timeout(0)])],
)
def test_a_recorder_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, kills: int
) -> None:
    """The keeper may die at any moment of a batch, a commit or a checkpoint."""
    journals, url = tmp_path / "journal", f"sqlite:///{tmp_path / 'audit.db'}"
    moments = random.Random(kills)  # noqa: S311 - repeatable
    with _running(GENERATOR, journals, SLOT) as generator:
        assert generator.readline() == "ready\n"
        begin = time.monotonic()
        with _running(RECORDERS, journals, url) as recorders:
            for _ in range(kills):
                pid = int(recorders.readline())
                # The moment itself is what is tried, not something waited for.
                time.sleep(moments.uniform(0.02, 0.6))
                kill(pid, signal.SIGKILL)
            last = int(recorders.readline())
        seconds = time.monotonic() - begin
        kill(last, signal.SIGKILL)

    assert Recorder(journals, url, node=NODE).drain(120)
    written = _require_each_once(journals, url)
    assert kills < SOAK_KILLS or written > ACTS_PER_S_MIN * seconds


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_whole_keeper_killed_again_and_again_leaves_a_trail_that_verifies(
    daemon: Daemon,
) -> None:
    """It signs checkpoints and compresses journals too, and is started again each time.

    The supervisor lets a crashing child rest, so these are fewer than above.
    """
    journals, url = daemon.state / "journal", f"sqlite:///{daemon.state / 'audit.db'}"
    moments = random.Random(KEEPER_KILLS)  # noqa: S311 - repeatable
    with _running(GENERATOR, journals, SLOT) as generator:
        assert generator.readline() == "ready\n"
        for _ in range(KEEPER_KILLS):
            pid = daemon.children()["keeper"]
            time.sleep(moments.uniform(0.02, 1.5))  # the moment is what is tried
            kill(pid, signal.SIGKILL)
            until(partial(_is_another, daemon, pid), deadline_s=60)
    assert daemon.stop() == 0

    assert Recorder(journals, url, node=NODE).drain(300)
    _require_each_once(journals, url)
    verified = daemon.cli("audit", "verify")
    assert verified.returncode == 0, verified.stdout


def _is_another(daemon: Daemon, killed: int) -> bool:
    """Whether a keeper runs that is not the one that was killed."""
    return daemon.children().get("keeper", killed) != killed


def _require_each_once(journals: Path, url: str) -> int:
    """How many records the generator's stream has."""
    durable = sum(1 for _ in stream_lines(journals, SLOT))
    engine = open_engine(url, Role.AUDIT_READER)
    counted = sa.select(
        sa.func.count(),
        sa.func.count(RECORDS.c.seq.distinct()),
        sa.func.min(RECORDS.c.seq),
        sa.func.max(RECORDS.c.seq),
    ).where(RECORDS.c.stream == f"{NODE}/{SLOT}")
    with reading(engine) as connection:
        count, different, first, last = connection.execute(counted).one()
    engine.dispose()
    assert count == different == last
    assert first == 1
    # The generator was killed too: at most its last appends were not synced.
    assert durable - count < 5000
    assert count > 0
    return int(count)


@contextmanager
def _running(program: str, *arguments: object) -> Iterator[IO[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()
