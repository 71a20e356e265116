"""kill -9 in the middle of work: what was acknowledged is there and on record."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checker import Checker
from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.waiting import until

CLIENTS = 4


def demo_root(daemon: Daemon) -> Path:
    """The demo login's own folder on the disk."""
    (root,) = (daemon.folder / "data").glob("*/private/*")
    return root


def check(daemon: Daemon, ledger: Ledger) -> list[str]:
    return Checker(
        ledger,
        root=demo_root(daemon),
        prefix="/private",
        journal=daemon.state / "journal",
    ).check()


def kill_child(daemon: Daemon, slot: str) -> None:
    """SIGKILL, and wait for the next one in its place."""
    until(lambda: slot in daemon.children(), what=f"{slot} runs")
    pid = daemon.children()[slot]
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.children().get(slot, pid) != pid, what=f"{slot} runs again")


@pytest.mark.parametrize("slot", ["worker-1", "keeper"])
def test_nothing_acknowledged_is_lost_when_a_process_is_killed(
    daemon: Daemon,
    tmp_path: Path,
    slot: str,
    record_property: Callable[[str, object], None],
) -> None:
    """A crash leaves no act without a record and no acknowledged byte behind."""
    seed = int.from_bytes(os.urandom(4))
    record_property("seed", seed)
    chance = random.Random(seed)  # noqa: S311 - a repeatable run
    ledger = Ledger(tmp_path / "ledger")
    with Crowd(daemon, ledger, clients=CLIENTS, seed=seed):
        until(lambda: ledger.count("ok") > 20, what="the clients work")
        for _ in range(5):
            time.sleep(chance.uniform(0.02, 0.8))  # a random moment, not a wait
            kill_child(daemon, slot)
            worked = ledger.count("ok")
            until(lambda w=worked: ledger.count("ok") > w + 5, what="they go on")
    assert daemon.stop() == 0
    ledger.close()

    assert check(daemon, ledger) == []
    by_id = {record["id"]: record for record in daemon.records()}
    rows = daemon.rows()
    assert {row["id"] for row in rows} == set(by_id)
    assert len(rows) == len(by_id)
    killed = daemon.records(operation="system.child_exit")
    assert [record["detail"]["status"] for record in killed] == [-signal.SIGKILL] * 5


def test_a_store_killed_whole_recovers_before_it_serves(
    daemon: Daemon,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """A power cut's twin: all processes at once, then a start from what is there."""
    seed = int.from_bytes(os.urandom(4))
    record_property("seed", seed)
    ledger = Ledger(tmp_path / "ledger")
    for _ in range(2):
        worked = ledger.count("ok")
        with Crowd(daemon, ledger, clients=CLIENTS, seed=seed):
            until(lambda w=worked: ledger.count("ok") > w + 30, what="they work")
            daemon.kill()
        daemon.start()
        intents = {r["act"] for r in daemon.records(phase="intent")}
        outcomes = {r["act"] for r in daemon.records(phase="outcome")}
        assert intents == outcomes
    daemon.stop()
    ledger.close()

    assert check(daemon, ledger) == []
