"""Putting back never reaches out of the trash, nor over what is newer or in use."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.auth.snapshot import Contract
from server.model.errors import ExistsError, LockedError, NotFoundError
from server.vfs.entry import Disposition
from server.vfs.estate import Estate
from server.vfs.handle import OpenFile
from server.vfs.trash import Whose, Wish
from tests.support.house import ACCOUNTS, House, open_house
from tests.support.restoring import index, restoring

NEW = Disposition(create=True, truncate=True)
CHANGE = Disposition()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


def written(file: OpenFile, content: bytes) -> None:
    file.write_at(0, content)
    file.close()


def entry(house: House) -> str:
    """The act of the last outcome."""
    return str(house.records()[-1]["act"])


@pytest.mark.parametrize(
    "named",
    ["../private/l-alice/a", "{}/../../private/l-alice/a", "{}~"],
)
def test_a_name_that_is_no_entry_leads_nowhere(house: House, named: str) -> None:
    """It would take a file away under nobody's lock, or half of a destroyed folder."""
    view = house.view()
    written(view.open_write("/private/a", NEW), b"stands")
    view.make_folder("/private/d")
    view.delete_tree("/private/d")
    gone = entry(house)
    (house.folder / "data" / "c" / ".trash" / f"{gone}~").mkdir()
    index(house)

    with restoring(house) as (trash, _), pytest.raises(NotFoundError):
        trash.restore_entry(named.format(gone), Whose(), Wish(to="/shared/team/stolen"))

    assert (house.private() / "a").read_bytes() == b"stands"


def test_a_login_of_another_contract_gets_nothing() -> None:
    """What was put there nobody would ever find again."""
    contracts = (*ACCOUNTS.contracts, Contract(id="other", name="other"))
    estate = Estate(replace(ACCOUNTS, contracts=contracts))

    with pytest.raises(NotFoundError, match="another contract"):
        estate.named("/private/a", "other", "l-alice")


def test_what_is_written_in_the_trash_stays_there(house: House) -> None:
    """A handle from before the delete would change it uncounted, once it is back."""
    view = house.view()
    file = view.open_write("/private/a", NEW)
    file.write_at(0, b"half")
    view.delete("/private/a")
    gone = entry(house)
    index(house)

    with restoring(house) as (trash, _):
        with pytest.raises(LockedError):
            trash.restore_entry(gone, Whose(), Wish())
        written(file, b"whole")
        trash.restore_entry(gone, Whose(), Wish())

    assert (house.private() / "a").read_bytes() == b"whole"


def test_a_change_that_began_before_and_ended_after_is_newer(house: House) -> None:
    """Its bytes came last, whenever its handle was opened."""
    view = house.view()
    written(view.open_write("/private/a", NEW), b"first")
    late = view.open_write("/private/a", CHANGE)
    written(view.open_write("/private/a", CHANGE), b"other")
    undone = entry(house)
    written(late, b"newer")
    index(house)

    with restoring(house) as (_, undoing), pytest.raises(ExistsError):
        undoing.undo(undone, overwrite=False)

    assert (house.private() / "a").read_bytes() == b"newer"
