"""What is replaced is never lost: races, failing renames, and a crash among others."""

import errno
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.model.errors import StorageFailedError
from server.storage.confined import Confined
from server.vfs.entry import Disposition
from server.vfs.view import View
from tests.support.crash import KILLED, killed_after
from tests.support.house import House, open_house, read_records, recover

NEW = Disposition(create=True, truncate=True)
EVER = 1_000_000
ROUNDS = 60


def write(view: View, path: str, content: bytes) -> None:
    file = view.open_write(path, NEW)
    file.write_at(0, content)
    file.close()


def upload(view: View, path: str, content: bytes) -> None:
    received = view.upload(path, length=len(content))
    received.write(content)
    received.commit()


def kept(house: House) -> set[bytes]:
    """Every content that stands or lies in the trash."""
    top = house.folder / "data" / "c"
    files = (path for name in ("private", ".trash") for path in (top / name).rglob("*"))
    return {path.read_bytes() for path in files if path.is_file()}


def visible(house: House) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in house.private().iterdir()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


def test_of_two_who_replace_a_file_at_once_neither_is_lost(house: House) -> None:
    """The later one replaces the earlier one, which goes to the trash as any other."""
    barrier = threading.Barrier(2)
    sent: set[bytes] = {b"first"}
    write(house.view(), "/private/a", b"first")

    def work(name: str) -> None:
        view = house.view()
        for number in range(ROUNDS):
            content = f"{name} {number}".encode()
            sent.add(content)
            barrier.wait()
            upload(view, "/private/a", content)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sent <= kept(house)


def test_a_file_that_cannot_be_replaced_stands_as_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails in the last step: nothing was done, and the trash knows it too."""
    view = house.view()
    write(view, "/private/a", b"a")
    write(view, "/private/b", b"b")
    monkeypatch.setattr(os, "rename", _failing(os.rename, at=1))

    with pytest.raises(StorageFailedError):
        view.rename("/private/a", "/private/b", overwrite=True)

    assert (house.private() / "a").read_bytes() == b"a"
    assert (house.private() / "b").read_bytes() == b"b"
    assert house.leftovers.trashed_acts("c") == []


def test_a_folder_that_cannot_be_replaced_comes_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was moved aside already; the second move fails."""
    view = house.view()
    for name in ("a", "b"):
        view.make_folder(f"/private/{name}")
        write(view, f"/private/{name}/x", name.encode())
    monkeypatch.setattr(Confined, "rename_new", _failing(Confined.rename_new, at=2))

    with pytest.raises(StorageFailedError):
        view.copy("/private/a", "/private/b", overwrite=True)

    assert (house.private() / "b" / "x").read_bytes() == b"b"
    assert house.leftovers.trashed_acts("c") == []
    assert house.leftovers.staged_acts("c") == []


@pytest.mark.parametrize("login", ["alice", "mfp"])
def test_a_file_is_not_done_when_one_of_its_writes_failed(
    house: House, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """Clients close after a failed write, and the rest must not pass for the whole."""
    file = house.view(login).open_write("/private/a", NEW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _failing(os.pwrite, at=1))
        with pytest.raises(StorageFailedError):
            file.write_at(0, b"first")
    file.write_at(5, b"second")

    with pytest.raises(StorageFailedError):
        file.close()

    last = house.records()[-1]
    assert (last["outcome"], last["reason"]) == ("failed", "storage_failed")
    assert (house.private(login) / "a").exists() == (login == "alice")
    set_aside = list((house.folder / "data" / "c" / ".quarantine").iterdir())
    assert len(set_aside) == (login == "mfp")


def _failing(effect: Callable[..., object], *, at: int) -> Callable[..., object]:
    """The `at`-th call fails as a broken disk does."""
    calls = itertools.count(1)

    def failing(*arguments: object, **named: object) -> object:
        if next(calls) == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return effect(*arguments, **named)

    return failing


def _write_and_be_replaced(house: House) -> None:
    """A handle stays open while another session replaces the file."""
    writing = house.view().open_write("/private/a", NEW)
    writing.write_at(0, b"half")
    upload(house.view(), "/private/a", b"another's")
    os._exit(KILLED)


def _write_and_be_moved(house: House) -> None:
    writing = house.view().open_write("/private/a", NEW)
    writing.write_at(0, b"half")
    house.view().rename("/private/a", "/private/b", overwrite=False)
    os._exit(KILLED)


@pytest.mark.parametrize("act", [_write_and_be_replaced, _write_and_be_moved])
def test_recovery_leaves_what_others_did_since(
    tmp_path: Path, act: Callable[[House], None]
) -> None:
    """The trash holds the one copy of what was replaced first."""
    with open_house(tmp_path) as house:
        write(house.view(), "/private/a", b"the oldest")

    assert killed_after(EVER, tmp_path, act)
    with open_house(tmp_path) as house:
        before = visible(house)
        recover(house)

        assert visible(house) == before
        assert {b"the oldest", b"half"} <= kept(house)


def test_recovery_goes_on_where_the_files_have_gone(tmp_path: Path) -> None:
    """An administrator removed the contract, or moved a folder: the daemon starts."""
    with open_house(tmp_path) as house:
        house.view().make_folder("/private/x")
        write(house.view(), "/private/x/a", b"old")

    assert killed_after(EVER, tmp_path, _leave_all_open)
    with open_house(tmp_path) as house:
        house.leftovers.erase("c")
        recover(house)

    ends = [r["outcome"] for r in read_records(tmp_path) if r.get("recovered")]
    assert ends == ["aborted", "aborted", "unknown"]


def test_recovery_goes_on_where_a_file_stands_for_a_folder(tmp_path: Path) -> None:
    """What an open handle was opened on may be something else by now."""
    with open_house(tmp_path) as house:
        house.view().make_folder("/private/x")
        write(house.view(), "/private/x/a", b"old")

    assert killed_after(EVER, tmp_path, _leave_all_open)
    shutil.rmtree(tmp_path / "data" / "c" / "private" / "l-alice" / "x")
    (tmp_path / "data" / "c" / "private" / "l-alice" / "x").write_bytes(b"")
    with open_house(tmp_path) as house:
        recover(house)

    ends = [r["outcome"] for r in read_records(tmp_path) if r.get("recovered")]
    assert ends == ["aborted", "aborted", "unknown"]


def _leave_all_open(house: House) -> None:
    view = house.view()
    view.open_write("/private/x/a", NEW)
    view.upload("/private/x/a")
    view.open_read("/private/x/a")
    os._exit(KILLED)
