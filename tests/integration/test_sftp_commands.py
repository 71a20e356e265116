"""What a person may ask for beside files: seeing and locking one's own devices."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paramiko.sftp_client import SFTPClient
from paramiko.ssh_exception import SSHException

from tests.support.openssh import OpenSsh
from tests.support.sftp import PASSWORD, Person, SftpHouse, new_key, open_house
from tests.support.ssh_probe import key_of, probing
from tests.support.waiting import until

LOCK = "admin.device.lock"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


@pytest.fixture
def client(house: SftpHouse, alice: Person) -> OpenSsh:
    return OpenSsh(house, alice, [alice.key])


@pytest.fixture
def phone(house: SftpHouse, alice: Person, client: OpenSsh) -> OpenSsh:
    """Alice's other device."""
    key = new_key(house.folder / "phone_key")
    house.add_device(alice.login_id, "phone", key)
    return replace(client, keys=[key])


def test_a_lost_device_is_locked_by_its_owner_at_once(
    house: SftpHouse, client: OpenSsh, phone: OpenSsh
) -> None:
    """At night and without an administrator; the trail says who it was."""
    with phone.live():
        until(
            lambda: "phone" in client.ssh("sessions").stdout,
            what="the phone's session is listed",
        )
        done = client.ssh("lock", "phone")

        assert done.returncode == 0, done.stderr
        assert re.fullmatch(
            r"Device phone is locked\. 1 sessions were cut in \d+ ms\.\n", done.stdout
        ), done.stdout
    until(lambda: house.records(operation="logout", device_name="phone"))
    intent, outcome = house.records(operation=LOCK)
    assert (intent["phase"], outcome["outcome"]) == ("intent", "done")
    assert outcome["target"] == "alice@main/phone"
    assert {key: outcome[key] for key in ("login", "device_name", "protocol")} == {
        "login": "alice",
        "device_name": "laptop",
        "protocol": "sftp",
    }
    (cut,) = house.records(operation="logout", device_name="phone")
    assert (cut["outcome"], cut["rule"]) == ("aborted", "device_locked")
    assert phone.sftp("ls").returncode != 0
    rows: list[dict[str, Any]] = json.loads(client.ssh("devices", "--json").stdout)
    assert [(row["device"], row["state"], row["this"]) for row in rows] == [
        ("laptop", "active", True),
        ("phone", "locked", False),
    ]


def test_who_locks_the_device_in_use_hears_it_and_is_out(
    house: SftpHouse, client: OpenSsh
) -> None:
    """Its answer comes out first, and then the connection ends as any other."""
    done = client.ssh("lock", "laptop", "--json")

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["state"], facts["sessions_cut"]) == ("locked", 1)
    until(lambda: house.records(operation="logout"), what="the session is over")
    (logout,) = house.records(operation="logout")
    assert (logout["outcome"], logout["rule"]) == ("aborted", "device_locked")
    assert client.sftp("ls").returncode != 0


def test_a_client_that_does_not_read_its_answer_is_cut_all_the_same(
    house: SftpHouse, alice: Person
) -> None:
    """Waiting to tell it must not keep a locked device connected."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        channel = probe.transport.open_session(window_size=0, timeout=10)
        channel.exec_command("lock laptop")

        until(lambda: probe.gone, what="the connection is cut")
    assert house.records(operation=LOCK, outcome="done")


def test_nothing_is_read_on_after_the_lock_while_the_answer_is_on_its_way(
    house: SftpHouse, alice: Person
) -> None:
    """One connection may carry a transfer beside the command."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        files = SFTPClient.from_transport(probe.transport)
        assert files is not None
        with files.open("a", "wb") as file:
            file.write(b"x")
        reading = files.open("a", "rb")
        command = probe.channel()
        command.exec_command("lock laptop")
        assert b"is locked" in command.makefile("rb").read()

        with pytest.raises((OSError, EOFError, SSHException)):
            reading.read()
        until(lambda: probe.gone, what="the connection is cut")


