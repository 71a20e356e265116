"""Ways around the login, and that there are none."""

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paramiko.message import Message
from paramiko.pkey import PKey

from server.auth.accounts import write_networks, write_ports
from server.settings.schema import SftpSettings
from tests.support.sftp import (
    ELSEWHERE,
    PASSWORD,
    Person,
    SftpHouse,
    new_key,
    open_house,
)
from tests.support.ssh_probe import (
    CHANGE,
    PK_OK,
    UNSIGNED,
    USERAUTH_FAILURE,
    USERAUTH_SUCCESS,
    key_of,
    probing,
    read_all,
)
from tests.support.waiting import until

ALL = "publickey,password,keyboard-interactive"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


@pytest.fixture
def key(alice: Person) -> PKey:
    return key_of(alice.key)


@pytest.fixture
def stranger(tmp_path: Path) -> PKey:
    return key_of(new_key(tmp_path / "stranger"))


def refusals(house: SftpHouse) -> list[tuple[str, str]]:
    found = house.records(operation="login", outcome="refused")
    return [(record["stage"], record["rule"]) for record in found]


def test_an_unsigned_query_is_no_factor(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """With stock paramiko hooks the public key and the password were enough."""
    with probing(house) as probe:
        assert probe.query("alice", key) == PK_OK

        assert probe.password("alice", PASSWORD) == (USERAUTH_FAILURE, (ALL, False))

    assert refusals(house) == [("device", "no_key_proved")]
    assert not house.records(operation="login", outcome="done")


def test_a_signature_by_another_key_proves_nothing(
    house: SftpHouse, alice: Person, key: PKey, stranger: PKey
) -> None:
    """The registered key's public half in the packet, the signature by a stranger."""
    with probing(house) as probe:
        forged = probe.prove("alice", stranger, blob=key.asbytes())

        assert forged == (USERAUTH_FAILURE, (ALL, False))
        assert probe.password("alice", PASSWORD)[0] == USERAUTH_FAILURE


def test_a_proof_for_one_login_does_not_open_another(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """A registered key is its own login's and nobody else's."""
    house.add_person("bob")
    with probing(house) as probe:
        assert probe.query("bob", key) == USERAUTH_FAILURE
        assert probe.prove("bob", key) == (USERAUTH_FAILURE, (ALL, False))
        assert probe.password("bob", PASSWORD)[0] == USERAUTH_FAILURE


def test_the_login_name_cannot_change_in_the_middle(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """Factors of one name must never count for another (RFC 4252, section 5)."""
    house.add_person("bob")
    with probing(house) as probe:
        probe.prove("alice", key)

        with pytest.raises(EOFError):
            probe.password("bob", PASSWORD)

    assert not house.records(operation="login", outcome="done")


def test_the_key_alone_does_not_log_in(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """It is a partial success, and the rest is asked for."""
    with probing(house) as probe:
        answer = probe.prove("alice", key)

        assert answer == (USERAUTH_FAILURE, ("password,keyboard-interactive", True))
        assert not probe.transport.is_authenticated()


def test_key_and_password_log_in_and_are_on_record(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """The record says which factors, which algorithms, which client."""
    with probing(house) as probe:
        probe.log_in("alice", key, PASSWORD)
        (record,) = house.records(operation="login", outcome="done")

    assert record["detail"]["factors"] == ["key", "password"]
    assert record["algorithms"].startswith("kex=mlkem768x25519-sha256 ")
    assert record["client"].startswith("SSH-2.0-paramiko")
    until(lambda: house.records(operation="logout"), what="the logout is on record")


def test_an_unknown_login_is_answered_like_a_known_one(
    house: SftpHouse, alice: Person, stranger: PKey
) -> None:
    """Else names could be tried out (CVE-2016-6210 and its kin)."""

    def answers(user: str) -> list[object]:
        with probing(house) as probe:
            return [
                probe.request(user, "none"),
                probe.query(user, stranger),
                probe.prove(user, stranger),
                probe.password(user, "wrong"),
                probe.request(user, "keyboard-interactive", "", "")[0],
            ]

    assert answers("alice") == answers("nobody")


def test_none_is_refused_with_the_methods(house: SftpHouse) -> None:
    """Clients ask for the list this way."""
    with probing(house) as probe:
        assert probe.request("alice", "none") == (USERAUTH_FAILURE, (ALL, False))


def test_an_answer_without_a_question_is_refused(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """Paramiko hands such a response on, with no user name set."""
    with probing(house) as probe:
        assert probe.ask(61, 1, PASSWORD)[0] == USERAUTH_FAILURE
        probe.prove("alice", key)
        assert probe.ask(61, 1, PASSWORD)[0] == USERAUTH_FAILURE

        assert not probe.transport.is_authenticated()


def test_more_answers_than_questions_are_refused(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """One prompt, one answer."""
    with probing(house) as probe:
        probe.prove("alice", key)
        probe.request("alice", "keyboard-interactive", "", "")

        assert probe.ask(61, 2, PASSWORD, PASSWORD)[0] == USERAUTH_FAILURE


@pytest.mark.parametrize(
    "algorithm",
    [
        "ssh-ed25519-cert-v01@openssh.com",
        "sk-ssh-ed25519@openssh.com",
        "ssh-rsa",
        "x" * 500,
    ],
)
def test_an_unsuitable_key_is_refused_softly(
    house: SftpHouse, alice: Person, key: PKey, algorithm: str
) -> None:
    """Paramiko disconnects, so the next key of the client never came."""
    with probing(house) as probe:
        query = probe.request("alice", "publickey", UNSIGNED, algorithm, key.asbytes())
        assert query == (USERAUTH_FAILURE, (ALL, False))

        probe.log_in("alice", key, PASSWORD)


@pytest.mark.parametrize("blob", [b"", b"\0\0\0\x0bssh-ed25519", bytes(5000)])
def test_a_mangled_key_is_refused_softly(
    house: SftpHouse, alice: Person, key: PKey, blob: bytes
) -> None:
    """In a query and in a proof."""
    with probing(house) as probe:
        request = ("alice", "publickey", False, "ssh-ed25519", blob)
        assert probe.request(*request)[0] == USERAUTH_FAILURE
        assert probe.prove("alice", key, blob=blob or b"x")[0] == USERAUTH_FAILURE

        probe.log_in("alice", key, PASSWORD)


def test_a_mangled_signature_is_refused_softly(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """Libraries raise all sorts of things here."""
    named = Message()
    named.add_string("ssh-ed25519")
    named.add_string(b"short")
    with probing(house) as probe:
        for signature in (b"", b"\xff" * 8, named.asbytes()):
            fields = (True, "ssh-ed25519", key.asbytes(), signature)
            answer = probe.request("alice", "publickey", *fields)
            assert answer[0] == USERAUTH_FAILURE


def test_a_password_that_is_no_utf8_is_a_wrong_password(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """Clients on old Windows send CP932."""
    with probing(house) as probe:
        probe.prove("alice", key)

        answer = probe.password("alice", "合言葉".encode("cp932"))

        assert answer[0] == USERAUTH_FAILURE
        assert probe.password("alice", PASSWORD)[0] == USERAUTH_SUCCESS


def test_a_change_of_password_is_refused(
    house: SftpHouse, alice: Person, key: PKey
) -> None:
    """And the old password in such a request does not log in either."""
    with probing(house) as probe:
        probe.prove("alice", key)

        answer = probe.request("alice", "password", CHANGE, PASSWORD, "new password")

        assert answer[0] == USERAUTH_FAILURE
        assert not probe.transport.is_authenticated()


def test_failed_tries_are_bounded(house: SftpHouse, alice: Person, key: PKey) -> None:
    """Six, and the connection is over; each is on record."""
    with probing(house) as probe:
        probe.prove("alice", key)
        for _ in range(5):
            assert probe.password("alice", "wrong")[0] == USERAUTH_FAILURE
        with pytest.raises(EOFError):
            probe.password("alice", "wrong")

    expected = [("password", "wrong_password")] * 5 + [("limit", "too_many_tries")]
    assert refusals(house) == expected


def test_unsigned_queries_are_bounded(
    house: SftpHouse, alice: Person, stranger: PKey
) -> None:
    """They cost no try, so they have a budget of their own; its end is on record."""
    with probing(house) as probe:
        for _ in range(20):
            assert probe.query("alice", stranger) == USERAUTH_FAILURE
        with pytest.raises(EOFError):
            probe.query("alice", stranger)

    assert ("limit", "key_queries_max") in refusals(house)


@pytest.mark.parametrize("method", ["none", "hostbased", "keyboard-interactive"])
def test_no_request_can_be_repeated_without_end(
    house: SftpHouse, alice: Person, method: str
) -> None:
    """Unanswered challenges and unknown methods count as well."""
    fields = ("", "") if method == "keyboard-interactive" else ()

    def ask_for_ever() -> None:
        for _ in range(20):
            probe.request("alice", method, *fields)

    with probing(house) as probe, pytest.raises(EOFError):
        ask_for_ever()


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff\xff", b"\0\0\0\5alice\0\0\0\x0e"])
def test_a_malformed_login_request_ends_the_connection(
    house: SftpHouse, body: bytes
) -> None:
    """Paramiko would fill it up with zeros and go on."""
    with probing(house) as probe:
        message = Message()
        message.add_byte(b"\x32")
        message.add_bytes(body)
        probe.transport._send_message(message)

        with pytest.raises(EOFError):
            probe.answer()


def test_an_unfinished_login_leaves_one_row(
    house: SftpHouse, alice: Person, stranger: PKey
) -> None:
    """Who came and left is in the trail, with the key that was offered."""
    with probing(house) as probe:
        probe.query("alice", stranger)

    until(lambda: refusals(house), what="the row is there")
    (record,) = house.records(operation="login", outcome="refused")
    assert (record["login"], record["rule"]) == ("alice", "no_key_proved")
    assert record["device_key"]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("no_line", {"networks": write_networks(ELSEWHERE)}),
        ("line_suspended", {"state": "suspended"}),
        ("line_expired", {"valid_until_us": 1}),
        ("line_not_yet_valid", {"valid_from_us": 1 << 62}),
        ("port", {"ports": write_ports([(1, 2)])}),
    ],
)
def test_a_source_outside_every_line_gets_not_one_byte(
    house: SftpHouse, rule: str, values: dict[str, object]
) -> None:
    """No banner, no version: nothing to learn, and one row."""
    house.set_line(house.line_id, **values)

    with house.connect() as sock:
        said = read_all(sock)

    assert said == b""
    (record,) = house.records(operation="login", outcome="refused")
    assert (record["stage"], record["rule"]) == ("line", rule)
    assert record["source_ip"] == "127.0.0.1"


def test_a_port_inside_the_lines_set_is_greeted(house: SftpHouse) -> None:
    """The neighbour behind the same address has the other ports (MAP-E)."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        house.set_line(house.line_id, ports=write_ports([(port, port)]))
        sock.connect(("127.0.0.1", house.port))
        sock.settimeout(10)

        assert sock.recv(4) == b"SSH-"


def test_an_unknown_name_takes_as_long_as_a_known_one(
    house: SftpHouse, key: PKey, stranger: PKey
) -> None:
    """The hash is checked for both. CPU time: others' load is none of theirs."""
    times: dict[str, list[float]] = {"alice": [], "nobody": []}
    for _ in range(9):
        for name, found in times.items():
            with probing(house) as probe:
                probe.prove(name, stranger)
                began_s = time.process_time()
                probe.password(name, "wrong")
                found.append(time.process_time() - began_s)

    known, unknown = (statistics.median(found) for found in times.values())
    assert 0.5 < unknown / known < 2


def test_a_login_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """From the connect on, whatever is sent meanwhile."""
    with (
        open_house(tmp_path, sftp=SftpSettings(login_grace_s=5)) as house,
        house.connect() as sock,
    ):
        assert read_all(sock).startswith(b"SSH-2.0-Kagikura\r\n")
        until(lambda: refusals(house), what="it is on record")
        (record,) = house.records(operation="login", outcome="refused")
        assert record["detail"]["ended"] == "login grace time over"


def test_intake_with_a_key_alone_logs_in(house: SftpHouse) -> None:
    """Scanners have one factor, and their line."""
    scanner = house.add_person("scanner", factors="key")
    with probing(house) as probe:
        assert probe.prove("scanner", key_of(scanner.key))[0] == USERAUTH_SUCCESS
