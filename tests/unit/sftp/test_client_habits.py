"""What WinSCP and FileZilla send, packet by packet (their own words, version 3).

WinSCP uploads to `NAME.filepart`, sets mode and time after the close, deletes the old
file and renames; its resume opens without truncation and writes on. FileZilla (PuTTY's
code) asks for the real path of whatever a person types.
"""

import pytest

from server.sftp import wire
from server.vfs.view import View
from tests.unit.sftp.packets import (
    CLOSE,
    FLAG_CREAT,
    FLAG_TRUNC,
    FLAG_WRITE,
    FSETSTAT,
    LSTAT,
    NAME,
    NO_SUCH_FILE,
    OK,
    OPENDIR,
    REALPATH,
    REMOVE,
    RENAME,
    SETSTAT,
    STAT,
    Client,
)

NEW = FLAG_WRITE | FLAG_CREAT | FLAG_TRUNC
PART, WHOLE = "請求書.pdf.filepart", "請求書.pdf"
DATED = wire.u32(0x4 | 0x8) + wire.u32(0o100644) + wire.u32(5) + wire.u32(6)
OWNED = wire.u32(0x2) + wire.u32(1000) + wire.u32(1000)


def rename(client: Client, old: str, new: str) -> int:
    return client.ask(RENAME, wire.text(old), wire.text(new)).status


def status_of(client: Client, kind: int, path: str) -> int:
    return client.ask(kind, wire.text(path)).status


def test_winscp_uploads_aside_dates_it_and_renames_it_over_the_old(
    client: Client,
) -> None:
    """Each step is answered as an old server would, or WinSCP asks the person."""
    client.put(WHOLE, b"the old one")
    assert client.ask(REALPATH, wire.text(".")).kind == NAME
    assert status_of(client, LSTAT, PART) == NO_SUCH_FILE
    handle = client.open(PART, NEW).handle
    assert client.write(handle, 0, b"the new").status == OK
    assert client.write(handle, 7, b" one").status == OK
    assert client.ask(FSETSTAT, wire.string(handle), DATED).status == OK
    assert client.ask(CLOSE, wire.string(handle)).status == OK
    assert client.ask(SETSTAT, wire.text(PART), DATED).status == OK
    assert client.ask(SETSTAT, wire.text(PART), OWNED).status == OK
    assert rename(client, PART, WHOLE) != OK
    assert status_of(client, REMOVE, WHOLE) == OK
    assert rename(client, PART, WHOLE) == OK

    reader = client.ask(LSTAT, wire.text(WHOLE)).reader
    reader.u32()
    reader.u64()
    assert [reader.u32() for _ in range(5)] == [0, 0, 0o100644, 5, 6]
    assert client.get(WHOLE) == b"the new one"


def test_winscp_resumes_a_part_where_it_ended(client: Client, view: View) -> None:
    """The connection was lost; what came stays under the name of the part."""
    handle = client.open(PART, NEW).handle
    assert client.write(handle, 0, b"first half, ").status == OK
    client.requests.close()
    again = Client(client.requests)

    size = view.stat(f"/private/{PART}").size
    handle = again.open(PART, FLAG_WRITE).handle
    assert again.write(handle, size, b"second half").status == OK
    assert again.close(handle).status == OK

    assert again.get(PART) == b"first half, second half"


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("", "/private"),
        ("..", "/"),
        ("/", "/"),
        ("//private//a/", "/private/a"),
        ("/no/such/thing/.", "/no/such/thing"),
        ("/private/a/../../shared", "/shared"),
        ("C:\\Users\\alice", "/private/C:\\Users\\alice"),
        ("見積/..", "/private"),
    ],
)
def test_the_real_path_of_anything_is_told(
    client: Client, typed: str, path: str
) -> None:
    """FileZilla stays where it was when it is told nothing."""
    answer = client.ask(REALPATH, wire.text(typed))

    assert answer.kind == NAME
    reader = answer.reader
    assert (reader.u32(), reader.text()) == (1, path)


def test_what_a_person_types_wrong_is_no_such_file(client: Client) -> None:
    """A refusal would look like missing rights."""
    for kind in (OPENDIR, STAT, LSTAT):
        assert status_of(client, kind, "/private/none/none") == NO_SUCH_FILE
        assert status_of(client, kind, "/elsewhere") == NO_SUCH_FILE
