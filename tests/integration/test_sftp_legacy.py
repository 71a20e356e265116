"""Old algorithms for one line: the real OpenSSH client, forced to speak like a scanner.

Each part of 127.0.0.0/8 stands for a line of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server.model.clock import SystemClock, rfc3339
from tests.support.openssh import OpenSsh
from tests.support.sftp import Person, SftpHouse, open_house, write_key
from tests.support.waiting import until

SCANNERS = "127.0.5.0/24"
OLDEST = "127.0.6.0/24"
OFFICE = "127.0.0.1"
SCANNER = "127.0.5.9"
OLD_SCANNER = "127.0.6.9"
HOUR_US = 3600 * 1_000_000
FORCED = (
    "-oKexAlgorithms=diffie-hellman-group14-sha1",
    "-oHostKeyAlgorithms=ssh-rsa",
    "-oPubkeyAcceptedAlgorithms=ssh-rsa",
    "-oCiphers=aes128-cbc",
    "-oMACs=hmac-sha1",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    """Loopback is modern; two ranges of it are lines of old scanners."""
    end = rfc3339(SystemClock().time_us() + HOUR_US)
    with open_house(tmp_path) as house:
        house.add_line("scanners", [SCANNERS], crypto=f"legacy-until:{end}")
        house.add_line("oldest", [OLDEST], crypto=f"legacy+group1-until:{end}")
        yield house


@pytest.fixture(scope="module")
def rsa_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rsa")
    return write_key(folder / "rsa_key", rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="module")
def weak_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weak")
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what old panels make
    return write_key(folder / "weak_key", key)


def client(
    house: SftpHouse,
    person: Person,
    source: str,
    options: Sequence[str] = FORCED,
) -> OpenSsh:
    bound = f"-oBindAddress={source}"
    return OpenSsh(house, person, [person.key], more=[*options, bound])


def refusals(house: SftpHouse) -> list[tuple[str, str]]:
    found = house.records(operation="login", outcome="refused")
    return [(record["stage"], record["rule"]) for record in found]


def algorithms(house: SftpHouse) -> str:
    (record,) = house.records(operation="login", outcome="done")
    return str(record["algorithms"])


def test_an_old_scanner_logs_in_from_its_line(house: SftpHouse, rsa_key: Path) -> None:
    """SHA-1 exchange, ssh-rsa for host and user, CBC: atmoz/sftp#422 and its kin."""
    scanner = house.add_person("scanner", factors="key", key=rsa_key)

    done = client(house, scanner, SCANNER).sftp(f"put {rsa_key}.pub scan.pdf")

    assert done.returncode == 0, done.stderr
    assert algorithms(house).split() == [
        "kex=diffie-hellman-group14-sha1",
        "hostkey=ssh-rsa",
        "cipher=aes128-cbc",
        "mac=hmac-sha1",
        "userkey=ssh-rsa",
    ]


def test_an_old_scanner_is_refused_elsewhere(house: SftpHouse, rsa_key: Path) -> None:
    """The office's line, a step away, offers nothing old."""
    scanner = house.add_person("scanner", factors="key", key=rsa_key)

    done = client(house, scanner, OFFICE).sftp("ls")

    assert done.returncode != 0
    assert not house.records(operation="login", outcome="done")


def test_a_person_on_the_legacy_line_gets_modern_algorithms(house: SftpHouse) -> None:
    """An office PC behind the scanner's line loses nothing."""
    alice = house.add_person("alice")

    done = client(house, alice, SCANNER, ()).sftp("ls")

    assert done.returncode == 0, done.stderr
    assert algorithms(house).startswith(
        "kex=curve25519-sha256 hostkey=ssh-ed25519 cipher=aes128-gcm@openssh.com "
    )


