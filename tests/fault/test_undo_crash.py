"""Undoing takes more than one step, and a crash may come between any two."""

import itertools
from pathlib import Path

from server.vfs.entry import Disposition
from tests.support.crash import killed_after
from tests.support.house import House, open_house, recover
from tests.support.restoring import index, restoring

NEW = Disposition(create=True, truncate=True)


def furnish(folder: Path) -> None:
    """A file that was renamed over another one, in a folder of its own."""
    with open_house(folder) as house:
        view = house.view()
        for name in ("a", "b"):
            file = view.open_write(f"/private/{name}", NEW)
            file.write_at(0, name.encode())
            file.close()
        view.rename("/private/a", "/private/b", overwrite=True)
        index(house)


def undo(house: House) -> None:
    found = [r for r in house.records() if r["operation"] == "rename"]
    with restoring(house) as (_, undoing):
        undoing.undo(found[0]["id"], overwrite=False)


def test_undoing_a_rename_can_be_killed_anywhere_and_done_again(
    tmp_path: Path,
) -> None:
    """First the file goes back, then what it replaced: each step is an act."""
    for step in itertools.count():
        folder = tmp_path / str(step)
        furnish(folder)
        killed = killed_after(step, folder, undo)
        with open_house(folder) as house:
            recover(house)
            top = house.private()
            if not _is_back(top):
                index(house)
                undo(house)
            assert _is_back(top), step
            assert house.leftovers.trashed_acts("c") == []
            intents = [r["act"] for r in house.records() if r["phase"] == "intent"]
            outcomes = [r["act"] for r in house.records() if r["phase"] == "outcome"]
            assert sorted(intents) == sorted(outcomes)
        if not killed:
            break
    assert step > 5


def _is_back(top: Path) -> bool:
    return {p.name: p.read_text() for p in top.iterdir()} == {"a": "a", "b": "b"}
