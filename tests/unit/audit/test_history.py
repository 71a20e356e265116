"""A file's history: followed through renames of the file and of folders above it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.history import SeveralFilesError
from server.audit.query import Query
from server.audit.stats import By
from server.model.errors import NotFoundError
from server.model.event import Fields
from tests.support.library import Library
from tests.support.trail import event


class Office(Library):
    """A trail told act by act; each has a number that its records bear."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        self.number = 0

    def act(self, operation: str, path: str, **facts: object) -> str:
        """One act, whole."""
        self.number += 1
        fields = {**event(self.number), "operation": operation, "path": path, **facts}
        self.write([Fields(**fields)])  # type: ignore[typeddict-item]  # the test's own
        return f"act-{self.number}"

    def begin(self, operation: str, path: str, **facts: object) -> Fields:
        """An act's intent; the facts are for `end`."""
        self.number += 1
        fields = Fields(
            **{**event(self.number), "operation": operation, "path": path, **facts}  # type: ignore[typeddict-item]  # the test's own
        )
        del fields["outcome"]
        self.write([{**fields, "phase": "intent"}])
        return fields

    def end(self, begun: Fields) -> str:
        """The outcome of an act that was begun, told now."""
        self.write([{**begun, "phase": "outcome", "outcome": "done"}])
        return str(begun["act"])

    def rename(self, path: str, target: str, outcome: str = "done") -> str:
        """A file's rename."""
        return self.act("rename", path, target=target, outcome=outcome)

    def move_folder(
        self, path: str, target: str, files: list[str], outcome: str = "done"
    ) -> str:
        """A folder's rename: a record for each file below, then the outcome."""
        self.number += 1
        act: Fields = {**event(self.number), "operation": "rename"}
        del act["outcome"]
        children: list[Fields] = [
            {
                **act,
                "phase": "progress",
                "path": f"{path}/{file}",
                "target": f"{target}/{file}",
            }
            for file in files
        ]
        whole: Fields = {**act, "path": path, "target": target}
        self.write([
            {**whole, "phase": "intent"},
            *children,
            {**whole, "phase": "outcome", "outcome": outcome},
        ])
        return f"act-{self.number}"

    def history(self, path: str, **whose: str) -> list[str]:
        """The acts of a file's history."""
        self.record()
        return [str(row["act"]) for row in self.reader.history(path, **whose)]


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    """On SQLite and on PostgreSQL."""
    opened = Office(tmp_path, database_url)
    yield opened
    opened.close()


def test_a_history_goes_back_and_on_through_renames(office: Office) -> None:
    """Whichever of its names is known, the whole life of the file is told."""
    acts = [
        office.act("write", "/shared/tax/draft.xls"),
        office.rename("/shared/tax/draft.xls", "/shared/tax/2026.xls"),
        office.act("read", "/shared/tax/2026.xls", protocol="webdav", login="bob"),
        office.rename("/shared/tax/2026.xls", "/shared/done/2026.xls"),
        office.act("delete", "/shared/done/2026.xls"),
    ]
    office.act("write", "/shared/tax/other.xls")

    for name in ("tax/draft.xls", "tax/2026.xls", "done/2026.xls"):
        assert office.history(f"/shared/{name}") == acts


def test_a_history_follows_folders_renamed_above_it(office: Office) -> None:
    """Who renames a year's folder must not end the history of what is in it."""
    acts = [
        office.act("write", "/shared/a/b/x"),
        office.move_folder("/shared/a", "/shared/c", ["b/x", "y"]),
        office.act("read", "/shared/c/b/x"),
        office.move_folder("/shared/c/b", "/shared/d", ["x"]),
        office.act("read", "/shared/d/x"),
    ]

    assert office.history("/shared/d/x") == acts
    assert office.history("/shared/a/b/x") == acts
    assert [row.get("act_outcome") for row in office.reader.history("/shared/d/x")] == [
        None,
        "done",
        None,
        "done",
        None,
    ]


def test_another_file_of_the_old_name_is_not_mixed_in(office: Office) -> None:
    """A name is used every month; the time in which it was the file's counts."""
    before = office.act("write", "/shared/in/scan.pdf")
    away = office.rename("/shared/in/scan.pdf", "/shared/old/1.pdf")
    acts = [
        office.act("write", "/shared/in/scan.pdf"),
        office.rename("/shared/in/scan.pdf", "/shared/old/2.pdf"),
        office.act("read", "/shared/old/2.pdf"),
    ]
    office.act("write", "/shared/in/scan.pdf")

    assert office.history("/shared/old/2.pdf") == acts
    assert office.history("/shared/old/1.pdf") == [before, away]


def test_a_download_that_outlasts_its_file_is_part_of_the_history(
    office: Office,
) -> None:
    """Who deletes a file while it is read must not hide who read it."""
    written = office.act("write", "/shared/in/scan.pdf")
    moved = office.rename("/shared/in/scan.pdf", "/shared/old/2.pdf")
    reading = office.begin("read", "/shared/old/2.pdf", login="bob")
    deleted = office.act("delete", "/shared/old/2.pdf")
    office.act("write", "/shared/old/2.pdf")
    office.end(office.begin("read", "/shared/old/2.pdf"))
    read = office.end(reading)

    assert office.history("/shared/in/scan.pdf") == [written, moved, deleted, read]


