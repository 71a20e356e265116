"""Attempts to wear the SFTP door out, or to pass it without a row."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyotp
import pytest
from paramiko.common import (
    MSG_CHANNEL_REQUEST,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_UNIMPLEMENTED,
)
from paramiko.sftp import CMD_CLOSE, CMD_OPENDIR
from paramiko.sftp_client import SFTPClient

from server.auth import tables
from server.auth.accounts import bump_revision
from server.auth.records import change
from server.db.engine import writing
from server.settings.schema import SftpSettings
from tests.support.sftp import PASSWORD, Person, SftpHouse, new_key, open_house
from tests.support.ssh_probe import (
    USERAUTH_FAILURE,
    key_of,
    probing,
    read_all,
)
from tests.support.waiting import until

WANTED = True
"""What a channel request says of an answer."""
UNKNOWN = 199
"""A message type that nobody has given a meaning."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path, sftp=SftpSettings(handles_max=4)) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refusals(house: SftpHouse) -> list[tuple[str, str]]:
    found = house.records(operation="login", outcome="refused")
    return [(record["stage"], record["rule"]) for record in found]


def test_folders_opened_and_closed_leave_no_descriptor(
    house: SftpHouse, alice: Person
) -> None:
    """OPENDIR and CLOSE without READDIR, until the worker could open nothing more."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        files = SFTPClient.from_transport(probe.transport)
        assert files is not None
        before = descriptors()
        for _ in range(20):
            _, opened = files._request(CMD_OPENDIR, "/private")
            files._request(CMD_CLOSE, opened.get_binary())

        # The pool of the database may open a connection meanwhile.
        assert descriptors() < before + 10


def test_a_handle_too_many_is_a_row(house: SftpHouse, alice: Person) -> None:
    """A refusal by a bound is a refusal."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        files = SFTPClient.from_transport(probe.transport)
        assert files is not None
        held = [files.open(f"/private/{n}", "w") for n in range(4)]
        for mode in ("r", "w"):
            with pytest.raises(OSError, match="open already"):
                files.open("/private/0", mode)
        with pytest.raises(OSError, match="open already"):
            files.listdir("/private")
        for file in held:
            file.close()

    rows = house.records(rule="sftp.handles_max")
    assert [row["operation"] for row in rows] == ["read", "write", "list"]
    assert {(row["stage"], row["outcome"]) for row in rows} == {("limit", "refused")}
    assert rows[0]["path"] == "/private/0"


def test_a_wrong_signature_is_a_row_with_its_login(
    house: SftpHouse, alice: Person, tmp_path: Path
) -> None:
    """Somebody who has the public key alone, and tries."""
    stranger = key_of(new_key(tmp_path / "stranger"))
    blob = key_of(alice.key).asbytes()
    with probing(house) as probe:
        assert probe.prove("alice", stranger, blob=blob)[0] == USERAUTH_FAILURE
        (row,) = house.records(operation="login", rule="wrong_signature")

    assert (row["stage"], row["login"]) == ("device", "alice")
    assert row["device"] == alice.device_id


def test_an_old_password_does_not_go_on_after_a_reset(
    house: SftpHouse, tmp_path: Path
) -> None:
    """Password given, then changed by its owner: the code alone must not suffice."""
    carol = house.add_person("carol", code=True)
    with probing(house) as probe:
        probe.prove("carol", key_of(carol.key))
        probe.password("carol", PASSWORD)
        with writing(house.engine) as connection:
            new = house.hasher.hash("another password")
            change(
                connection,
                tables.LOGIN,
                carol.login_id,
                password_hash=new,
                credentials_us=5,
            )
            bump_revision(connection)
        house.watch.refresh()
        kind, _ = probe.request("carol", "keyboard-interactive", "", "")
        if kind == 60:
            kind = probe.ask(61, 1, pyotp.TOTP(carol.totp_secret).now())[0]

        assert kind == USERAUTH_FAILURE
    assert house.records(operation="login", outcome="done") == []
    assert refusals(house) == [("device", "no_key_proved")]


def test_channels_come_and_go_and_are_forgotten(
    house: SftpHouse, alice: Person
) -> None:
    """Thousands of them on one connection would otherwise stay in the memory."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        (connection,) = house.listener._connections
        for _ in range(12):
            channel = probe.channel()
            channel.invoke_subsystem("sftp")
            channel.close()
            until(lambda: connection._transport.channels_open == 0, what="closed")

        until(
            lambda: all(s.join(0) for s in connection._services.values()),
            what="all have ended",
        )
        assert len(connection._services) <= 4
        assert not connection._transport.paths


def test_a_message_of_an_unknown_type_is_answered(
    house: SftpHouse, alice: Person
) -> None:
    """RFC 4253, section 11.4: it ends nothing, before the login or after it."""
    with probing(house) as probe:
        heard: list[int] = []
        table = vars(probe.transport)["_handler_table"]
        table[MSG_UNIMPLEMENTED] = lambda message: heard.append(message.get_int())
        probe.send(UNKNOWN)
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        probe.send(UNKNOWN, b"more")
        files = SFTPClient.from_transport(probe.transport)
        assert files is not None
        assert files.listdir("/") == ["private", "shared"]

        assert len(heard) == 2


def test_requests_in_a_key_exchange_that_never_ends_are_bounded(
    house: SftpHouse, alice: Person
) -> None:
    """Their answers wait in memory, and the client alone could end the wait."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        channel = probe.channel()
        (connection,) = house.listener._connections
        asked = threading.Event()
        vars(probe.transport)["_handler_table"][MSG_KEXINIT] = lambda _: asked.set()
        connection._transport.packets._wish_new_keys()
        probe.send(MSG_IGNORE, b"")
        assert asked.wait(10)

        with suppress(OSError, EOFError):
            for _ in range(1100):
                number = channel.remote_chanid
                probe.send(MSG_CHANNEL_REQUEST, number, b"env", WANTED, b"a", b"b")
        until(lambda: probe.gone, what="the connection has ended")

    until(lambda: house.records(operation="logout"), what="the logout is on record")
    assert house.records(operation="logout")[0]["reason"] == "protocol error"


def test_connections_too_many_are_one_row(tmp_path: Path) -> None:
    """The first of a minute is told, the others are counted."""
    with open_house(tmp_path, sftp=SftpSettings(startups="1:100:2")) as house:
        with house.connect() as first:
            assert first.recv(4) == b"SSH-"
            for _ in range(5):
                with house.connect() as turned_away:
                    assert read_all(turned_away) == b""
        rows = house.records(rule="startups")

        assert 1 <= len(rows) <= 2  # a minute may have ended
        assert (rows[0]["stage"], rows[0]["outcome"]) == ("limit", "refused")
        assert rows[0]["source_ip"] == "127.0.0.1"
