"""Locks under load: both doors, two workers, a reload in the middle."""

import time
from collections import Counter

import pytest

from tests.support.daemon import Daemon
from tests.support.lockers import Locker, Ring, people

PERSONS = 4
FEWEST = ("locked", "lock 423", "put 423", "sftp write stopped", "sftp write done")
"""What has to have happened, or the run has proved nothing."""


@pytest.mark.parametrize(
    "seconds", [10, pytest.param(120, marks=[pytest.mark.soak, pytest.mark.timeout(0)])]
)
def test_nothing_is_written_under_somebody_elses_lock(
    store: Daemon, seconds: int
) -> None:
    """Whoever holds a lock finds the file as it was left, and every lock is of one.

    Old workers serve their connections on while new ones take the next: after the
    reload both kinds hold locks and files at the same time.
    """
    store.environ["KAGIKURA_WORKERS"] = "2"
    persons = people(store, PERSONS)
    store.start()
    ring = Ring(store, until_s=time.monotonic() + seconds)
    lockers = [Locker(ring, person, seed) for seed, person in enumerate(persons)]
    for locker in lockers[:2]:
        locker.start()
    store.reload()
    for locker in lockers[2:]:
        locker.start()
    for locker in lockers:
        locker.join()

    assert ring.broken == []
    assert Counter(dict.fromkeys(FEWEST, 1)) <= ring.counts, ring.counts
    refused = store.records(stage="lock")
    assert {row["protocol"] for row in refused} == {"sftp", "webdav"}
    assert store.told("lock", "list") == []