def test_a_deleted_namesake_is_not_mixed_in(office: Office) -> None:
    """What was deleted before the file came is not its past."""
    office.act("write", "/shared/in/scan.pdf")
    office.act("delete", "/shared/in/scan.pdf")
    acts = [
        office.act("write", "/shared/in/scan.pdf"),
        office.rename("/shared/in/scan.pdf", "/shared/old/2.pdf"),
    ]

    assert office.history("/shared/old/2.pdf") == acts


def test_saving_by_a_rename_keeps_the_history(office: Office) -> None:
    """Office programs write beside and rename into place, over what was there."""
    acts = [
        office.act("write", "/shared/doc"),
        office.act("write", "/shared/~1"),
        office.rename("/shared/~1", "/shared/doc"),
        office.act("write", "/shared/~1"),
        office.rename("/shared/~1", "/shared/doc"),
        office.act("read", "/shared/doc"),
    ]

    assert office.history("/shared/doc") == acts


def test_what_was_not_done_moves_nothing(office: Office) -> None:
    """A refused or failed rename belongs to the history, but leads nowhere."""
    acts = [
        office.act("write", "/shared/a/x"),
        office.rename("/shared/a/x", "/shared/b/x", outcome="refused"),
        office.move_folder("/shared/a", "/shared/c", ["x"], outcome="failed"),
        office.act("read", "/shared/a/x", outcome="refused"),
    ]
    office.act("write", "/shared/b/x")
    office.act("write", "/shared/c/x")

    assert office.history("/shared/a/x") == acts


def test_a_circle_of_renames_ends(office: Office) -> None:
    """Two names that change places again and again are told once each."""
    acts = [office.act("write", "/shared/a")]
    for _ in range(20):
        acts.append(office.rename("/shared/a", "/shared/b"))
        acts.append(office.rename("/shared/b", "/shared/a"))

    assert office.history("/shared/a") == acts
    assert office.history("/shared/b") == acts


def test_private_files_of_one_name_are_told_apart(office: Office) -> None:
    """`/private/a` is another file for each login."""
    alices = office.act("write", "/private/a")
    bobs = office.act("write", "/private/a", login="bob")

    with pytest.raises(SeveralFilesError, match="alice@main, bob@main"):
        office.history("/private/a")
    assert office.history("/private/a", login="alice") == [alices]
    assert office.history("/private/a", login="bob", contract="main") == [bobs]


def test_a_file_that_leaves_private_takes_its_history_along(office: Office) -> None:
    """The path before was of the login that moved it, not of its namesakes."""
    office.act("write", "/private/a")
    acts = [
        office.act("write", "/private/a", login="bob"),
        office.act("rename", "/private/a", target="/shared/a", login="bob"),
    ]

    assert office.history("/shared/a") == acts


def test_contracts_are_told_apart(office: Office) -> None:
    """A contract's auditor sees that contract alone."""
    mine = office.act("write", "/shared/a")
    office.act("write", "/shared/a", contract="other")

    with pytest.raises(SeveralFilesError):
        office.history("/shared/a")
    assert office.history("/shared/a", contract="main") == [mine]
    with pytest.raises(NotFoundError):
        office.history("/shared/a", contract="third")


def test_a_person_is_told_by_sessions_files_and_volumes(office: Office) -> None:
    """The question of every inquiry: what did this person take?"""
    office.act("login", "", session="s1")
    office.act("read", "/shared/tax/a", bytes=100, session="s1")
    office.act("read", "/shared/tax/a", bytes=50, session="s1")
    office.act("write", "/private/b", bytes=7, session="s1")
    office.act("read", "/shared/law/c", outcome="refused", session="s1")
    office.act("read", "/shared/tax/a", bytes=1000, login="bob")
    office.act("logout", "", session="s1", reason="quit")
    office.record()

    told = office.reader.person(Query(login="alice", contract="main"))

    (session,) = told["sessions"]  # type: ignore[misc, union-attr]  # JSON
    assert session["session"] == "s1"  # type: ignore[index, call-overload]
    files = {row["path"]: row for row in told["files"]}  # type: ignore[union-attr, index, call-overload]
    assert {path: row["bytes_read"] for path, row in files.items()} == {
        "/shared/tax/a": 150,
        "/private/b": 0,
    }
    folders = {row["folder"]: row for row in told["volumes"]}  # type: ignore[union-attr, index, call-overload]
    assert folders["/shared/tax"]["reads"] == 2
    assert folders["/private"]["bytes_written"] == 7
    assert told["total"]["bytes_read"] == 150  # type: ignore[index, call-overload]
    assert told["total"]["refused"] == 1  # type: ignore[index, call-overload]
    assert told["acts"] == 6


def test_acts_are_counted_once_each_by_whatever_is_asked(office: Office) -> None:
    """An intent and its outcome are one act."""
    office.move_folder("/shared/a", "/shared/b", ["x", "y"])
    for size in (5, 6):
        office.act("read", "/shared/b/x", bytes=size)
    office.act("read", "/shared/b/x", login="bob", outcome="refused")
    office.record()
    mine = Query(contract="main", session="01JSESSION")

    by_login = office.reader.stats(mine, [By.LOGIN])
    by_act = office.reader.stats(mine, [By.OPERATION, By.OUTCOME])
    by_day = office.reader.stats(mine, [By.DAY, By.HOUR])

    assert by_login == [
        {"login": "alice", "acts": 3, "bytes": 11},
        {"login": "bob", "acts": 1, "bytes": 0},
    ]
    assert [row["acts"] for row in by_act] == [2, 1, 1]
    assert sum(int(str(row["acts"])) for row in by_day) == 4
    assert str(by_day[0]["hour"]).startswith(str(by_day[0]["day"]))
