"""Packets in, packets out, over a real file system."""

import pytest
from paramiko.sftp import CMD_EXTENDED

from server.model.clock import SystemClock
from server.model.session import Session
from server.settings.schema import SftpSettings
from server.sftp import wire
from server.sftp.requests import TABLE, Requests
from server.sftp.train import Train
from server.vfs.view import View
from tests.unit.sftp.packets import (
    ATTRS,
    CLOSE,
    DENIED,
    EOF,
    EXTENDED,
    EXTENDED_REPLY,
    FAILURE,
    FLAG_CREAT,
    FLAG_EXCL,
    FLAG_READ,
    FLAG_TRUNC,
    FLAG_WRITE,
    FSTAT,
    HANDLE,
    LSTAT,
    MKDIR,
    NAME,
    NO_ATTRS,
    NO_SUCH_FILE,
    OK,
    OPEN,
    OPENDIR,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    SYMLINK,
    UNSUPPORTED,
    Answer,
    Client,
)

INVOICE = "見積書 (2026年).pdf"


def path_of(answer: Answer) -> str:
    assert answer.kind == NAME
    reader = answer.reader
    assert reader.u32() == 1
    return reader.text()


def test_the_version_reply_advertises_what_the_table_serves(
    requests: Requests,
) -> None:
    """OpenSSH uses an extension only when it is advertised, with its version."""
    reader = Client(requests).greet()

    assert reader.u32() == 3
    advertised = {}
    while reader.more():
        name = reader.text()
        advertised[name] = reader.text()
    assert advertised == {
        "posix-rename@openssh.com": "1",
        "statvfs@openssh.com": "2",
        "fstatvfs@openssh.com": "2",
        "fsync@openssh.com": "1",
        "limits@openssh.com": "1",
        "lsetstat@openssh.com": "1",
        "copy-data": "1",
    }


def test_each_request_has_one_row() -> None:
    """Two rows for one number would hide each other."""
    keys = [row.name if row.number == CMD_EXTENDED else row.number for row in TABLE]

    assert len(keys) == len(set(keys))


def test_what_was_put_is_got_again(client: Client) -> None:
    """The plain way through: open, write, close, open, read, close."""
    client.put(INVOICE, b"total: 1")

    assert client.get(f"/private/{INVOICE}") == b"total: 1"
    assert client.names("/private") == [INVOICE]


def test_reading_behind_the_end_is_the_end(client: Client) -> None:
    """Clients read until EOF; anything else makes them loop."""
    client.put("a", b"12345")
    handle = client.open("a", FLAG_READ).handle

    assert client.read(handle, 3, 100).content == b"45"
    assert client.read(handle, 5, 100).status == EOF
    assert client.read(handle, 2**63, 100).status != OK


def test_a_read_of_four_gibibytes_is_answered_with_a_block(client: Client) -> None:
    """Paramiko's server would allocate what the client asks for."""
    client.put("a", bytes(200_000))
    handle = client.open("a", FLAG_WRITE).handle
    assert client.write(handle, 200_000, bytes(200_000)).status == OK
    client.close(handle)
    handle = client.open("a", FLAG_READ).handle

    assert len(client.read(handle, 0, 0xFFFFFFFF).content) == 255 * 1024


def test_exclusive_creation_spares_what_is_there(client: Client) -> None:
    """EXCL is how clients make lock files and unique names."""
    client.put("a", b"old")

    answer = client.open("a", FLAG_WRITE | FLAG_CREAT | FLAG_EXCL | FLAG_TRUNC)

    assert answer.status == FAILURE
    assert client.get("a") == b"old"


def test_a_handle_is_gone_after_its_close(client: Client) -> None:
    """A second close must not reach a file that was opened meanwhile."""
    client.put("a", b"1")
    handle = client.open("a", FLAG_READ).handle
    assert client.close(handle).status == OK

    assert client.close(handle).status == FAILURE
    assert client.open("a", FLAG_READ).handle != handle


def test_a_close_that_cannot_commit_says_so(client: Client, session: Session) -> None:
    """Paramiko's server says OK whatever happened; then a full disk loses files."""
    handle = client.open("a", FLAG_WRITE | FLAG_CREAT).handle
    session.cut("device_locked")

    assert client.close(handle).status == DENIED
    assert client.close(handle).message == "There is no such handle."


def test_handles_are_bounded(view: View) -> None:
    """Each holds a descriptor of the whole daemon."""
    settings = SftpSettings(handles_max=2)
    client = Client(Requests(view, settings=settings, clock=SystemClock()))
    client.greet()
    handles = [client.ask(OPENDIR, wire.text("/private")).handle for _ in range(2)]

    answer = client.ask(OPENDIR, wire.text("/private"))

    assert answer.status == FAILURE
    assert "close some" in answer.message
    assert client.close(handles[0]).status == OK
    assert client.ask(OPENDIR, wire.text("/private")).kind == HANDLE


