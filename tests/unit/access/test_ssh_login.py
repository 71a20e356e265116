"""Logging in over SSH: the chain, and what it must never be talked into."""

import pyotp
import pytest

from server.access.devices import Offer
from server.access.login import SshLogin, Verdict
from server.auth.snapshot import Factors
from server.model.errors import LoginRefusedError
from server.model.identity import LoginKind
from server.model.operation import Protocol
from tests.support.accounts import (
    PASSWORD,
    Accounts,
    Client,
    add_person,
    count_checks,
)
from tests.unit.access.conftest import SOURCE, new_client

ADMITTED, PARTIAL, REFUSED = Verdict.ADMITTED, Verdict.PARTIAL, Verdict.REFUSED


def arrive(store: Accounts) -> SshLogin:
    store.watch.refresh()
    return store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))


def prove(login: SshLogin, name: str, key: Client) -> Verdict:
    return login.key_proved(name, key.algorithm, key.blob)


def test_a_person_needs_the_key_and_then_the_password(
    store: Accounts, laptop: Client
) -> None:
    """The product's promise: registered device and password, in this order."""
    add_person(store, "alice", laptop.ssh_key)
    login = arrive(store)

    verdicts = [prove(login, "alice", laptop), login.password("alice", PASSWORD)]

    assert verdicts == [PARTIAL, ADMITTED]
    assert login.session is not None
    (record,) = store.records(operation="login", outcome="done")
    assert record["login"] == "alice"
    assert record["device_name"] == "laptop"
    assert record["line"] == "office"
    assert record["contract"] == "main"
    assert record["detail"] == {"factors": ["key", "password"]}
    store.desk.leave(login.session)


def test_an_unsigned_query_is_no_factor(store: Accounts, laptop: Client) -> None:
    """Finding 1 of the hazards: knowing a public key must not count as having it."""
    add_person(store, "alice", laptop.ssh_key)
    login = arrive(store)

    assert login.key_known("alice", laptop.algorithm, laptop.blob)

    assert login.password("alice", PASSWORD) is REFUSED
    assert login.session is None
    assert store.refusals() == [("device", "no_key_proved")]


def test_a_key_of_another_login_proves_nothing(store: Accounts, laptop: Client) -> None:
    """Two colleagues cannot use each other's devices."""
    add_person(store, "alice", laptop.ssh_key)
    add_person(store, "bob", new_client().ssh_key)
    login = arrive(store)

    assert not login.key_known("bob", laptop.algorithm, laptop.blob)
    assert prove(login, "bob", laptop) is REFUSED
    assert login.password("bob", PASSWORD) is REFUSED

    assert store.refusals()[0] == ("device", "device_of_another_login")


def test_changing_the_login_drops_what_was_proved(
    store: Accounts, laptop: Client
) -> None:
    """RFC 4252 section 5: a factor belongs to the name it was proved for."""
    add_person(store, "alice", laptop.ssh_key)
    other = new_client()
    add_person(store, "bob", other.ssh_key)
    login = arrive(store)
    prove(login, "alice", laptop)

    assert login.password("bob", PASSWORD) is REFUSED
    assert login.password("alice", PASSWORD) is REFUSED

    assert login.session is None


def test_a_code_is_asked_for_and_used_up(store: Accounts, laptop: Client) -> None:
    """RFC 6238 section 5.2: a code opens one session only."""
    secret = add_person(store, "alice", laptop.ssh_key, totp="required")
    code = pyotp.TOTP(secret).now()
    login, again = arrive(store), arrive(store)

    prove(again, "alice", laptop)
    again.password("alice", PASSWORD)
    verdicts = [prove(login, "alice", laptop), login.password("alice", PASSWORD)]
    methods = login.methods("alice")
    verdicts.append(login.code("alice", code))

    assert verdicts == [PARTIAL, PARTIAL, ADMITTED]
    assert methods == ["keyboard-interactive"]
    assert again.code("alice", code) is REFUSED
    assert again.needs_password, "a wrong code makes the password due again"
    assert store.refusals() == [("totp", "replayed_code")]


