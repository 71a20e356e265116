"""Ways around rights, records and descriptors that once were open."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.model.errors import (
    IsFolderError,
    NotFoundError,
    PathRefusedError,
    RightsRefusedError,
    ServerError,
    StorageFailedError,
)
from server.model.lock import Scope
from server.model.operation import Operation, Right
from server.model.path import VirtualPath
from server.settings.schema import StorageSettings
from server.storage.file import LocalFile
from server.storage.local import LocalStorage
from server.storage.port import Changes, Location, StoredFile
from server.vfs.entry import Disposition
from server.vfs.locking import Wanted
from server.vfs.view import View
from tests.support import house as houses
from tests.support.house import ACCOUNTS, House, open_house

NEW = Disposition(create=True, truncate=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


def write(view: View, path: str, content: bytes) -> None:
    file = view.open_write(path, NEW)
    file.write_at(0, content)
    file.close()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_what_may_not_be_read_cannot_be_moved_to_where_it_may(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write and delete without read: a move to `/private` would be a way to read."""
    rights = Right.LIST | Right.WRITE | Right.DELETE
    grants = tuple(
        replace(grant, rights=rights) if grant.below == ("in",) else grant
        for grant in ACCOUNTS.grants
    )
    monkeypatch.setattr(houses, "ACCOUNTS", replace(ACCOUNTS, grants=grants))
    alice, bob = house.view(), house.view("bob")
    alice.make_folder("/shared/team/in")
    write(alice, "/shared/team/in/secret", b"secret")

    with pytest.raises(RightsRefusedError):
        bob.rename("/shared/team/in/secret", "/private/mine", overwrite=False)

    bob.rename("/shared/team/in/secret", "/shared/team/in/other", overwrite=False)
    assert house.records()[-1]["outcome"] == "done"


def test_a_depositor_owns_the_file_not_the_name_of_what_it_deposited(
    house: House,
) -> None:
    """Another scan that comes to lie under the same name is somebody else's."""
    alice, bob = house.view(), house.view("bob")
    alice.make_folder("/shared/team/in")
    write(bob, "/shared/team/in/scan", b"bob's")
    bob.rename("/shared/team/in/scan", "/shared/team/in/scan1", overwrite=False)
    write(alice, "/shared/team/in/scan", b"alice's")

    with pytest.raises(RightsRefusedError):
        bob.rename("/shared/team/in/scan", "/private/mine", overwrite=False)
    with pytest.raises(RightsRefusedError):
        write(bob, "/shared/team/in/scan", b"gone")
    with pytest.raises(RightsRefusedError):
        bob.set_attributes("/shared/team/in/scan", Changes(size=0))

    write(bob, "/shared/team/in/scan1", b"bob's again")


@pytest.mark.parametrize("copies", [True, False])
def test_each_file_of_a_replaced_folder_is_told(house: House, copies: bool) -> None:  # noqa: FBT001 - parametrised
    """They go to the trash by this act; "who removed it?" must find it."""
    view = house.view()
    view.make_folder("/private/old")
    view.make_folder("/private/old/deep")
    write(view, "/private/old/deep/file", b"12345")
    write(view, "/private/new", b"new")

    act = view.copy if copies else view.rename
    act("/private/new", "/private/old", overwrite=True)

    (told,) = [r for r in house.records() if r["phase"] == "progress"]
    assert told["path"] == "/private/old/deep/file"
    assert told["size"] == 5
    assert told["detail"]["replaced"] is True


def test_a_folder_is_not_replaced_where_the_protocol_does_not_say_so(
    house: House,
) -> None:
    """rename(2) gives EISDIR; a slip of the hand must not take a whole folder away."""
    view = house.view()
    view.make_folder("/private/folder")
    write(view, "/private/file", b"x")

    with pytest.raises(IsFolderError):
        view.rename("/private/file", "/private/folder", overwrite=True, folders=False)

    assert house.records()[-1]["outcome"] == "failed"