def test_asking_again_and_again_keeps_nobody_busy(
    house: SftpHouse,
    client: OpenSsh,
    phone: OpenSsh,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device is locked once; commands of a connection come one at a time."""
    assert phone.sftp("ls").returncode == 0
    for _ in range(2):
        assert client.ssh("lock", "phone").returncode == 0
    assert len(house.records(operation=LOCK, outcome="done")) == 1

    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        with monkeypatch.context() as unclamped:  # else 32 KiB: the answer is sent
            unclamped.setattr(probe.transport, "_sanitize_window_size", int)
            running = probe.transport.open_session(window_size=0, timeout=10)
        running.exec_command("devices")
        with pytest.raises(SSHException):
            probe.channel().exec_command("devices")


def test_only_own_devices_can_be_locked(
    house: SftpHouse, client: OpenSsh, alice: Person
) -> None:
    """Whatever the name is spelt like, it is looked for among one's own."""
    bob = house.add_person("bob")
    house.add_device(bob.login_id, "tablet", new_key(house.folder / "tablet_key"))

    for name in ("tablet", "bob@main/tablet", "../bob/tablet", "%", "'' ''"):
        done = client.ssh("lock", name)
        assert done.returncode != 0, name
        assert not done.stdout

    assert not house.records(operation=LOCK)
    failed = house.records(operation="command", outcome="failed")
    assert {(one["login"], one["reason"]) for one in failed} == {
        (alice.name, "not_found")
    }
    assert OpenSsh(house, bob, [bob.key]).sftp("ls").returncode == 0


@pytest.mark.parametrize(
    ("asked", "rule", "command"),
    [
        (["-T"], "no_shell", None),
        (["id; cat /etc/passwd"], "unknown_command", "id;"),
        (["mysql -psecret1"], "unknown_command", "mysql"),
        (["$(lock laptop)"], "unknown_command", "$(lock"),
        (["LOCK laptop"], "unknown_command", "LOCK"),
        (["lock laptop; devices"], "wrong_usage", "lock"),
        (["lock"], "wrong_usage", "lock"),
        (["unlock laptop"], "unknown_command", "unlock"),
        (["'unbalanced"], "unknown_command", "'unbalanced"),
        (["   "], "unknown_command", None),
        (["-s", "shell"], "unknown_subsystem", "shell"),
    ],
)
def test_everything_else_is_refused_in_words_and_on_record(
    house: SftpHouse, client: OpenSsh, asked: list[str], rule: str, command: str | None
) -> None:
    """Nothing is run; only the first word is recorded, for people type secrets."""
    done = client.ssh(*asked)

    assert done.returncode != 0
    assert not done.stdout
    assert "has no shell" in done.stderr or "subsystem" in done.stderr
    (record,) = house.records(operation="command", outcome="refused")
    assert (record["rule"], record["detail"].get("command") or None) == (rule, command)
    assert not house.records(operation=LOCK)
    assert "secret1" not in json.dumps(house.records())


def test_the_old_scp_protocol_is_pointed_to_the_new_one(
    client: OpenSsh, tmp_path: Path
) -> None:
    """A person reads on the screen why it failed, and what does it."""
    (tmp_path / "a").write_text("a")

    done = client.scp("-O", str(tmp_path / "a"), "REMOTE:a")

    assert done.returncode != 0
    assert "scp without -O" in done.stderr


def test_machines_have_no_commands(house: SftpHouse) -> None:
    """A scanner's password stands in its panel; it opens a folder and no more."""
    scanner = house.add_person("scanner", factors="key")
    client = OpenSsh(house, scanner, [scanner.key])

    for asked in ("devices", "sessions", "help", "lock laptop", "id"):
        done = client.ssh(asked)
        assert (done.returncode != 0, done.stdout) == (True, ""), asked
        assert "login for machines" in done.stderr

    refused = house.records(outcome="refused")
    assert {one["rule"] for one in refused} == {"intake_has_no_commands"}
    assert [one["operation"] for one in refused].count(LOCK) == 1
    assert client.sftp("ls").returncode == 0
