"""Dead properties: kept as they were given, and wherever their file goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.model.errors import LimitError, StorageFailedError
from server.model.path import VirtualPath
from server.storage.local import LocalStorage
from server.storage.port import Changes, Location
from server.vfs.guard import NO_TOKENS
from server.vfs.trash import Whose, Wish
from server.vfs.view import View
from tests.support.house import House, open_house
from tests.support.restoring import index, restoring

NAME = "{urn:mine}x"
XML = '<x xmlns="urn:mine">1</x>'


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def view(house: House) -> View:
    view = house.view()
    for path in ("/private/dir", "/private/dir/sub", "/private/dir2"):
        view.make_folder(path)
    for path in ("/private/dir/a", "/private/dir/sub/b", "/private/dir2/c"):
        view.upload(path).commit()
        tell(view, path, path)
    tell(view, "/private/dir", "/private/dir")
    return view


def tell(view: View, path: str, value: str | None) -> None:
    view.properties.change(path, {NAME: value}, Changes(), NO_TOKENS)


def told(view: View, path: str) -> str | None:
    return view.properties.at(VirtualPath.parse(path)).get(NAME)


def test_a_folders_properties_come_with_one_question(view: View) -> None:
    """A listing of ten thousand files cannot ask for each of them."""
    found = view.properties.of_members(VirtualPath.parse("/private/dir"))

    assert found == {"": {NAME: "/private/dir"}, "a": {NAME: "/private/dir/a"}}


def test_properties_follow_a_renamed_folder(view: View) -> None:
    """Over SFTP too; what has a name that merely begins alike stays as it is."""
    view.rename("/private/dir", "/shared/team/x", overwrite=False)

    assert told(view, "/shared/team/x") == "/private/dir"
    assert told(view, "/shared/team/x/sub/b") == "/private/dir/sub/b"
    assert told(view, "/private/dir2/c") == "/private/dir2/c"
    assert told(view, "/private/dir/a") is None


def test_properties_are_copied_and_each_copy_has_its_own(view: View) -> None:
    """RFC 4918, section 9.8.2."""
    view.copy("/private/dir", "/private/copy", overwrite=False)
    tell(view, "/private/dir/a", None)

    assert told(view, "/private/copy/sub/b") == "/private/dir/sub/b"
    assert told(view, "/private/copy/a") == "/private/dir/a"
    view.copy("/private/dir", "/private/flat", overwrite=False, deep=False)
    assert told(view, "/private/flat") == "/private/dir"


def test_a_new_file_under_an_old_name_has_none(view: View) -> None:
    """They belonged to what was deleted, or was replaced by a rename."""
    view.delete("/private/dir/a")
    view.upload("/private/dir/a").commit()
    assert told(view, "/private/dir/a") is None

    view.rename("/private/dir/a", "/private/dir2/c", overwrite=True)
    assert told(view, "/private/dir2/c") is None


def test_new_content_leaves_them(view: View) -> None:
    """RFC 4918, section 9.7.1: a PUT does not touch what a client said of the file."""
    upload = view.upload("/private/dir/a")
    upload.write(b"new")
    upload.commit()

    assert told(view, "/private/dir/a") == "/private/dir/a"


def test_a_folder_out_of_the_trash_has_them_again(house: House, view: View) -> None:
    """They go to the trash with it, and come back with it or with a part of it."""
    view.delete_tree("/private/dir")
    index(house)

    with restoring(house) as (trash, _):
        (entry,) = trash.list(Whose())
        trash.restore_entry(str(entry["entry"]), Whose(), Wish())

    assert told(view, "/private/dir/sub/b") == "/private/dir/sub/b"


class Unchanging(LocalStorage):
    """A disk that sets no attributes."""

    def change(self, at: Location, changes: Changes) -> None:
        raise StorageFailedError(f"{at} does not take {changes}")


def test_all_of_an_update_is_done_or_nothing(tmp_path: Path) -> None:
    """RFC 4918, section 9.2: the times could not be set, so nothing else is either."""
    with open_house(tmp_path, storage=Unchanging) as house:
        view = house.view()
        view.upload("/private/a").commit()
        with pytest.raises(StorageFailedError):
            view.properties.change(
                "/private/a", {NAME: XML}, Changes(mtime_ns=1), NO_TOKENS
            )

        assert told(view, "/private/a") is None


def test_their_number_and_length_are_bounded(view: View) -> None:
    """They are no place to keep files in."""
    many = {f"{{urn:mine}}{n}": "1" for n in range(101)}
    for values in (many, {NAME: "x" * 65536}):
        with pytest.raises(LimitError):
            view.properties.change("/private/dir/a", values, Changes(), NO_TOKENS)

    assert told(view, "/private/dir/a") == "/private/dir/a"
