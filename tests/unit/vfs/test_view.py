"""A view: what is allowed is done and recorded in order, what is not is recorded."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.model.errors import (
    AuditUnavailableError,
    DrainingError,
    ExistsError,
    HandleError,
    IncompleteUploadError,
    IsFolderError,
    LimitError,
    LinkRefusedError,
    NotFoundError,
    PathRefusedError,
    RightsRefusedError,
    ServerError,
    SessionCutError,
)
from server.model.operation import Operation
from server.storage.local import LocalStorage
from server.storage.port import Changes, Location
from server.vfs.entry import Disposition
from server.vfs.view import View
from tests.support.house import House, Record, open_house

NEW = Disposition(create=True, truncate=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


def write(view: View, path: str, content: bytes) -> None:
    file = view.open_write(path, NEW)
    file.write_at(0, content)
    file.close()


def told(record: Record, *fields: str) -> tuple[object, ...]:
    return tuple(record.get(field) for field in fields)


def test_a_write_is_intent_effect_outcome(house: House) -> None:
    """The intent stands before the file does, the outcome tells what it became."""
    write(house.view(), "/private/a.txt", b"hello")

    intent, outcome = house.records()
    assert told(intent, "phase", "operation", "path", "login", "line") == (
        "intent",
        "write",
        "/private/a.txt",
        "alice",
        None,
    )
    assert told(outcome, "phase", "outcome", "bytes", "size", "ranges") == (
        "outcome",
        "done",
        5,
        5,
        [[0, 5]],
    )
    assert outcome["sha256"].startswith("2cf24dba")
    assert intent["act"] == outcome["act"]


class NoEffect(LocalStorage):
    """Fails a test that gets as far as an effect."""

    def trash(self, act: str, at: Location) -> None:
        raise AssertionError(f"{act} reached the disk at {at}")


def test_nothing_is_done_when_the_intent_cannot_be_written(tmp_path: Path) -> None:
    """Fail closed: without a record there is no effect."""
    with open_house(tmp_path, storage=NoEffect) as house:
        view = house.view()
        write(view, "/private/a", b"x")
        house.journal.failed = True

        with pytest.raises(AuditUnavailableError):
            view.delete("/private/a")

        house.journal.failed = False


@pytest.mark.parametrize(
    ("login", "act", "error", "stage", "rule"),
    [
        (
            "alice",
            lambda v: v.delete("/private/../x"),
            PathRefusedError,
            "path",
            "dots",
        ),
        (
            "alice",
            lambda v: v.open_read("/shared/hidden/x"),
            RightsRefusedError,
            "rights",
            "no_grant",
        ),
        (
            "alice",
            lambda v: v.open_read("/shared/none/x"),
            RightsRefusedError,
            "rights",
            "no_folder",
        ),
        (
            "alice",
            lambda v: v.make_folder("/shared/new"),
            RightsRefusedError,
            "rights",
            "no_folder",
        ),
        (
            "alice",
            lambda v: v.upload("/shared"),
            RightsRefusedError,
            "rights",
            "no_write",
        ),
        (
            "alice",
            lambda v: v.delete_tree("/private"),
            RightsRefusedError,
            "rights",
            "fixed_folder",
        ),
        (
            "alice",
            lambda v: v.rename("/private", "/shared/team/p", overwrite=True),
            RightsRefusedError,
            "rights",
            "fixed_folder",
        ),
        (
            "alice",
            lambda v: v.rename("/private/a", "/private/a/b", overwrite=True),
            PathRefusedError,
            "path",
            "into_itself",
        ),
        (
            "alice",
            lambda v: v.refuse(Operation.SYMLINK, "/private/l", LinkRefusedError()),
            LinkRefusedError,
            "path",
            "no_links",
        ),
        (
            "bob",
            lambda v: v.list("/shared/team/secret"),
            RightsRefusedError,
            "rights",
            "no_list",
        ),
        (
            "bob",
            lambda v: v.open_read("/shared/team/in/x"),
            RightsRefusedError,
            "rights",
            "no_read",
        ),
        (
            "bob",
            lambda v: v.open_write("/shared/team/in/x", NEW),
            RightsRefusedError,
            "rights",
            "deposit_only",
        ),
        (
            "bob",
            lambda v: v.upload("/shared/team/out/x"),
            RightsRefusedError,
            "rights",
            "no_write",
        ),
        (
            "mfp",
            lambda v: v.open_read("/private/x"),
            RightsRefusedError,
            "rights",
            "no_read",
        ),
        (
            "mfp",
            lambda v: v.delete("/private/x"),
            RightsRefusedError,
            "rights",
            "no_delete",
        ),
        (
            "eve",
            lambda v: v.list("/private"),
            RightsRefusedError,
            "rights",
            "no_private",
        ),
    ],
    ids=range(16),
)
def test_a_refusal_is_one_record_with_stage_and_rule(
    house: House,
    login: str,
    act: Callable[[View], object],
    error: type[ServerError],
    stage: str,
    rule: str,
) -> None:
    """A refused act leaves its reason, and nothing else."""
    alice = house.view()
    write(alice, "/private/a", b"x")
    for folder in ("in", "out", "secret"):
        alice.make_folder(f"/shared/team/{folder}")
    write(alice, "/shared/team/in/x", b"x")
    before = len(house.records())

    with pytest.raises(error):
        act(house.view(login))

    (refused,) = house.records()[before:]
    assert told(refused, "phase", "outcome", "stage", "rule", "login") == (
        "event",
        "refused",
        stage,
        rule,
        login,
    )


def test_a_depositor_adds_and_renames_its_own_files_only(house: House) -> None:
    """Scanners upload under a temporary name and rename it."""
    house.view().make_folder("/shared/team/in")
    bob = house.view("bob")

    write(bob, "/shared/team/in/scan.tmp", b"page")
    bob.rename("/shared/team/in/scan.tmp", "/shared/team/in/scan.pdf", overwrite=False)

    assert [entry.name for entry in bob.list("/shared/team/in")] == ["scan.pdf"]
    with pytest.raises(RightsRefusedError):
        house.view("bob").rename(
            "/shared/team/in/scan.pdf", "/shared/team/in/x", overwrite=False
        )


def test_a_grant_below_shows_only_the_way_to_it(house: House) -> None:
    """Who has a grant on one subfolder does not learn the names beside it."""
    alice = house.view()
    for folder in ("in", "out", "secret"):
        alice.make_folder(f"/shared/team/{folder}")

    names = {entry.name for entry in house.view("bob").list("/shared/team")}

    assert names == {"in", "out"}
    assert [e.name for e in house.view("bob").list("/shared")] == ["team"]
    assert [e.name for e in house.view("eve").list("/")] == ["shared"]


def test_a_cut_overwrite_leaves_the_part_and_the_old_file_in_the_trash(
    house: House,
) -> None:
    """The partial file serves `reput`, and nothing old is destroyed."""
    view = house.view()
    write(view, "/private/a", b"old content")

    view.open_write("/private/a", NEW).write_at(0, b"ne")
    view.close()

    outcome = house.records()[-1]
    trash = house.folder / "data" / "c" / ".trash" / outcome["act"]
    assert told(outcome, "outcome", "reason") == ("aborted", "connection_lost")
    assert (house.private() / "a").read_bytes() == b"ne"
    assert trash.read_bytes() == b"old content"


def test_an_upload_that_ends_early_changes_nothing(house: House) -> None:
    """1,234 of 1,000,000 bytes must not become the file (wsgidav issue 6)."""
    view = house.view()
    write(view, "/private/a", b"old")
    upload = view.upload("/private/a", length=1_000_000)
    upload.write(b"x" * 1234)

    with pytest.raises(IncompleteUploadError):
        upload.commit()

    assert told(house.records()[-1], "outcome", "reason", "bytes") == (
        "aborted",
        "incomplete_upload",
        1234,
    )
    assert (house.private() / "a").read_bytes() == b"old"
    assert list((house.folder / "data" / "c" / ".stage").iterdir()) == []


def test_a_cut_deposit_goes_to_quarantine(house: House) -> None:
    """A half scan is not shown as whole, and not thrown away either."""
    view = house.view("mfp")
    view.open_write("/private/a:b.pdf", NEW).write_at(0, b"half")

    view.close()

    outcome = house.records()[-1]
    assert told(outcome, "operation", "outcome") == ("deposit", "aborted")
    assert list(house.private("mfp").iterdir()) == []
    kept = house.folder / "data" / "c" / ".quarantine" / outcome["act"]
    assert kept.read_bytes() == b"half"


def test_a_scanner_may_send_names_that_windows_could_not_hold(house: House) -> None:
    """They are mapped, and the trail keeps the raw spelling."""
    write(house.view("mfp"), "/private/12:30.pdf", b"scan")

    intent = house.records()[0]
    assert told(intent, "path", "path_raw") == (
        "/private/12：30.pdf",  # noqa: RUF001 - the full-width colon is the point
        "/private/12:30.pdf",
    )
    assert (house.private("mfp") / "12：30.pdf").exists()  # noqa: RUF001


def test_a_cut_session_moves_no_further_block(house: House) -> None:
    """A locked device stops in the middle of a transfer."""
    view = house.view()
    write(view, "/private/a", b"secret")
    file = view.open_read("/private/a")

    view.session.cut("device_locked")

    with pytest.raises(SessionCutError):
        file.read_at(0, 6)
    with pytest.raises(SessionCutError):
        view.stat("/private/a")
    view.close()
    assert told(house.records()[-1], "operation", "outcome") == ("read", "aborted")


def test_a_tree_tells_each_of_its_files(house: House) -> None:
    """Deleting a folder is one act, with one child record a file."""
    view = house.view()
    view.make_folder("/private/d")
    view.make_folder("/private/d/e")
    write(view, "/private/d/a", b"1")
    write(view, "/private/d/e/b", b"22")
    before = len(house.records())

    view.delete_tree("/private/d")

    records = house.records()[before:]
    children = {told(r, "path", "size") for r in records if r["phase"] == "progress"}
    assert children == {("/private/d/a", 1), ("/private/d/e/b", 2)}
    assert told(records[-1], "operation", "outcome", "path") == (
        "delete",
        "done",
        "/private/d",
    )


def test_listings_are_told_once_and_counted(house: House) -> None:
    """Explorer asks many times a second; the trail stays readable."""
    view = house.view()
    for _ in range(5):
        list(view.list("/private"))
    view.close()

    first, rest = [r for r in house.records() if r["operation"] == "list"]
    assert first["path"] == "/private"
    assert rest["detail"]["count"] == 4


def test_a_handle_refuses_what_it_was_not_opened_for(house: House) -> None:
    """Each call of a handle is checked, not only its opening."""
    view = house.view()
    write(view, "/private/a", b"x")
    reading = view.open_read("/private/a")
    writing = view.open_write("/private/a", Disposition())

    with pytest.raises(HandleError):
        reading.write_at(0, b"y")
    with pytest.raises(HandleError):
        writing.read_at(0, 1)
    with pytest.raises(LimitError):
        writing.write_at(2**63, b"y")
    reading.close()
    with pytest.raises(HandleError):
        reading.close()


def test_appending_ignores_the_offset(house: House) -> None:
    """SSH_FXF_APPEND forces all writes to the end (filexfer-02, section 6.3)."""
    view = house.view()
    write(view, "/private/log", b"one")

    file = view.open_write("/private/log", Disposition(append=True))
    file.write_at(0, b"two")
    file.close()

    assert (house.private() / "log").read_bytes() == b"onetwo"


def test_an_upload_onto_a_folder_or_into_nothing_fails_with_words(
    house: House,
) -> None:
    """State errors are told apart, so that a front end can answer well."""
    view = house.view()
    view.make_folder("/private/d")

    with pytest.raises(IsFolderError):
        view.upload("/private/d")
    with pytest.raises(NotFoundError):
        view.open_write("/private/none/a", NEW)
    with pytest.raises(NotFoundError):
        view.set_attributes("/private/none", Changes(mode=0o600))
    with pytest.raises(ExistsError):
        view.make_folder("/private/d")


def test_a_stopping_daemon_lets_what_is_open_be_finished_and_renamed(
    house: House,
) -> None:
    """A drain loses no upload: the temporary name still becomes the real one."""
    view = house.view()
    file = view.open_write("/private/a.tmp", NEW)

    house.files.drain()

    with pytest.raises(DrainingError):
        view.open_write("/private/b", NEW)
    file.write_at(0, b"x")
    file.close()
    view.rename("/private/a.tmp", "/private/a", overwrite=False)
    assert (house.private() / "a").exists()