def test_a_person_cannot_finish_a_login_over_old_algorithms(
    house: SftpHouse, rsa_key: Path
) -> None:
    """Nobody is to be talked down to SHA-1 who could do better."""
    alice = house.add_person("alice", key=rsa_key)

    done = client(house, alice, SCANNER).sftp("ls")

    assert done.returncode != 0
    assert ("line", "legacy_crypto") in refusals(house)
    assert not house.records(operation="login", outcome="done")


def test_a_person_cannot_sign_with_sha1_alone(house: SftpHouse, rsa_key: Path) -> None:
    """The exchange is modern, only the user's signature is old."""
    alice = house.add_person("alice", key=rsa_key)
    only = ("-oPubkeyAcceptedAlgorithms=ssh-rsa",)

    done = client(house, alice, SCANNER, only).sftp("ls")

    assert done.returncode != 0
    assert not house.records(operation="login", outcome="done")


def test_the_small_group_needs_its_own_word(house: SftpHouse, rsa_key: Path) -> None:
    """1024 bits are for `legacy+group1` alone (paperless-ng#1515)."""
    scanner = house.add_person("scanner", factors="key", key=rsa_key)
    options = ("-oKexAlgorithms=diffie-hellman-group1-sha1", *FORCED[1:])

    refused = client(house, scanner, SCANNER, options).sftp("ls")
    done = client(house, scanner, OLD_SCANNER, options).sftp("ls")

    assert refused.returncode != 0
    assert done.returncode == 0, done.stderr
    assert algorithms(house).startswith("kex=diffie-hellman-group1-sha1 ")


def test_a_short_rsa_key_is_for_an_old_scanner_on_its_line(
    house: SftpHouse, weak_key: Path
) -> None:
    """Some panels make 1024 bits and nothing else."""
    scanner = house.add_person("scanner", factors="key", key=weak_key)
    short = "-oRequiredRSASize=1024"

    done = client(house, scanner, SCANNER, [*FORCED, short]).sftp("ls")
    modern = ("-oPubkeyAcceptedAlgorithms=rsa-sha2-256", short)
    refused = client(house, scanner, OFFICE, modern).sftp("ls")

    assert done.returncode == 0, done.stderr
    assert refused.returncode != 0
    assert ("device", "no_key_proved") in refusals(house)


def test_old_algorithms_end_with_their_date(house: SftpHouse, rsa_key: Path) -> None:
    """A date that nobody watches over would be none; a live session ends too."""
    scanner = house.add_person("scanner", factors="key", key=rsa_key)
    line_id = house.add_line("room", ["127.0.7.0/24"], crypto="legacy-until:2999-01-01")
    before = client(house, scanner, "127.0.7.1").sftp("ls")

    house.set_line(line_id, crypto="legacy-until:2020-01-01")
    after = client(house, scanner, "127.0.7.1").sftp("ls")

    assert before.returncode == 0, before.stderr
    assert after.returncode != 0


def test_a_live_session_ends_when_its_line_is_modern_again(
    house: SftpHouse, rsa_key: Path
) -> None:
    """As with a suspended line: the setting takes hold of who is there."""
    scanner = house.add_person("scanner", factors="key", key=rsa_key)
    line_id = house.add_line("room", ["127.0.7.0/24"], crypto="legacy-until:2999-01-01")
    with client(house, scanner, "127.0.7.1").live():
        house.set_line(line_id, crypto="modern")

        until(lambda: house.records(operation="logout"), what="the session ends")
    (record,) = house.records(operation="logout")
    assert record["rule"] == "legacy_crypto"


@pytest.mark.parametrize(
    "option",
    ["-oMACs=hmac-sha2-256", "-oKexAlgorithms=diffie-hellman-group14-sha256"],
)
def test_what_is_dated_but_not_broken_serves_people_too(
    house: SftpHouse, option: str
) -> None:
    """An old PC beside the scanner; elsewhere nobody needs it."""
    alice = house.add_person("alice")

    done = client(house, alice, SCANNER, [option]).sftp("ls")
    refused = client(house, alice, OFFICE, [option]).sftp("ls")

    assert done.returncode == 0, done.stderr
    assert refused.returncode != 0
