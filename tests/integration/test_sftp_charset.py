"""A device that sends CP932, through the whole of SSH: its names, and the answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from paramiko.message import Message
from paramiko.sftp import CMD_CLOSE, CMD_NAME, CMD_OPENDIR, CMD_READDIR
from paramiko.sftp_client import SFTPClient

from server.auth import tables
from server.auth.accounts import bump_revision
from server.auth.records import change
from server.db.engine import writing
from tests.support.sftp import PASSWORD, Person, SftpHouse, open_house
from tests.support.ssh_probe import key_of, probing

NAMES = ("ソ表能.pdf", "予定表", "ﾃｽﾄ.txt", "①㈱.txt", "plain.txt")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def panel(house: SftpHouse) -> Person:
    """A person's device, registered with `--charset cp932`."""
    person = house.add_person("alice")
    with writing(house.engine) as connection:
        change(connection, tables.DEVICE, person.device_id, charset="cp932")
        bump_revision(connection)
    house.watch.refresh()
    return person


def listed(client: SFTPClient, folder: bytes) -> set[bytes]:
    """The names of a folder as their bytes; paramiko's own listing wants UTF-8."""
    _, opened = client._request(CMD_OPENDIR, folder)
    handle = opened.get_binary()
    kind, answer = client._request(CMD_READDIR, handle)
    assert kind == CMD_NAME
    found = {_entry(answer) for _ in range(answer.get_int())}
    client._request(CMD_CLOSE, handle)
    return found


def _entry(answer: Message) -> bytes:
    name = answer.get_binary()
    assert answer.get_binary().endswith(b" " + name)
    answer.get_bytes(4 + 8 + 5 * 4)
    return bytes(name)


def test_names_come_and_go_in_the_devices_own_characters(
    house: SftpHouse, panel: Person
) -> None:
    """Stored as everybody reads them; bytes like 0x5C in a kanji break no path."""
    folder = "/private/表".encode("cp932")
    with probing(house) as probe:
        probe.log_in("alice", key_of(panel.key), PASSWORD)
        client = SFTPClient.from_transport(probe.transport)
        assert client is not None
        client.mkdir(folder)
        for name in NAMES:
            with client.open(folder + b"/" + name.encode("cp932"), "wb") as file:
                file.write(name.encode())
        client.rename(folder + b"/plain.txt", folder + "/改.txt".encode("cp932"))
        (house.private(panel) / "表" / "10〜20é.txt").write_bytes(b"ours")

        shown = listed(client, folder)

        assert {name.encode("cp932") for name in NAMES if name != "plain.txt"} < shown
        (odd,) = (name for name in shown if name.startswith(b"10"))
        with client.open(folder + b"/" + odd, "rb") as file:
            assert file.read() == b"ours"
    stored = house.private(panel) / "表"
    assert (stored / "ソ表能.pdf").read_text() == "ソ表能.pdf"
    assert (stored / "改.txt").exists()
    written = house.records(operation="write", phase="outcome")
    assert {record["path"] for record in written} == {
        f"/private/表/{name}" for name in NAMES
    }
    assert all(record["path_raw"].startswith("base64:") for record in written)