@pytest.mark.parametrize("shown", ["nothing", "a query", "a proof", "another's proof"])
def test_every_refused_password_costs_one_check(
    store: Accounts, laptop: Client, shown: str
) -> None:
    """The time of an answer tells neither who there is nor what was right."""
    add_person(store, "alice", laptop.ssh_key)
    add_person(store, "bob", new_client().ssh_key)
    store.administration.logins.add("carol")  # invited
    store.administration.logins.disable("bob")
    checks = count_checks(store)

    def cost(name: str, password: str) -> tuple[Verdict, int]:
        login = arrive(store)
        key = new_client() if shown == "another's proof" else laptop
        if shown == "a query":
            login.key_known(name, key.algorithm, key.blob)
        elif shown != "nothing":
            prove(login, name, key)
        checks.clear()
        return login.password(name, password), len(checks)

    told = {cost(name, "wrong") for name in ("alice", "bob", "carol", "nobody", "")}
    if shown != "a proof":
        told.add(cost("alice", PASSWORD))

    assert told == {(REFUSED, 1)}


def test_needs_code_tells_nothing_before_a_key_is_proved(
    store: Accounts, laptop: Client
) -> None:
    """Who has a one-time code is nobody's business outside."""
    add_person(store, "alice", laptop.ssh_key, totp="required")
    login = arrive(store)

    before = login.needs_code, login.methods("alice"), login.methods("nobody")
    prove(login, "alice", laptop)

    assert before == (False, login.methods("nobody"), login.methods("nobody"))
    assert login.needs_code


@pytest.mark.parametrize(
    ("factors", "password", "expected"),
    [
        (Factors.KEY, None, [ADMITTED]),
        (Factors.PASSWORD, PASSWORD, [ADMITTED]),
        (Factors.KEY_AND_PASSWORD, PASSWORD, [PARTIAL, ADMITTED]),
    ],
)
def test_an_intake_login_proves_what_its_factors_say(
    store: Accounts,
    laptop: Client,
    factors: Factors,
    password: str | None,
    expected: list[Verdict],
) -> None:
    """A scanner cannot do more than its panel offers."""
    admin = store.administration
    admin.logins.add(
        "scanner", kind=LoginKind.INTAKE, factors=factors, password=password
    )
    admin.devices.add("scanner", "mfp", Offer(ssh_key=laptop.ssh_key))
    login = arrive(store)

    verdicts = []
    if factors is not Factors.PASSWORD:
        verdicts.append(prove(login, "scanner", laptop))
    if factors is not Factors.KEY:
        verdicts.append(login.password("scanner", PASSWORD))

    assert verdicts == expected
    assert login.session is not None


def test_an_auditor_is_refused_because_he_has_no_files(
    store: Accounts, laptop: Client
) -> None:
    """An auditor reads the trail, not the files."""
    admin = store.administration
    added = admin.logins.add("eve", kind=LoginKind.AUDITOR, totp_rule="off")
    admin.logins.enrol("eve", str(added["enrolment_code"]), PASSWORD)
    admin.devices.add("eve", "laptop", Offer(ssh_key=laptop.ssh_key))
    login = arrive(store)

    assert not login.key_known("eve", laptop.algorithm, laptop.blob)
    assert prove(login, "eve", laptop) is REFUSED

    assert store.refusals() == [("login", "auditor_has_no_files")]


def test_an_invited_login_is_refused(store: Accounts, laptop: Client) -> None:
    """Before enrolment there is no password that could be right."""
    store.administration.logins.add("alice", totp_rule="off")
    store.administration.devices.add("alice", "laptop", Offer(ssh_key=laptop.ssh_key))
    login = arrive(store)

    assert prove(login, "alice", laptop) is PARTIAL
    assert login.password("alice", PASSWORD) is REFUSED
    assert store.refusals() == [("login", "not_enrolled")]