def test_handles_left_open_are_aborted_with_the_channel(
    client: Client, requests: Requests
) -> None:
    """A lost connection is no clean end: the partial file stays, marked so."""
    handle = client.open("a", FLAG_WRITE | FLAG_CREAT).handle
    client.write(handle, 0, b"part")

    requests.close()

    assert requests.handles_open == 0
    assert client.get("a") == b"part"


def test_a_folder_is_listed_in_replies_of_bounded_size(client: Client) -> None:
    """10,000 files in one packet would be refused by the client."""
    names = {f"{number:0100}" for number in range(600)}
    for name in names:
        client.put(name, b"")
    handle = client.ask(OPENDIR, wire.text(".")).handle
    seen: list[str] = []
    replies = 0

    while (reply := client.ask(READDIR, wire.string(handle))).kind == NAME:
        assert len(reply.body) <= 100_000 + 4
        replies += 1
    seen = client.names(".")

    assert replies > 1
    assert len(seen) == len(names)
    assert set(seen) == names


def test_reading_a_folders_handle_as_a_file_is_refused(client: Client) -> None:
    """And the other way round: the two kinds of handle do not mix."""
    client.put("a", b"1")
    folder = client.ask(OPENDIR, wire.text("/")).handle
    file = client.open("a", FLAG_READ).handle

    assert client.read(folder, 0, 10).status == FAILURE
    assert client.ask(READDIR, wire.string(file)).status == FAILURE


@pytest.mark.parametrize(
    ("raw", "absolute"),
    [
        (".", "/private"),
        ("", "/private"),
        ("a/../b", "/private/b"),
        ("/private/./x//y", "/private/x/y"),
        ("..", "/"),
        ("/", "/"),
    ],
)
def test_realpath_is_lexical_and_starts_at_home(
    client: Client, raw: str, absolute: str
) -> None:
    """Clients ask for `.` first, and build every path on the answer."""
    assert path_of(client.ask(REALPATH, wire.text(raw))) == absolute


@pytest.mark.parametrize("raw", ["/..", "../../etc", "/private/../../etc/passwd"])
def test_a_path_that_climbs_above_the_root_is_refused(client: Client, raw: str) -> None:
    """It is somebody trying; it belongs in the trail as it was sent."""
    assert client.ask(REALPATH, wire.text(raw)).status == DENIED
    assert client.ask(STAT, wire.text(raw)).status == DENIED


def test_a_name_that_is_no_utf8_is_refused_with_words(client: Client) -> None:
    """A CP932 name must neither end the session nor become another name."""
    raw = wire.string("見積".encode("cp932"))

    answer = client.ask(OPEN, raw, wire.u32(FLAG_WRITE | FLAG_CREAT), NO_ATTRS)

    assert answer.status == DENIED
    assert "UTF-8" in answer.message


def test_folders_are_made_and_removed(client: Client) -> None:
    """A folder that holds something stays."""
    assert client.ask(MKDIR, wire.text("box"), NO_ATTRS).status == OK
    client.put("box/a", b"1")

    assert client.ask(RMDIR, wire.text("box")).status == FAILURE
    assert client.ask(REMOVE, wire.text("box/a")).status == OK
    assert client.ask(RMDIR, wire.text("box")).status == OK
    assert client.ask(STAT, wire.text("box")).status == NO_SUCH_FILE


def test_a_plain_rename_does_not_overwrite_and_the_posix_one_does(
    client: Client,
) -> None:
    """Section 6.5 forbids the first; uploads by temporary name need the second."""
    client.put("new", b"new")
    client.put("old", b"old")
    names = (wire.text("new"), wire.text("old"))

    assert client.ask(RENAME, *names).status == FAILURE
    assert client.get("old") == b"old"
    assert client.extended("posix-rename@openssh.com", *names).status == OK
    assert client.get("old") == b"new"


@pytest.mark.parametrize("kind", [READLINK, SYMLINK, EXTENDED])
def test_links_are_refused_with_words(client: Client, kind: int) -> None:
    """A link would lead around the rights; people must be told why it fails."""
    fields = [wire.text("target"), wire.text("link")]
    if kind == READLINK:
        fields = fields[:1]
    if kind == EXTENDED:
        fields.insert(0, wire.text("hardlink@openssh.com"))

    answer = client.ask(kind, *fields)

    assert answer.status == UNSUPPORTED
    assert answer.message == "This store keeps no links."


def test_attributes_are_set_and_told(client: Client) -> None:
    """Chmod, `put -p` and truncation; truncation keeps what is left (paramiko#2368)."""
    client.put("a", b"hello world")
    attrs = wire.u32(0x1 | 0x4 | 0x8)
    attrs += wire.u64(5) + wire.u32(0o100600) + wire.u32(1) + wire.u32(2)

    assert client.ask(SETSTAT, wire.text("a"), attrs).status == OK

    reader = client.ask(LSTAT, wire.text("a")).reader
    assert (reader.u32(), reader.u64()) == (0xF, 5)
    assert [reader.u32() for _ in range(5)] == [0, 0, 0o100600, 1, 2]
    assert client.get("a") == b"hello"


