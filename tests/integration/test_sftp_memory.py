"""Memory that transfers and sessions take is given back."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.people import sftp
from tests.support.waiting import until

CONTENT = os.urandom(3 << 20)
GROWTH_MAX = 1.1
SESSION_KIB_MAX = 200
IDLE_SESSIONS = 40
PLACE = "/private/memory"


def pss_kib(daemon: Daemon) -> int:
    """What the worker takes, shared pages counted in part (smaps_rollup)."""
    pid = daemon.children()["worker-1"]
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def transfer(daemon: Daemon, times: int) -> None:
    with sftp(daemon) as client:
        for _ in range(times):
            with client.open(PLACE, "w") as file:
                file.set_pipelined()
                file.write(CONTENT)
            with client.open(PLACE, "r") as file:
                file.prefetch(len(CONTENT))
                assert len(file.read()) == len(CONTENT)


def connect(daemon: Daemon, times: int) -> None:
    for _ in range(times):
        with sftp(daemon) as client:
            client.listdir("/private")


@pytest.mark.soak
@pytest.mark.parametrize("load", [transfer, connect])
def test_a_thousand_leave_no_more_than_a_hundred(daemon: Daemon, load: object) -> None:
    """A store runs for months."""
    assert callable(load)
    load(daemon, 100)
    until(lambda: daemon.records(operation="logout"), what="it is over")
    before = pss_kib(daemon)

    load(daemon, 1000)
    time.sleep(3)  # a silent second, in which buffers go
    assert pss_kib(daemon) <= before * GROWTH_MAX


@pytest.mark.soak
def test_an_idle_session_is_small(daemon: Daemon) -> None:
    """Five hundred mounted drives fit, also when each has moved something once."""
    connect(daemon, 5)
    transfer(daemon, 1)
    before = pss_kib(daemon)
    with ExitStack() as stack:
        for _ in range(IDLE_SESSIONS):
            client = stack.enter_context(sftp(daemon))
            with client.open(PLACE, "r") as file:
                file.prefetch(len(CONTENT))
                file.read()
        until(
            lambda: (pss_kib(daemon) - before) / IDLE_SESSIONS <= SESSION_KIB_MAX,
            what="idle sessions give their memory back",
        )
