"""Failed logins: who waits, who is banned, and what the trail tells of it."""

import pytest

from server.access.bans import Bans
from server.access.login import SshLogin, Verdict
from server.auth.snapshot import Factors
from server.model.errors import LoginRefusedError, NotFoundError
from server.model.identity import LoginKind, Source
from server.model.operation import Protocol
from tests.support.accounts import (
    BAN_US,
    PASSWORD,
    Accounts,
    Client,
    add_person,
    count_checks,
)
from tests.unit.access.conftest import SOURCE, new_client

ADMITTED, PARTIAL, REFUSED = Verdict.ADMITTED, Verdict.PARTIAL, Verdict.REFUSED
SECOND_US = 1_000_000


def arrive(store: Accounts, source: tuple[str, int] = SOURCE) -> SshLogin:
    store.watch.refresh()
    return store.desk.ssh(store.desk.arrive(source, Protocol.SFTP))


def try_once(store: Accounts, name: str, key: Client, password: str) -> Verdict:
    login = arrive(store)
    assert login.key_proved(name, key.algorithm, key.blob) is PARTIAL
    verdict = login.password(name, password)
    if login.session is not None:
        store.desk.leave(login.session)
    return verdict


def guess_names(store: Accounts, count: int, source: tuple[str, int] = SOURCE) -> None:
    for n in range(count):
        arrive(store, source).password(f"guess{n}", "x")


def turned_away(store: Accounts, source: tuple[str, int] = SOURCE) -> str:
    with pytest.raises(LoginRefusedError) as caught:
        store.desk.arrive(source, Protocol.SFTP)
    return caught.value.rule


def test_after_five_slips_a_person_waits_and_then_gets_in(
    store: Accounts, laptop: Client
) -> None:
    """Even the right password is not looked at during the delay: no oracle."""
    add_person(store, "alice", laptop.ssh_key)

    for _ in range(5):
        assert try_once(store, "alice", laptop, "wrong") is REFUSED
    assert try_once(store, "alice", laptop, PASSWORD) is REFUSED
    store.clock.ahead_us += SECOND_US
    assert try_once(store, "alice", laptop, PASSWORD) is ADMITTED

    assert store.refusals()[-1] == ("limit", "too_many_tries")
    assert store.refusals().count(("password", "wrong_password")) == 5


def test_success_clears_the_count(store: Accounts, laptop: Client) -> None:
    """Four slips a day for a year are no attack."""
    add_person(store, "alice", laptop.ssh_key)
    for _ in range(3):
        for _ in range(4):
            assert try_once(store, "alice", laptop, "wrong") is REFUSED
        assert try_once(store, "alice", laptop, PASSWORD) is ADMITTED


def test_an_office_is_not_locked_out_by_one_persons_typos(
    store: Accounts, laptop: Client
) -> None:
    """Forty wrong passwords of one delay nobody else behind the address.

    Nor the same person's other device.
    """
    add_person(store, "alice", laptop.ssh_key)
    colleague = new_client()
    add_person(store, "bob", colleague.ssh_key)

    for _ in range(40):
        try_once(store, "alice", laptop, "wrong")

    assert try_once(store, "bob", colleague, PASSWORD) is ADMITTED
    assert not store.records(operation="system.ban")


def test_hammering_fills_no_disk(store: Accounts, laptop: Client) -> None:
    """Tries within a delay are told by a count."""
    add_person(store, "alice", laptop.ssh_key)

    for _ in range(55):
        try_once(store, "alice", laptop, "wrong")
    store.desk.close()

    rows = store.records(operation="login", outcome="refused")
    assert len(rows) <= 12  # a minute, and some delays, may have ended meanwhile
    told = sum(row.get("detail", {}).get("count", 1) for row in rows)
    assert told == 55