def test_nothing_is_moved_to_where_it_could_not_be_named(house: House) -> None:
    """Below 64 folders nothing can be reached, and copying would recurse for ever."""
    view = house.view()
    for top in ("a", "b"):
        path = f"/private/{top}"
        view.make_folder(path)
        for _ in range(40):
            path += "/d"
            view.make_folder(path)

    for act in (view.rename, view.copy):
        with pytest.raises(PathRefusedError):
            act("/private/a", "/private/b" + "/d" * 40 + "/a", overwrite=False)
        assert house.records()[-1]["rule"] == "path_depth"
    assert view.lookup("/private/a" + "/d" * 40, Operation.STAT) is not None


def test_every_change_of_an_open_file_is_told(house: House) -> None:
    """Cutting a file short and setting its time afterwards, as `put -p` does."""
    view = house.view()
    write(view, "/private/a", b"12345")
    file = view.open_write("/private/a", Disposition())
    file.change(Changes(size=1))
    file.change(Changes(mtime_ns=5_000_000_000))
    file.close()

    changes = house.records()[-1]["detail"]["changes"]
    assert changes == {"size": 1, "mtime_ns": "5000000000"}


def test_a_folder_that_is_opened_and_not_read_holds_no_descriptor(
    house: House,
) -> None:
    """A client that opens and closes folders would use all descriptors up."""
    view = house.view()
    view.make_folder("/private/a")
    view.list("/private/a")
    before = descriptors()
    for _ in range(20):
        view.list("/private/a")

    assert descriptors() == before


class Failing(LocalStorage):
    """A disk on which the last step of each kind fails."""

    error: BaseException = StorageFailedError("broken")

    def publish(
        self, act: str, at: Location, *, replace: bool, file: StoredFile | None = None
    ) -> None:
        """Fail where something is to be replaced."""
        if at.parts[-1] == "bad":
            raise self.error
        super().publish(act, at, replace=replace, file=file)

    def unstage(self, contract_id: str, act: str, *, quarantine: bool) -> None:
        """Clean up, and fail all the same."""
        super().unstage(contract_id, act, quarantine=quarantine)
        raise self.error


def test_an_open_that_fails_half_way_keeps_neither_descriptor_nor_stage(
    tmp_path: Path,
) -> None:
    """The truncating open stages an empty file and then moves it into place."""
    with open_house(tmp_path, storage=Failing) as house:
        view = house.view()
        view.open_write("/private/bad", NEW).close()
        before = descriptors()
        for _ in range(5):
            with pytest.raises(StorageFailedError):
                view.open_write("/private/bad", NEW)

        assert descriptors() == before
        assert list((tmp_path / "data" / "c" / ".stage").iterdir()) == []