def test_an_open_file_tells_its_attributes(client: Client) -> None:
    """OpenSSH asks by handle before it downloads."""
    client.put("a", b"123")
    handle = client.open("a", FLAG_READ).handle

    answer = client.ask(FSTAT, wire.string(handle))

    assert answer.kind == ATTRS
    reader = answer.reader
    assert (reader.u32(), reader.u64()) == (0xF, 3)
    assert client.ask(FSTAT, wire.string(b"none")).status == FAILURE


def test_space_and_limits_are_told(client: Client) -> None:
    """`df` and large requests of OpenSSH come from these."""
    space = client.extended("statvfs@openssh.com", wire.text("/private"))
    limits = client.extended("limits@openssh.com")
    handle = client.ask(OPENDIR, wire.text("/private")).handle
    by_handle = client.extended("fstatvfs@openssh.com", wire.string(handle))

    assert space.kind == by_handle.kind == EXTENDED_REPLY
    assert len(space.body) == len(by_handle.body) == 11 * 8
    reader = limits.reader
    assert [reader.u64() for _ in range(4)] == [262144, 261120, 261120, 256]


def test_fsync_reaches_the_disk(client: Client) -> None:
    """Sshfs asks for it on every flush."""
    handle = client.open("a", FLAG_WRITE | FLAG_CREAT).handle

    assert client.extended("fsync@openssh.com", wire.string(handle)).status == OK


def test_unknown_requests_are_unsupported_and_the_session_goes_on(
    client: Client,
) -> None:
    """Newer clients try what they know and fall back."""
    assert client.ask(99).status == UNSUPPORTED
    assert client.extended("text-seek", b"anything").status == UNSUPPORTED
    assert path_of(client.ask(REALPATH, wire.text("."))) == "/private"


def test_closing_an_unknown_handle_is_a_failure(client: Client) -> None:
    """And not the end of the session."""
    assert client.ask(CLOSE, wire.string(bytes(300))).status == FAILURE


def test_a_fault_of_ours_is_an_answer_and_not_the_end(
    client: Client, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request's bug must not take the session's other files along."""

    def broken(raw: str) -> None:
        raise ZeroDivisionError(raw)

    monkeypatch.setattr(type(view), "stat", lambda _view, raw: broken(raw))

    answer = client.ask(STAT, wire.text("a"))

    assert (answer.status, answer.message) == (FAILURE, "Internal error.")


def copy_data(client: Client, source: bytes, target: bytes, *places: int) -> Answer:
    offset, length, to = places
    return client.extended(
        "copy-data",
        wire.string(source) + wire.u64(offset) + wire.u64(length),
        wire.string(target) + wire.u64(to),
    )


def test_copy_data_copies_a_part_and_a_whole(client: Client) -> None:
    """What OpenSSH's `cp` and rclone use; length zero is up to the end."""
    client.put("a", b"0123456789")
    source = client.open("a", FLAG_READ).handle
    target = client.open("b", FLAG_WRITE | FLAG_CREAT).handle

    assert copy_data(client, source, target, 2, 3, 0).status == OK
    assert copy_data(client, source, target, 0, 0, 3).status == OK
    assert copy_data(client, source, target, 50, 0, 0).status == OK
    assert client.close(target).status == OK
    assert client.get("b") == b"2340123456789"


def test_copy_data_keeps_to_what_the_handles_are_for(client: Client) -> None:
    """Never within a file, never from or into a handle of the other kind."""
    client.put("a", b"0123456789")
    client.put("b", b"b")
    reading = client.open("a", FLAG_READ).handle
    both = client.open("a", FLAG_READ | FLAG_WRITE).handle
    writing = client.open("b", FLAG_WRITE).handle

    for source, target in (
        (both, both),
        (reading, both),
        (reading, reading),
        (writing, both),
        (b"none", writing),
    ):
        assert copy_data(client, source, target, 0, 4, 4).status == FAILURE
    assert client.close(both).status == OK
    assert client.get("a") == b"0123456789"
    assert client.get("b") == b"b"


def test_a_long_copy_goes_on_in_steps(
    client: Client, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection answers other channels, and is cut, between two of them."""
    monkeypatch.setattr("server.storage.block.BLOCK_BYTES", 4)
    client.put("a", b"0123456789")
    source = client.open("a", FLAG_READ).handle
    target = client.open("b", FLAG_WRITE | FLAG_CREAT).handle
    fields = wire.string(source) + wire.u64(0) + wire.u64(0)
    packet = bytes([EXTENDED]) + wire.u32(77) + wire.text("copy-data") + fields
    train = Train(channel=0, data_bytes=1000, capacity=300_000)

    requests.reply(memoryview(packet + wire.string(target) + wire.u64(0)), train)
    steps = 1
    while requests.busy:
        assert not train.waiting
        requests.go_on(train)
        steps += 1

    assert steps == 4
    assert train.waiting
    assert client.close(target).status == OK
    assert client.get("b") == b"0123456789"
