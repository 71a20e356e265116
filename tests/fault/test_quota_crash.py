"""A crash at any step leaves no quota wrong: what nobody holds is counted anew."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.model.quota import Quota
from server.vfs.entry import Disposition
from server.vfs.view import View
from tests.support.crash import killed_after
from tests.support.house import House, recover
from tests.support.quotas import accounts_with, metered_house

QUOTAS = accounts_with(
    login=Quota(bytes=10_000, files=20), contract=Quota(bytes=20_000, files=40)
)
NEW = Disposition(create=True, truncate=True)
APPEND = Disposition(create=True, append=True)


def upload(view: View, path: str, length: int) -> None:
    received = view.upload(path, length=length)
    received.write(b"u" * length)
    received.commit()


def write(view: View, path: str, disposition: Disposition) -> None:
    file = view.open_write(path, disposition)
    file.write_at(0, b"w" * 700)
    file.close()


ACTS: dict[str, Callable[[View], None]] = {
    "upload over": lambda v: upload(v, "/private/a", 500),
    "append": lambda v: write(v, "/private/a", APPEND),
    "move to another quota": lambda v: v.rename(
        "/private/d", "/shared/team/d", overwrite=False
    ),
}


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    with metered_house(folder, QUOTAS) as (house, _):
        yield house


@pytest.mark.parametrize("name", ACTS)
def test_after_a_crash_the_counters_say_what_the_disk_says(
    tmp_path: Path, name: str
) -> None:
    """What the dead process had reserved is room again, and nothing is forgotten."""
    for step in itertools.count():
        folder = tmp_path / str(step)
        with metered_house(folder, QUOTAS) as (house, _):
            view = house.view()
            upload(view, "/private/a", 1000)
            view.make_folder("/private/d")
            upload(view, "/private/d/b", 300)
            view.stat("/shared/team")

        def act(house: House) -> None:
            ACTS[name](house.view())

        killed = killed_after(step, folder, act, opened)
        with metered_house(folder, QUOTAS, crashed=True) as (house, metered):
            recover(house)
            metered.meter.distrust("c", crashed=True)
            for scope in metered.scopes:
                assert metered.used(scope.title) == metered.meter.on_disk(scope), step
        if not killed:
            break
    assert step > 5


def test_what_another_process_holds_survives_the_crash(tmp_path: Path) -> None:
    """Its upload goes on, and what it reserved is not given to somebody else."""
    with metered_house(tmp_path, QUOTAS, owner="sibling") as (house, metered):
        file = house.view().open_write("/private/a", NEW)
        file.write_at(0, b"x" * 4000)
        held = metered.used("alice@main")
        metered.meter._owner = "crashed"
        metered.meter.distrust("c", crashed=True)
        assert metered.used("alice@main") == held
        metered.meter._owner = "sibling"
        file.close()
        assert metered.used("alice@main").bytes == 4000