def test_a_guesser_of_names_is_banned_at_accept_and_let_in_again(
    store: Accounts, laptop: Client
) -> None:
    """On record with its end; a second ban lasts twice as long."""
    add_person(store, "alice", laptop.ssh_key)
    guess_names(store, 20)

    assert turned_away(store) == "banned"
    (row,) = store.records(operation="system.ban")
    assert (row["rule"], row["target"]) == ("unknown_logins", SOURCE[0])
    assert row["detail"]["lines"] == ["office"]
    store.clock.ahead_us += BAN_US
    guess_names(store, 20)
    store.clock.ahead_us += BAN_US
    assert turned_away(store) == "banned"
    store.clock.ahead_us += BAN_US
    assert try_once(store, "alice", laptop, PASSWORD) is ADMITTED


def test_another_process_follows_and_a_ban_can_be_lifted(store: Accounts) -> None:
    """`session ban list` and `lift`; the other process reads the shared rows."""
    other = Bans(store.engine, store.gate, clock=store.clock, first_us=BAN_US)
    guess_names(store, 20)
    other.refresh()
    line = store.watch.snapshot().lines[:1]
    source = Source.of_peer(SOURCE)

    assert other.find(source, line) is not None
    (shown,) = store.administration.bans.list()
    assert (shown["source"], shown["line"]) == (SOURCE[0], "office")
    assert store.administration.bans.lift(SOURCE[0])["lines"] == ["office"]
    other.refresh()
    store.desk._office.attempts.bans.refresh()
    assert other.find(source, line) is None
    arrive(store)
    with pytest.raises(NotFoundError):
        store.administration.bans.lift(SOURCE[0])
    assert store.records(operation="admin.session.lift_ban", outcome="done")


def test_a_ban_spares_the_neighbour_behind_the_same_address(store: Accounts) -> None:
    """MAP-E subscribers share an IPv4 address; their lines differ by ports."""
    lines = store.administration.lines
    for name, psid in (("mine", 1), ("neighbours", 2)):
        lines.add("main", name, networks=("203.0.113.9/32",), map_e=f"4:8:{psid}")
    mine, neighbours = ("203.0.113.9", 4112), ("203.0.113.9", 4128)
    guess_names(store, 20, mine)

    assert turned_away(store, mine) == "banned"
    arrive(store, neighbours)


def test_a_scanner_with_a_password_alone_waits_too(store: Accounts) -> None:
    """Its password could be guessed from inside the line without any device."""
    store.administration.logins.add(
        "scan", kind=LoginKind.INTAKE, factors=Factors.PASSWORD, password=PASSWORD
    )
    for _ in range(5):
        assert arrive(store).password("scan", "wrong") is REFUSED

    assert arrive(store).password("scan", PASSWORD) is REFUSED
    store.clock.ahead_us += SECOND_US
    assert arrive(store).password("scan", PASSWORD) is ADMITTED


def test_delays_tell_no_names(store: Accounts, laptop: Client) -> None:
    """A name is delayed alike whether a login has it, and however it is written.

    A delayed try runs as many password checks as any other: no answer comes sooner.
    """
    add_person(store, "alice", laptop.ssh_key)
    store.administration.logins.add(
        "scan", kind=LoginKind.INTAKE, factors=Factors.PASSWORD, password=PASSWORD
    )
    checks = count_checks(store)
    neighbour = ("192.0.2.8", 40000)

    def told(name: str) -> list[tuple[Verdict, int, int]]:
        answers = []
        for number in range(6):
            source = SOURCE if number else neighbour
            written = name if number % 2 else f"{name}@main"
            checks.clear()
            counted = len(store.records())
            verdict = arrive(store, source).password(written, "wrong")
            answers.append((verdict, len(checks), len(store.records()) - counted))
        return answers

    told("somebody")  # the first delayed try of a minute is a row, whoever it names
    assert told("nobody") == told("alice") == told("scan")
    assert told("nobody")[-1] == (REFUSED, 1, 0)


def test_weird_names_count_as_well(store: Accounts) -> None:
    """`Administrator` and `root;id` are never a login, and not in the trail."""
    for n in range(20):
        arrive(store).password(f"ROOT {n};", "x")

    assert turned_away(store) == "banned"