def test_no_password_stands_in_the_trail(store: Accounts, laptop: Client) -> None:
    """Not the right one, not a wrong one, not one typed as the user's name."""
    secret = add_person(store, "alice", laptop.ssh_key, totp="required")
    login = arrive(store)
    typed = ["Wrong Password 1", PASSWORD, "Typed As A Name 2"]

    prove(login, "alice", laptop)
    login.password("alice", typed[0])
    login.password("alice", PASSWORD)
    login.code("alice", "000000")
    login.password(typed[2], "x")

    trail = "".join(
        path.read_text() for path in store.settings.state_dir.rglob("*.jsonl")
    )
    assert not [text for text in [*typed, secret] if text in trail]
    assert len(store.refusals()) == 3


def test_key_queries_have_a_budget(store: Accounts, laptop: Client) -> None:
    """Unsigned queries must not be a way to try keys without end."""
    add_person(store, "alice", laptop.ssh_key)
    login = arrive(store)
    stranger = new_client()

    for _ in range(store.settings.sftp.key_queries_max):
        login.key_known("alice", stranger.algorithm, stranger.blob)

    assert not login.key_known("alice", laptop.algorithm, laptop.blob)
    assert not login.key_known("alice", laptop.algorithm, laptop.blob)
    assert store.refusals() == [("limit", "key_queries_max")]


def test_an_unknown_key_type_is_a_soft_refusal(store: Accounts) -> None:
    """A client goes on with its next key instead of being thrown out."""
    login = arrive(store)

    known = login.key_known("alice", "sk-new@example.org", b"\x00\x00\x00\x03foo")

    assert not known


def test_giving_up_leaves_one_row_with_the_offered_key(
    store: Accounts, laptop: Client
) -> None:
    """The administrator sees which key to register."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)
    login.key_known("alice", laptop.algorithm, laptop.blob)

    login.give_up("connection closed")
    login.give_up("connection closed")

    (record,) = store.records(operation="login", outcome="refused")
    assert record["device_key"] == laptop.key_sha256
    assert record["rule"] == "no_key_proved"


def test_a_source_outside_every_line_is_told_once_a_minute(store: Accounts) -> None:
    """A scanner of the internet must not fill the trail."""
    peer = ("198.51.100.9", 1234)
    for _ in range(5):
        with pytest.raises(LoginRefusedError):
            store.desk.arrive(peer, Protocol.SFTP)

    first = store.records(operation="login", outcome="refused")
    store.desk.close()

    rows = store.records(operation="login", outcome="refused")
    assert len(first) == 1
    assert first[0]["source_ip"] == "198.51.100.9"
    assert (first[0]["stage"], first[0]["rule"]) == ("line", "no_line")
    assert len(rows) == 2
    assert rows[1]["detail"]["count"] == 4


def test_a_mapped_ipv4_peer_lies_in_its_ipv4_line(store: Accounts) -> None:
    """A dual-stack socket names IPv4 peers as `::ffff:a.b.c.d`."""
    arrival = store.desk.arrive(("::ffff:192.0.2.7", 40000, 0, 0), Protocol.SFTP)

    assert arrival.source.ip == "192.0.2.7"


def test_a_peer_without_an_address_is_refused(store: Accounts) -> None:
    """What cannot be placed on a line is outside all of them."""
    with pytest.raises(LoginRefusedError):
        store.desk.arrive("/run/socket", Protocol.SFTP)

    assert store.refusals() == [("line", "no_address")]


def test_logins_are_refused_when_the_accounts_are_too_old(
    store: Accounts, laptop: Client
) -> None:
    """A worker that lost the database must not go on by what it once knew."""
    add_person(store, "alice", laptop.ssh_key)
    login = arrive(store)
    store.watch.stop()
    store.clock.ahead_us += 60_000_000

    assert prove(login, "alice", laptop) is REFUSED
    assert store.refusals() == [("login", "accounts_stale")]