def test_an_error_that_nobody_thought_of_ends_the_act_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An open intent would stay until the process ends; the log tells of one error."""
    monkeypatch.setattr(Failing, "error", ValueError("odd"))
    with open_house(tmp_path, storage=Failing) as house:
        upload = house.view().upload("/private/bad", length=1)
        upload.write(b"x")
        with pytest.raises(ValueError, match="odd"):
            upload.commit()

        ended = house.records()[-1]
        assert (ended["phase"], ended["outcome"]) == ("outcome", "failed")
        assert (ended["bytes"], ended["size"]) == (1, 1)
        assert "storage call failed" not in caplog.text


def test_one_file_that_cannot_be_aborted_does_not_keep_the_others_open(
    tmp_path: Path,
) -> None:
    """At the end of a session every handle is closed and every act told."""
    with open_house(tmp_path, storage=Failing) as house:
        view = house.view()
        view.make_folder("/private/first")
        before = descriptors()
        for name in ("a", "b", "c"):
            view.upload(f"/private/{name}")
        view.close()

        assert descriptors() == before
        ended = [r["outcome"] for r in house.records() if r["phase"] == "outcome"]
        assert ended == ["done"] + ["aborted"] * 3


@pytest.mark.parametrize(
    ("raw", "target", "expected"),
    [
        ("/private/none", "/private/new", "/private/new"),
        ("/private/a", "/shared/none/x", "/shared/none/x"),
        ("/private/a", "/private/what?", None),
    ],
)
def test_a_look_at_both_ends_tells_both_when_it_is_refused(
    house: House, raw: str, target: str, expected: str | None
) -> None:
    """The row names what was to be moved as its path, wherever the fault lay."""
    view = house.view()
    write(view, "/private/a", b"x")

    with pytest.raises((NotFoundError, RightsRefusedError, PathRefusedError)) as looked:
        view.lookup_both(raw, target, Operation.RENAME)
    with pytest.raises(ServerError) as renamed:
        view.rename(raw, target, overwrite=False)

    assert type(looked.value) is type(renamed.value)
    rows = [
        {k: r.get(k) for k in ("path", "target", "outcome", "reason", "rule", "detail")}
        for r in house.records()[-2:]
    ]
    assert rows[0] == rows[1]
    assert (rows[0]["path"], rows[0]["target"]) == (raw, expected)


def test_an_upload_takes_no_folder_away_that_was_made_meanwhile(house: House) -> None:
    """It would go to the trash with all below, told by no record."""
    view = house.view()
    upload = view.upload("/private/a", length=1)
    upload.write(b"x")
    view.make_folder("/private/a")

    with pytest.raises(IsFolderError):
        upload.commit()

    assert (house.private() / "a").is_dir()


def test_what_an_upload_replaces_is_judged_when_it_does(house: House) -> None:
    """An hour after its begin another file may stand there, or none."""
    view, judged = house.view(), list[bool]()
    upload = view.upload(
        "/private/a", length=0, judge=lambda _, entry: judged.append(entry is None)
    )
    write(view, "/private/a", b"new")
    upload.commit()

    assert judged == [True, False]


def test_a_file_whose_sync_failed_is_not_told_to_be_safe(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of lost pages once: the sync of the close succeeds again."""
    file = house.view().open_write("/private/a", NEW)
    file.write_at(0, b"lost")
    with monkeypatch.context() as disk:
        disk.setattr(LocalFile, "sync", broken)
        with pytest.raises(StorageFailedError):
            file.flush()

    with pytest.raises(StorageFailedError):
        file.close()
    assert house.records()[-1]["outcome"] == "failed"


def broken(file: LocalFile) -> None:
    """A disk that has just lost what was written."""
    raise StorageFailedError(f"{file.descriptor} was not written.")


def test_a_dropped_file_that_is_not_wanted_leaves_nothing_open(tmp_path: Path) -> None:
    """Finder asks for its `._` files by If-None-Match all the time."""

    def unwanted(*_: object) -> None:
        raise ValueError("unchanged")

    rules = StorageSettings(private_mac_files="drop")
    with open_house(tmp_path, rules=rules) as house:
        view = house.view()
        write(view, "/private/._a", b"x")
        before = descriptors()
        with pytest.raises(ValueError, match="unchanged"):
            view.open_read("/private/._a", unwanted)

        assert descriptors() == before
        assert list((tmp_path / "data" / "c" / ".stage").iterdir()) == []


def test_locks_and_properties_are_found_by_the_name_that_a_listing_tells(
    house: House,
) -> None:
    """Copied from a Mac by other ways, a file bears its accents apart."""
    name, view = "\u00e9", house.view()
    view.make_folder("/private/of")
    (house.private() / "of" / "e\u0301").write_bytes(b"x")
    raw, folder = f"/private/of/{name}", VirtualPath.parse("/private/of")
    view.properties.change(raw, {"{urn:a}b": "<x/>"}, Changes(), frozenset())
    view.locks.take(raw, Wanted(scope=Scope.EXCLUSIVE, deep=False), frozenset())

    assert [entry.name for entry in view.list("/private/of")] == [name]
    assert view.properties.of_members(folder)[name] == {"{urn:a}b": "<x/>"}
    assert name in view.locks.touched(folder)
