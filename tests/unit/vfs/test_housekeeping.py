"""What the keeper throws away, and what it must leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.lookup import Lookup
from server.model.clock import SystemClock
from server.model.event import Fields
from server.vfs.entry import Disposition
from server.vfs.housekeeping import Housekeeping
from tests.support.house import House, open_house
from tests.support.restoring import index

DAY_US = 86_400_000_000
SYSTEM: Fields = {"protocol": "system"}


class LaterClock(SystemClock):
    """So many days ahead."""

    def __init__(self, days: int) -> None:
        self._ahead_us = days * DAY_US

    def time_us(self) -> int:
        return super().time_us() + self._ahead_us


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


def clean(house: House, *, days: int) -> None:
    """What the keeper does so many days from now."""
    index(house)
    lookup = Lookup(f"sqlite:///{house.folder / 'state' / 'audit.db'}")
    Housekeeping(
        gate=house.gate,
        who=SYSTEM,
        leftovers=house.leftovers,
        lookup=lookup,
        books=house.locks.books,
        clock=LaterClock(days),
        trash_days=30,
    ).run()
    lookup.close()


def put(house: House, name: str) -> None:
    file = house.view().open_write(f"/private/{name}", Disposition(create=True))
    file.write_at(0, b"content")
    file.close()


def test_the_trash_is_emptied_when_its_days_are_over_and_not_before(
    house: House,
) -> None:
    """The record names each file; what stands is never touched."""
    put(house, "a")
    put(house, "b")
    house.view().delete("/private/a")
    (entry,) = house.leftovers.trashed_acts("c")

    clean(house, days=29)
    assert house.leftovers.trashed_acts("c") == [entry]
    clean(house, days=31)
    assert house.leftovers.trashed_acts("c") == []
    assert (house.private() / "b").read_bytes() == b"content"
    intent, progress, outcome = house.records()[-3:]
    assert (intent["phase"], outcome["outcome"]) == ("intent", "done")
    assert progress["path"] == "/private/a"
    assert progress["detail"]["purged"] == entry


def test_what_an_act_keeps_stays_until_the_act_has_an_outcome(house: House) -> None:
    """A handle may stay open for a month; its old content is needed when it aborts."""
    put(house, "a")
    file = house.view().open_write("/private/a", Disposition())
    file.write_at(0, b"C")

    clean(house, days=31)
    assert len(house.leftovers.trashed_acts("c")) == 1
    file.close()
    clean(house, days=31)
    assert house.leftovers.trashed_acts("c") == []
