"""Rights that are taken away while a file is open."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.auth.snapshot import Grant
from server.model.errors import HandleError, RightsRefusedError
from server.model.operation import PRESETS, Right
from server.vfs.entry import Disposition
from tests.support import house as houses
from tests.support.house import ACCOUNTS, House, open_house

NEW = Disposition(create=True, truncate=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def regrant(monkeypatch: pytest.MonkeyPatch) -> "Regrant":
    return Regrant(monkeypatch)


class Regrant:
    """Sets what alice may do in `/shared/team` from now on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._revision = 1

    def __call__(self, rights: Right) -> None:
        self._revision += 1
        grant = Grant(folder_id="f", below=(), subject_id="l-alice", rights=rights)
        others = tuple(g for g in ACCOUNTS.grants if g.subject_id != "l-alice")
        changed = replace(ACCOUNTS, revision=self._revision, grants=(*others, grant))
        self._patch.setattr(houses, "ACCOUNTS", changed)


def put(house: House, content: bytes = b"0123456789") -> None:
    file = house.view().open_write("/shared/team/a", NEW)
    file.write_at(0, content)
    file.close()


def test_a_read_ends_with_the_right_to_read(house: House, regrant: Regrant) -> None:
    """The next block is refused, the handle is over, and the trail says why."""
    put(house)
    file = house.view().open_read("/shared/team/a")
    assert file.read_at(0, 4) == b"0123"

    regrant(Right.LIST)
    with pytest.raises(RightsRefusedError):
        file.read_at(4, 4)
    with pytest.raises(HandleError):
        file.read_at(4, 4)

    outcome = house.records()[-1]
    assert (outcome["operation"], outcome["outcome"]) == ("read", "refused")
    assert (outcome["rule"], outcome["bytes"]) == ("no_read", 4)


def test_a_listing_ends_with_the_right_to_list(house: House, regrant: Regrant) -> None:
    """Who reads it slowly would hear of names for hours."""
    put(house)
    names = house.view().batches("/shared/team")

    regrant(Right.WRITE)
    with pytest.raises(RightsRefusedError):
        list(names)

    told = house.records()[-1]
    assert (told["operation"], told["outcome"]) == ("list", "refused")
    assert told["rule"] == "no_list"


def test_an_upload_is_not_published_without_the_right_to_write(
    house: House, regrant: Regrant
) -> None:
    """It was taken away between the last byte and the end: the old file stays."""
    put(house)
    upload = house.view().upload("/shared/team/a", length=3)
    upload.write(b"new")

    regrant(PRESETS["viewer"])
    with pytest.raises(RightsRefusedError):
        upload.commit()

    assert house.view().open_read("/shared/team/a").read_at(0, 99) == b"0123456789"
    refused = [r for r in house.records() if r.get("outcome") == "refused"]
    assert [r["rule"] for r in refused] == ["no_write"]


def test_a_handle_for_both_needs_both_still(house: House, regrant: Regrant) -> None:
    """A depositor may write on, but not read back through an older handle."""
    put(house)
    both = Disposition(read=True)
    file = house.view().open_write("/shared/team/a", both)
    assert file.read_at(0, 2) == b"01"

    regrant(PRESETS["depositor"])

    with pytest.raises(RightsRefusedError):
        file.read_at(0, 2)


def test_a_change_elsewhere_disturbs_no_transfer(
    house: House, regrant: Regrant
) -> None:
    """Every account that changes gives a new snapshot."""
    put(house)
    file = house.view().open_read("/shared/team/a")
    for _ in range(3):
        regrant(PRESETS["editor"])
        assert file.read_at(0, 4) == b"0123"
    file.close()

    assert house.records()[-1]["outcome"] == "done"
