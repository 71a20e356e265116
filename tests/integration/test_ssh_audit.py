"""What ssh-audit, which others will run against us too, says of both profiles."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paramiko.common import MSG_KEXINIT
from paramiko.message import Message

from server.settings.schema import SftpSettings
from server.sftp.algorithms import CIPHERS
from server.sftp.legacy import LegacyTransport
from tests.support.sftp import PASSWORD, SftpHouse, open_house
from tests.support.ssh_probe import key_of, probing
from tests.support.waiting import until

POLICIES = Path(__file__).parents[1] / "ssh_audit"
NO_OTHER_CHOICE = "does not provide protection against post-quantum attacks"
"""Of every exchange but the first; without them OpenSSH before 9.9 stays outside."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


def audit(house: SftpHouse, *options: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("ssh-audit")
    return subprocess.run(
        [program, "--skip-rate-test", *options, "-p", str(house.port), "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def notes(house: SftpHouse, grade: str) -> dict[str, list[str]]:
    """What is said of each algorithm with this grade, `fail` or `warn`."""
    told: dict[str, Any] = json.loads(audit(house, "-j").stdout)
    return {
        found["algorithm"]: found["notes"][grade]
        for kind in ("kex", "key", "enc", "mac")
        for found in told[kind]
        if grade in found.get("notes", {})
    }


def test_the_modern_profile_has_nothing_to_be_said_against(house: SftpHouse) -> None:
    """No failure, and no warning that could be avoided."""
    assert not notes(house, "fail")
    assert {text for texts in notes(house, "warn").values() for text in texts} == {
        NO_OTHER_CHOICE
    }


@pytest.mark.parametrize("profile", ["modern", "legacy"])
def test_each_profile_is_what_its_policy_says(house: SftpHouse, profile: str) -> None:
    """An algorithm that comes or goes with paramiko's next release is seen here."""
    if profile == "legacy":
        house.set_line(house.line_id, crypto="legacy-until:2999-01-01")

    require_policy(house, profile)


def test_the_strict_profile_has_no_warning_either(tmp_path: Path) -> None:
    """For offices whose clients are new; paramiko's own client is one of them."""
    with open_house(tmp_path, sftp=SftpSettings(algorithms="strict")) as house:
        assert not notes(house, "fail")
        assert not notes(house, "warn")
        require_policy(house, "strict")
        alice = house.add_person("alice")
        with probing(house) as probe:
            probe.log_in("alice", key_of(alice.key), PASSWORD)
        until(lambda: house.records(operation="login"), what="it is on record")
        (login,) = house.records(operation="login", outcome="done")
        assert login["algorithms"].startswith("kex=mlkem768x25519-sha256 ")
        house.set_line(house.line_id, crypto="legacy-until:2999-01-01")
        require_policy(house, "legacy")


def require_policy(house: SftpHouse, profile: str) -> None:
    checked = audit(house, "-P", str(POLICIES / f"{profile}.txt"))

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("profile", "ciphers"),
    [("modern", CIPHERS), ("legacy", LegacyTransport._preferred_ciphers)],
)
def test_a_client_that_is_not_known_is_offered_every_cipher(
    house: SftpHouse, profile: str, ciphers: tuple[str, ...]
) -> None:
    """Only for some is AES-GCM chosen by leaving others out; scanners keep theirs."""
    if profile == "legacy":
        house.set_line(house.line_id, crypto="legacy-until:2999-01-01")
    with house.connect() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"SSH-2.0-scanner\r\n")
        assert stream.readline().startswith(b"SSH-2.0-")
        length, padding = struct.unpack(">IB", stream.read(5))
        lists = Message(stream.read(length - 1 - padding)[17:])
    offered = [lists.get_list() for _ in range(4)]

    assert offered[2] == offered[3] == list(ciphers)


def test_a_client_that_greets_as_openssh_and_waits_gets_the_lists(
    house: SftpHouse,
) -> None:
    """The real one speaks first; who only says so must not wait for ever."""
    with house.connect() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"SSH-2.0-OpenSSH_scanner\r\n")
        assert stream.readline().startswith(b"SSH-2.0-")
        _, _, kind = struct.unpack(">IBB", stream.read(6))

    assert kind == MSG_KEXINIT


def test_a_client_that_speaks_first_is_answered_at_once(
    house: SftpHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is for those alone who do not; a second for each login was felt."""
    monkeypatch.setattr("server.sftp.transport.LISTS_WAIT_S", 3600)
    alice = house.add_person("alice")
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)

        assert probe.transport.remote_cipher == "aes128-gcm@openssh.com"


def test_the_legacy_line_has_only_what_old_machines_need(house: SftpHouse) -> None:
    """No 3DES, no MD5, no DSA, no 1024-bit group."""
    house.set_line(house.line_id, crypto="legacy-until:2999-01-01")

    assert notes(house, "fail").keys() == {
        "diffie-hellman-group14-sha1",
        "ssh-rsa",
        "hmac-sha1",
    }
