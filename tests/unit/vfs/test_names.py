"""Names in the tree: twins, collisions, character sets, and the files of macOS."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.auth.snapshot import Folder, Grant
from server.model.charset import Charset
from server.model.errors import (
    NameCollisionError,
    NotEmptyError,
    NotFoundError,
    PathRefusedError,
    QuotaRefusedError,
)
from server.model.folder import CaseRule, FolderRules, MacFiles
from server.model.operation import PRESETS
from server.model.quota import Quota
from server.settings.schema import StorageSettings
from server.vfs.entry import Changes, Disposition
from server.vfs.told import location_in
from server.vfs.view import View
from tests.support.house import ACCOUNTS, House, open_house
from tests.support.quotas import accounts_with, metered_house

RULES = {
    "strict": FolderRules(case=CaseRule.COLLIDE),
    "hiding": FolderRules(mac_files=MacFiles.HIDE),
    "dropping": FolderRules(mac_files=MacFiles.DROP),
}
PEOPLE = {"l-alice": "editor", "l-mfp": "depositor"}
TREE = replace(
    ACCOUNTS,
    folders=(
        *ACCOUNTS.folders,
        *(Folder(id=n, contract_id="c", name=n, rules=r) for n, r in RULES.items()),
    ),
    grants=(
        *ACCOUNTS.grants,
        *(
            Grant(folder_id=n, below=(), subject_id=who, rights=PRESETS[rights])
            for n in RULES
            for who, rights in PEOPLE.items()
        ),
    ),
)
NEW = Disposition(create=True, truncate=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path, accounts=TREE) as house:
        yield house


def put(view: View, path: str, content: bytes = b"x") -> None:
    upload = view.upload(path)
    upload.write(content)
    upload.commit()


def names(view: View, folder: str) -> set[str]:
    return {entry.name for entry in view.list(folder)}


def disk(house: House, folder: str) -> Path:
    return house.folder / "data" / "c" / "shared" / folder


# Twins.


def test_a_file_in_nfd_on_the_disk_is_listed_read_and_replaced_under_its_nfc_name(
    house: House,
) -> None:
    """Data copied from a Mac by other ways must not be there and yet not be found."""
    view = house.view()
    view.make_folder("/private/見積")
    put(view, "/private/見積/x")
    folder = house.private() / "見積"
    (folder / "カ\u3099.txt").write_bytes(b"old")
    (folder / "ハ\u309a").mkdir()
    (folder / "ハ\u309a" / "キ\u3099").write_bytes(b"deep")

    assert names(view, "/private/見積") == {"x", "ガ.txt", "パ"}
    assert names(view, "/private/見積/パ") == {"ギ"}
    file = view.open_read("/private/見積/パ/ギ")
    assert file.read_at(0, 9) == b"deep"
    file.close()
    put(view, "/private/見積/ガ.txt", b"new")
    assert (folder / "カ\u3099.txt").read_bytes() == b"new"
    view.rename("/private/見積/パ", "/private/見積/プ", overwrite=False)
    assert (folder / "プ" / "キ\u3099").read_bytes() == b"deep"
    paths = {record.get("path") for record in house.records()}
    assert "/private/見積/パ/ギ" in paths
    assert not any("\u3099" in str(path) for path in paths)
    act = next(r["act"] for r in house.records() if r["operation"] == "rename")
    (intent, *_) = [r for r in house.records() if r["act"] == act]
    assert location_in(intent).parts == ("見積", "ハ\u309a")


def test_where_both_spellings_lie_on_the_disk_one_name_is_shown_once(
    house: House,
) -> None:
    """Two entries of one name confuse every client; the NFC one has the name."""
    view = house.view()
    put(view, "/private/ガ", b"ours")
    (house.private() / "カ\u3099").write_bytes(b"theirs")

    assert [entry.name for entry in view.list("/private")] == ["ガ"]
    file = view.open_read("/private/ガ")
    assert file.read_at(0, 9) == b"ours"
    file.close()
    view.delete("/private/ガ")
    assert names(view, "/private") == {"ガ"}


def test_a_name_sent_in_nfd_is_stored_in_nfc_and_recorded_as_it_came(
    house: House,
) -> None:
    """Finder sends NFD; Windows must see one name, and the trail what was sent."""
    put(house.view(), "/private/カ\u3099")

    assert (house.private() / "ガ").exists()
    (intent,) = [r for r in house.records() if r.get("phase") == "intent"]
    assert (intent["path"], intent["path_raw"]) == ("/private/ガ", "/private/カ\u3099")


# Character sets.


def test_a_cp932_device_meets_its_names_again(house: House) -> None:
    """Stored as everybody reads them, found under what the device was shown."""
    view = house.view(charset=Charset.CP932)
    raw = "/private/ソ表.txt".encode("cp932").decode("utf-8", "surrogateescape")

    put(view, raw)
    put(house.view(), "/private/10〜20é")

    assert (house.private() / "ソ表.txt").exists()
    assert view.stat(raw).name == "ソ表.txt"
    shown = Charset.CP932.written("10〜20é").decode("utf-8", "surrogateescape")
    assert view.stat(f"/private/{shown}").name == "10〜20é"
    (intent, *_) = [r for r in house.records() if r.get("phase") == "intent"]
    assert intent["path"] == "/private/ソ表.txt"
    assert intent["path_raw"].startswith("base64:")


def test_without_a_character_set_cp932_is_refused_for_people_and_kept_for_scanners(
    house: House,
) -> None:
    """A scan under an odd name is better than no scan."""
    raw = "/shared/hiding/ソ.pdf".encode("cp932").decode("utf-8", "surrogateescape")

    with pytest.raises(PathRefusedError):
        put(house.view(), raw)
    put(house.view("mfp"), raw)

    assert names(house.view(), "/shared/hiding") == {"%83＼.pdf"}  # noqa: RUF001 - full width is meant


# Collisions.


@pytest.mark.parametrize("other", ["README.TXT", "ＲＥＡＤＭＥ.txt", "ReadMe.txt"])  # noqa: RUF001 - full width is meant
def test_a_name_in_other_letters_collides_where_the_folder_says_so(
    house: House, other: str
) -> None:
    """Windows and macOS reach one of two such files only."""
    view, top = house.view(), "/shared/strict"
    put(view, f"{top}/readme.txt")
    put(view, f"{top}/x")
    path = f"{top}/{other}"
    view.make_folder(f"{top}/sub")

    for attempt in (
        lambda: put(view, path),
        lambda: view.open_write(path, NEW),
        lambda: view.make_folder(path),
        lambda: view.rename(f"{top}/x", path, overwrite=True),
        lambda: view.rename(f"{top}/sub", path, overwrite=False),
        lambda: view.copy(f"{top}/x", path, overwrite=True),
        lambda: put(house.view("mfp"), path),
    ):
        with pytest.raises(NameCollisionError):
            attempt()
    put(view, f"/shared/team/{other}")
    put(view, "/shared/team/readme.txt")

    assert names(view, top) == {"readme.txt", "x", "sub"}
    refused = [r for r in house.records() if r.get("outcome") == "refused"]
    assert len(refused) == 7
    assert {r["rule"] for r in refused} == {"case_collision"}
    assert all(r["phase"] == "event" for r in refused)


def test_a_file_may_change_the_letters_of_its_own_name(house: House) -> None:
    """The old name is gone then, so nothing collides; else nobody could mend one."""
    view = house.view()
    put(view, "/shared/strict/readme.txt")
    put(view, "/shared/strict/readme.txt", b"again")

    top = "/shared/strict"
    view.rename(f"{top}/readme.txt", f"{top}/README.txt", overwrite=True)

    assert names(view, "/shared/strict") == {"README.txt"}
    with pytest.raises(NameCollisionError):
        view.copy(f"{top}/README.txt", f"{top}/Readme.txt", overwrite=True)


def test_the_disk_asks_again_with_the_folder_to_itself(house: House) -> None:
    """Two uploads that were both let in must not both be published."""
    view = house.view()
    first, second = (view.upload(f"/shared/strict/{name}") for name in ("a", "A"))
    first.commit()

    with pytest.raises(NameCollisionError):
        second.commit()

    assert names(view, "/shared/strict") == {"a"}


# The files of macOS.


def test_hidden_files_of_macos_are_kept_and_never_listed(house: House) -> None:
    """Finder finds its own files again; nobody else has to look at them."""
    view = house.view()
    for name in ("._report", ".DS_Store", "report", "_.x"):
        put(view, f"/shared/hiding/{name}")

    assert names(view, "/shared/hiding") == {"report", "_.x"}
    assert view.stat("/shared/hiding/.DS_Store").size == 1
    assert (disk(house, "hiding") / "._report").exists()


def test_a_folder_that_looks_empty_can_be_removed(house: House) -> None:
    """What nobody sees must not stand in the way, and goes to the trash on record."""
    view = house.view()
    view.make_folder("/shared/hiding/old")
    put(view, "/shared/hiding/old/.DS_Store")
    put(view, "/shared/hiding/old/x")

    with pytest.raises(NotEmptyError):
        view.remove_folder("/shared/hiding/old")
    view.delete("/shared/hiding/old/x")
    view.remove_folder("/shared/hiding/old")

    assert names(view, "/shared/hiding") == set()
    told = [r for r in house.records() if r["operation"] == "rmdir"]
    assert "/shared/hiding/old/.DS_Store" in {r["path"] for r in told}
    (act,) = {r["act"] for r in told if r.get("outcome") == "done"}
    trashed = house.folder / "data" / "c" / ".trash" / act
    assert (trashed / ".DS_Store").read_bytes() == b"x"


def test_dropped_files_seem_to_be_there_and_leave_nothing_but_a_count(
    house: House,
) -> None:
    """MacOS gives a copy up when its own file fails; the trail must not drown in it."""
    view, top = house.view(), "/shared/dropping"
    put(view, f"{top}/report")
    before = len(house.records())
    for number in range(50):
        put(view, f"{top}/._{number}", b"12345")
        assert view.stat(f"{top}/._{number}").size == 5
        view.set_attributes(f"{top}/._{number}", Changes(mtime_ns=1))
    file = view.open_write(f"{top}/.DS_Store", NEW)
    file.write_at(0, b"ab")
    assert file.entry.size == 2
    file.close()
    view.rename(f"{top}/._1", f"{top}/._renamed", overwrite=True)
    view.delete(f"{top}/._2")
    for gone in ("._1", "._2"):
        with pytest.raises(NotFoundError):
            view.stat(f"{top}/{gone}")
    with pytest.raises(NotFoundError):
        view.rename(f"{top}/._3", f"{top}/real", overwrite=True)
    view.close()

    assert names(house.view(), top) == {"report"}
    assert [path.name for path in disk(house, "dropping").iterdir()] == ["report"]
    assert not list((house.folder / "data" / "c" / ".stage").iterdir())
    told = [r for r in house.records()[before:] if r.get("reason") == "dropped"]
    assert {r["phase"] for r in told} == {"event"}
    assert {r["operation"] for r in told} == {
        "write",
        "setattr",
        "rename",
        "delete",
    }
    written = [r for r in told if r["operation"] == "write"]
    assert [r.get("detail", {}).get("count", 1) for r in written] == [1, 50]
    assert len(told) <= 2 * 4


def test_the_writer_meets_its_dropped_file_again_for_a_minute(house: House) -> None:
    """MacOS makes the file empty, reads it back and writes it a second time."""
    view, path = house.view(), "/shared/dropping/._x"
    put(view, path, b"12345")

    again = view.open_read(path)
    assert again.read_at(0, 9) == b"12345"
    again.close()
    edited = view.open_write(path, Disposition(read=True))
    edited.write_at(5, b"6")
    assert edited.entry.size == 6
    edited.close()
    assert view.stat(path).size == 6
    put(view, path, bytes(65537))
    assert view.stat(path).size == 65537
    with pytest.raises(NotFoundError):
        view.open_read(path)
    with pytest.raises(NotFoundError):
        view.open_write(f"{path}y", Disposition(read=True))


def test_nothing_real_is_ever_dropped(house: House) -> None:
    """What stood before, or gets such a name by a rename, is a file like others."""
    view, top = house.view(), "/shared/dropping"
    put(view, f"{top}/deed", b"deed")
    (disk(house, "dropping") / "._old").write_bytes(b"old")

    put(view, f"{top}/._old", b"newer")
    view.rename(f"{top}/deed", f"{top}/._deed", overwrite=False)
    view.copy(f"{top}/._deed", f"{top}/._copy", overwrite=False)

    kept = {path.name: path.read_bytes() for path in disk(house, "dropping").iterdir()}
    assert kept == {"._old": b"newer", "._deed": b"deed", "._copy": b"deed"}
    assert names(view, top) == set()
    view.delete(f"{top}/._deed")
    outcome = house.records()[-1]
    assert (outcome["operation"], outcome["outcome"]) == ("delete", "done")


def test_another_login_does_not_see_what_was_dropped(house: House) -> None:
    """It was shown to the one who wrote it, and to nobody else."""
    put(house.view("mfp"), "/shared/dropping/._x")

    with pytest.raises(NotFoundError):
        house.view().stat("/shared/dropping/._x")
    assert house.view("mfp").stat("/shared/dropping/._x").size == 1


def test_a_cut_write_of_a_dropped_file_leaves_nothing(house: House) -> None:
    """The connection may go in the middle; there is nothing to abort on record."""
    view = house.view()
    file = view.open_write("/shared/dropping/._x", NEW)
    file.write_at(0, b"half")

    view.close()

    assert not list((house.folder / "data" / "c" / ".stage").iterdir())
    assert {r["phase"] for r in house.records()} == {"event"}
    with pytest.raises(NotFoundError):
        house.view().stat("/shared/dropping/._x")


def test_private_folders_obey_the_settings(tmp_path: Path) -> None:
    """There is no row for each private folder that an administrator could change."""
    rules = StorageSettings(private_case="collide", private_mac_files="drop")
    with open_house(tmp_path, rules=rules) as house:
        view = house.view()
        put(view, "/private/readme")
        put(view, "/private/.DS_Store")

        with pytest.raises(NameCollisionError):
            put(view, "/private/README")
        put(view, "/shared/team/.DS_Store")

        assert names(view, "/private") == {"readme"}
        assert [path.name for path in house.private().iterdir()] == ["readme"]
        assert names(view, "/shared/team") == {".DS_Store"}


def test_a_dropped_file_counts_in_the_quota_while_it_is_open(tmp_path: Path) -> None:
    """Else anybody could fill the disk under such a name, and nobody would see it."""
    rules = StorageSettings(private_mac_files="drop")
    accounts = accounts_with(login=Quota(bytes=1000))
    with metered_house(tmp_path, accounts, rules=rules) as (house, metered):
        view = house.view()
        file = view.open_write("/private/._x", NEW)
        file.write_at(0, b"x" * 900)
        with pytest.raises(QuotaRefusedError):
            file.write_at(900, b"x" * 101)
        with pytest.raises(QuotaRefusedError):
            file.close()
        put(view, "/private/._x", b"x" * 900)

        put(view, "/private/a", b"x" * 1000)

        assert metered.wrong() == []
        assert not list((house.folder / "data" / "c" / ".stage").iterdir())
