"""The store on a real disk: confined, and never losing an old file."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.model.errors import (
    ExistsError,
    IsFolderError,
    LinkRefusedError,
    NotEmptyError,
    NotFolderError,
    NotFoundError,
    PathRefusedError,
    ServerError,
    StorageFailedError,
)
from server.storage.disk import Disk
from server.storage.leftovers import LocalLeftovers
from server.storage.local import LocalStorage
from server.storage.port import Changes, Location, Root

ROOT = Root("c", "private", "l")


def at(*parts: str) -> Location:
    return Location(ROOT, parts)


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    disk = Disk(tmp_path / "data", sync=True, openat2=request.param)
    yield disk
    disk.close()


@pytest.fixture
def storage(disk: Disk) -> LocalStorage:
    storage = LocalStorage(disk)
    storage.prepare(ROOT)
    return storage


@pytest.fixture
def folder(tmp_path: Path, storage: LocalStorage) -> Path:
    return tmp_path / "data" / "c" / "private" / "l"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(storage: LocalStorage, act: str, name: str, content: bytes) -> None:
    file = storage.stage("c", act)
    file.write_at(0, content)
    file.close()
    storage.publish(act, at(name), replace=True)


def test_a_replaced_file_goes_to_the_trash_and_bears_no_mark_of_the_new(
    disk: Disk, storage: LocalStorage, tmp_path: Path
) -> None:
    """An overwrite destroys nothing, and recovery knows whose file stands."""
    put(storage, "ACT1", "a", b"old")
    put(storage, "ACT2", "a", b"new")

    leftovers = LocalLeftovers(disk)
    assert (tmp_path / "data/c/private/l/a").read_bytes() == b"new"
    assert (tmp_path / "data/c/.trash/ACT2").read_bytes() == b"old"
    assert leftovers.published_by(at("a"), "ACT2")
    assert not leftovers.published_by(at("a"), "ACT1")
    assert not leftovers.staged("c", "ACT2")


@pytest.mark.parametrize("name", ["link", "folder_link", "pipe"])
def test_a_planted_link_or_pipe_leads_nowhere(
    storage: LocalStorage, folder: Path, tmp_path: Path, name: str
) -> None:
    """Nothing outside the store can be read or changed through what lies in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "link").symlink_to(outside / "secret")
    (folder / "folder_link").symlink_to(outside)
    os.mkfifo(folder / "pipe")

    with pytest.raises((LinkRefusedError, NotFoundError, NotFolderError)):
        storage.open(at(name), write=False)
    with pytest.raises((LinkRefusedError, NotFoundError, NotFolderError)):
        storage.open(at(name), write=True)
    with pytest.raises((LinkRefusedError, NotFoundError, NotFolderError)):
        storage.change(at(name), Changes(mode=0o777))
    with pytest.raises((LinkRefusedError, NotFolderError)):
        storage.open(at(name, "secret"), write=False)
    with pytest.raises((LinkRefusedError, NotFolderError)):
        storage.create(at(name, "new"))
    assert name not in dict(storage.scan(at()))
    assert (outside / "secret").read_text() == "secret"
    assert names(outside) == ["secret"]


def test_a_copied_tree_leaves_links_out(storage: LocalStorage, folder: Path) -> None:
    """A copy must not bring in what lies outside."""
    storage.make_folder(at("tree"))
    storage.create(at("tree", "file")).close()
    (folder / "tree" / "link").symlink_to("/etc/passwd")

    storage.copy(at("tree"), "ACT", deep=True, to=at("copy"))
    storage.publish("ACT", at("copy"), replace=False)

    assert [name for name, _ in storage.scan(at("copy"))] == ["file"]
    assert not os.path.lexists(folder / "copy" / "link")


def test_a_rename_without_leave_to_replace_finds_the_target_taken(
    storage: LocalStorage, folder: Path
) -> None:
    """SSH_FXP_RENAME must not overwrite (filexfer-02, section 6.5)."""
    storage.create(at("a")).close()
    storage.create(at("b")).close()

    with pytest.raises(ExistsError):
        storage.rename("ACT", at("a"), at("b"), replace=False)

    assert names(folder) == ["a", "b"]


def test_a_replaced_tree_goes_to_the_trash_whole(
    storage: LocalStorage, folder: Path, tmp_path: Path
) -> None:
    """A MOVE over a folder destroys nothing below it."""
    storage.make_folder(at("old"))
    storage.create(at("old", "file")).close()
    storage.make_folder(at("new"))

    storage.rename("ACT", at("new"), at("old"), replace=True)

    assert (tmp_path / "data/c/.trash/ACT/file").exists()
    assert names(folder) == ["old"]
    assert names(folder / "old") == []


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda s: s.open(at("none"), write=False), NotFoundError),
        (lambda s: s.create(at("file")), ExistsError),
        (lambda s: s.create(at("none", "x")), NotFoundError),
        (lambda s: s.create(at("file", "x")), NotFolderError),
        (lambda s: s.make_folder(at("folder")), ExistsError),
        (lambda s: s.remove_folder(at("folder")), NotEmptyError),
        (lambda s: s.open(at("folder"), write=True), IsFolderError),
        (lambda s: s.trash("ACT", at()), PathRefusedError),
        (lambda s: s.change(at("folder"), Changes(size=0)), IsFolderError),
        (
            lambda s: s.rename("A", at("folder"), at("folder", "x"), replace=False),
            NotFolderError,
        ),
    ],
    ids=range(10),
)
def test_each_kernel_error_becomes_the_error_that_fits(
    storage: LocalStorage, act: object, error: type[ServerError]
) -> None:
    """Front ends answer by the class of the error."""
    storage.create(at("file")).close()
    storage.make_folder(at("folder"))
    storage.create(at("folder", "inside")).close()

    with pytest.raises(error):
        act(storage)  # type: ignore[operator]  # a function of the store


def test_only_permission_bits_are_set_and_the_owner_keeps_his(
    storage: LocalStorage, folder: Path
) -> None:
    """No set-user-id file, and none that the daemon itself cannot read any more."""
    storage.create(at("file")).close()

    storage.change(at("file"), Changes(mode=0o6000, mtime_ns=5_000_000_000))

    status = (folder / "file").stat()
    assert status.st_mode & 0o7777 == 0o600
    assert status.st_mtime_ns == 5_000_000_000


def test_truncating_keeps_what_stands_before_the_new_end(
    storage: LocalStorage, folder: Path
) -> None:
    """Stock paramiko's own helper zeroes the file (its issue 2368)."""
    file = storage.create(at("file"))
    file.write_at(0, b"ABCDEFGHIJ")

    file.change(Changes(size=5))
    file.close()

    assert (folder / "file").read_bytes() == b"ABCDE"


def test_a_disk_without_extended_attributes_is_refused_in_words(disk: Disk) -> None:
    """Recovery could not tell a stored upload from a cut one (ADR 0006)."""
    disk.require_marks()

    unfit = Disk(Path("/proc/self"), sync=False)
    with closing(unfit), pytest.raises(StorageFailedError, match="extended attributes"):
        unfit.require_marks()
