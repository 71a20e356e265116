"""Quotas are exact: never above, never refused too early, and the counters agree."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from server.model.errors import QuotaRefusedError, ServerError
from server.model.quota import NO_QUOTA, Quota, Usage, parse_size, size_words
from server.storage.port import Changes
from server.vfs.entry import Disposition
from server.vfs.handle import OpenFile
from server.vfs.view import View
from tests.support.quotas import accounts_with, metered_house

NEW = Disposition(create=True, truncate=True)
APPEND = Disposition(create=True, append=True)
CHANGE = Disposition(create=True)
KIB = 1024
ALL = accounts_with(
    login=Quota(bytes=40 * KIB, files=12),
    folder=Quota(bytes=30 * KIB, files=10),
    contract=Quota(bytes=90 * KIB, files=60),
)


def put(view: View, path: str, length: int, *, told: bool = True) -> None:
    upload = view.upload(path, length=length if told else None)
    upload.write(b"u" * length)
    upload.commit()


def write(view: View, path: str, length: int, disposition: Disposition = NEW) -> None:
    file = view.open_write(path, disposition)
    try:
        for _ in range(4):
            file.write_at(
                0 if disposition.append else length // 4, b"w" * (length // 4)
            )
    except ServerError:
        with suppress(ServerError):
            file.close()
        raise
    file.close()


class Chance:
    """Random acts of Alice in her own folder and in the team's."""

    def __init__(self, view: View, seed: int) -> None:
        self.view = view
        self.random = random.Random(seed)  # noqa: S311 - a repeatable run
        self.open: list[OpenFile] = []

    def path(self) -> str:
        top = self.random.choice(("/private", "/shared/team"))
        inside = self.random.choice(("", "", "/d", "/e"))
        return f"{top}{inside}/{self.random.choice('abc')}"

    def folder(self) -> str:
        top = self.random.choice(("/private", "/shared/team"))
        return top + self.random.choice(("/d", "/e"))

    def size(self) -> int:
        return self.random.choice((0, 1, 100, 4 * KIB, 9 * KIB, 20 * KIB))

    def step(self) -> None:
        """One act; a refusal of any kind is an answer too."""
        with suppress(ServerError):
            self.random.choice(self._acts())()

    def _acts(self) -> list[Callable[[], object]]:
        view, path, size = self.view, self.path, self.size
        return [
            lambda: put(view, path(), size()),
            lambda: put(view, path(), size(), told=False),
            lambda: write(view, path(), size()),
            lambda: write(view, path(), size(), APPEND),
            lambda: write(view, path(), size(), CHANGE),
            lambda: view.make_folder(self.folder()),
            lambda: view.remove_folder(self.folder()),
            lambda: view.delete(path()),
            lambda: view.delete_tree(self.folder()),
            lambda: view.rename(path(), path(), overwrite=True),
            lambda: view.rename(self.folder(), self.folder(), overwrite=True),
            lambda: view.copy(path(), path(), overwrite=True),
            lambda: view.copy(self.folder(), self.folder(), overwrite=True),
            lambda: view.set_attributes(path(), Changes(size=size())),
            lambda: self.open.append(view.open_write(path(), CHANGE)),
            lambda: self._on_open(lambda f: f.write_at(size(), b"x" * 500)),
            lambda: self._on_open(lambda f: f.change(Changes(size=size()))),
            lambda: self._on_open(self._close),
            lambda: self._on_open(self._close),
        ]

    def _on_open(self, act: Callable[[OpenFile], object]) -> None:
        if self.open:
            act(self.random.choice(self.open))

    def _close(self, file: OpenFile) -> None:
        self.open.remove(file)
        file.close()


@pytest.mark.parametrize("seed", range(6))
def test_counters_agree_with_the_disk_after_every_act(
    tmp_path: Path, seed: int
) -> None:
    """Two folders and their contract, with handles open in between."""
    with metered_house(tmp_path, ALL) as (house, metered):
        chance = Chance(house.view(), seed)
        for step in range(150):
            chance.step()
            assert metered.wrong() == [], step
            assert metered.over() == [], step
        while chance.open:
            with suppress(ServerError):  # one of its writes was refused
                chance._close(chance.open[0])
            assert metered.wrong() == []
        for scope in metered.scopes:
            assert metered.used(scope.title) == metered.meter.on_disk(scope)


def test_an_upload_is_refused_before_its_first_byte(tmp_path: Path) -> None:
    """The length is known, so nobody sends a gigabyte in vain; the record says why."""
    quota = accounts_with(login=Quota(bytes=1000))
    with metered_house(tmp_path, quota) as (house, metered):
        put(house.view(), "/private/a", 900)

        with pytest.raises(QuotaRefusedError, match="quota_bytes"):
            house.view().upload("/private/b", length=101)

        last = house.records()[-1]
        assert (last["outcome"], last["stage"]) == ("refused", "quota")
        assert (last["rule"], last["phase"]) == ("quota_bytes", "outcome")
        put(house.view(), "/private/b", 100)
        put(house.view(), "/private/a", 900)  # what it replaces counts for it
        assert metered.used("alice@main") == Usage(1000, 2)


def test_what_is_written_beyond_the_quota_is_refused_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    """The first bytes are a file that can be resumed; what was reserved comes back."""
    quota = accounts_with(folder=Quota(bytes=10 * KIB))
    with metered_house(tmp_path, quota) as (house, metered):
        view = house.view()
        file = view.open_write("/shared/team/a", NEW)
        file.write_at(0, b"x" * 8 * KIB)
        with pytest.raises(QuotaRefusedError):
            file.write_at(8 * KIB, b"x" * 3 * KIB)
        with pytest.raises(QuotaRefusedError):
            file.close()

        assert view.stat("/shared/team/a").size == 8 * KIB
        assert metered.used("main/team") == Usage(8 * KIB, 1)
        write(view, "/private/b", 50 * KIB)  # no quota there


def test_a_hole_and_a_longer_size_count_as_what_they_claim(tmp_path: Path) -> None:
    """A sparse file may be filled later, by writes that then are not asked."""
    quota = accounts_with(login=Quota(bytes=1000))
    with metered_house(tmp_path, quota) as (house, metered):
        view = house.view()
        write(view, "/private/a", 100)
        for change in (
            lambda: view.set_attributes("/private/a", Changes(size=1001)),
            lambda: view.open_write("/private/a", CHANGE).write_at(1000, b"x"),
        ):
            with pytest.raises(QuotaRefusedError):
                change()
        view.set_attributes("/private/a", Changes(size=1000))
        assert metered.used("alice@main") == Usage(1000, 1)


def test_folders_and_empty_files_count_as_files(tmp_path: Path) -> None:
    """A flood of nothing takes the store's inodes."""
    quota = accounts_with(login=Quota(files=3))
    with metered_house(tmp_path, quota) as (house, _):
        view = house.view()
        view.make_folder("/private/d")
        put(view, "/private/d/a", 0)
        write(view, "/private/b", 0)
        for act in (
            lambda: view.make_folder("/private/e"),
            lambda: put(view, "/private/c", 0),
            lambda: write(view, "/private/c", 4),
            lambda: view.copy("/private/d", "/private/f", overwrite=False),
        ):
            with pytest.raises(QuotaRefusedError, match="quota_files"):
                act()
        view.delete("/private/b")
        view.make_folder("/private/e")


def test_the_trash_counts_for_the_contract_and_not_for_the_login(
    tmp_path: Path,
) -> None:
    """Who deletes has room again; who overwrites for ever fills the contract."""
    quota = accounts_with(login=Quota(bytes=1000), contract=Quota(bytes=2500))
    with metered_house(tmp_path, quota) as (house, metered):
        view = house.view()
        put(view, "/private/a", 1000)
        view.delete("/private/a")
        put(view, "/private/a", 1000)
        view.delete("/private/a")
        assert metered.used("alice@main") == Usage()
        assert metered.used("main") == Usage(2000, 2)
        with pytest.raises(QuotaRefusedError, match="contract"):
            put(view, "/private/a", 501)


def test_a_warning_comes_once_for_each_share_that_is_reached(tmp_path: Path) -> None:
    """Not again at each file, but again after there was room."""
    quota = accounts_with(login=Quota(bytes=1000))
    with metered_house(tmp_path, quota) as (house, metered):
        view = house.view()
        for name, length in (("a", 790), ("b", 20), ("c", 20), ("d", 80), ("e", 40)):
            put(view, f"/private/{name}", length)
        assert metered.warned == [("alice@main", 80), ("alice@main", 90)]
        view.delete("/private/a")
        put(view, "/private/a", 790)
        assert metered.warned[2:] == [("alice@main", 90)]


def test_a_quota_that_is_set_during_a_transfer_counts_it_whole(tmp_path: Path) -> None:
    """The handle was opened when nobody counted."""
    with metered_house(tmp_path, accounts_with()) as (house, metered):
        view = house.view()
        file = view.open_write("/private/a", NEW)
        file.write_at(0, b"x" * 3000)
        metered.accounts = accounts_with(login=Quota(bytes=5000))
        assert metered.used("alice@main") == Usage(3000, 1)
        file.write_at(3000, b"x" * 1000)
        file.close()

        assert metered.used("alice@main") == Usage(4000, 1)


def test_room_is_what_the_quota_leaves(tmp_path: Path) -> None:
    """What `df` shows over sshfs, and the properties of RFC 4331 over WebDAV."""
    quota = accounts_with(login=Quota(bytes=64 * KIB, files=10))
    with metered_house(tmp_path, quota) as (house, _):
        view = house.view()
        put(view, "/private/a", 16 * KIB)
        space = view.space("/private")
        assert space.blocks * space.block_bytes == 64 * KIB
        assert space.blocks_free * space.block_bytes == 48 * KIB
        assert (space.files, space.files_free) == (10, 9)
        assert view.space("/shared/team").blocks_free > space.blocks_free


def test_without_quotas_nothing_is_kept(tmp_path: Path) -> None:
    """No counter, no lock, no file: who sets no quota pays for none."""
    with metered_house(tmp_path, accounts_with()) as (house, _):
        put(house.view(), "/private/a", 1000)
        write(house.view(), "/private/b", 1000)
        assert not (house.folder / "data" / "c" / ".quota").exists()


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("500M", 500 << 20), ("20 GiB", None), ("2tb", 2 << 40)],
)
def test_sizes_are_read_as_people_write_them(text: str, count: int | None) -> None:
    """1024 to a K, as `ls -h` and Explorer count."""
    if count is None:
        with pytest.raises(ValueError, match="no size"):
            parse_size(text)
    else:
        assert parse_size(text) == count
    assert size_words(1536) == "1.5 KiB"
    assert not NO_QUOTA
