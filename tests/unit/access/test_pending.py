"""Keys that come with a right password and are nobody's yet."""

from dataclasses import replace
from pathlib import Path

import pytest

from server.access.devices import Offer
from server.access.login import SshLogin, Verdict
from server.auth.pending import KEYS_MAX
from server.auth.snapshot import Factors
from server.model.errors import ExistsError, LoginRefusedError, NotFoundError
from server.model.identity import LoginKind
from server.model.operation import Protocol
from tests.support.accounts import (
    PASSWORD,
    Accounts,
    Client,
    add_person,
    count_checks,
    opened,
)
from tests.unit.access.conftest import SOURCE, new_client

REFUSED, PARTIAL = Verdict.REFUSED, Verdict.PARTIAL
DAY_US = 24 * 3600 * 1_000_000


def arrive(store: Accounts) -> SshLogin:
    store.watch.refresh()
    return store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))


def query(login: SshLogin, name: str, key: Client) -> bool:
    return login.key_known(name, key.algorithm, key.blob)


def prove(login: SshLogin, name: str, key: Client) -> Verdict:
    return login.key_proved(name, key.algorithm, key.blob)


def pending(store: Accounts) -> list[dict[str, object]]:
    store.credentials.pending.flush()
    return [dict(row) for row in store.administration.approval.waiting("main")]


def test_a_named_key_waits_once_the_password_was_right(
    store: Accounts, laptop: Client
) -> None:
    """OpenSSH only asks about a key that it is not told to sign with."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)

    answers = [query(login, "alice", laptop), login.password("alice", PASSWORD)]

    assert answers == [False, REFUSED]
    (row,) = pending(store)
    assert row["login"] == "alice"
    assert row["key_sha256"] == laptop.key_sha256
    assert str(row["fingerprint"]).startswith("SHA256:")
    assert (row["proved"], row["line"], row["tries"]) == (False, "office", 1)
    assert store.refusals() == [("device", "key_pending")]


def test_a_proved_key_is_said_to_be_so(store: Accounts, laptop: Client) -> None:
    """A signature shows that the private half is there."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)

    prove(login, "alice", laptop)
    query(login, "alice", laptop)
    login.password("alice", PASSWORD)

    assert [row["proved"] for row in pending(store)] == [True]


def test_a_wrong_password_brings_no_key(store: Accounts, laptop: Client) -> None:
    """Else anybody on the line could fill the list."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)

    query(login, "alice", laptop)
    login.password("alice", "wrong password")
    query(login, "nobody", laptop)
    login.password("nobody", PASSWORD)

    assert pending(store) == []


def test_right_and_wrong_cost_and_look_the_same(
    store: Accounts, laptop: Client
) -> None:
    """Whoever has no device must not learn whether a password is right."""
    add_person(store, "alice", new_client().ssh_key)
    checks = count_checks(store)

    def tell(name: str, password: str) -> tuple[object, ...]:
        login, before = arrive(store), len(checks)
        query(login, name, laptop)
        verdict = login.password(name, password)
        return verdict, login.methods(name), login.needs_code, len(checks) - before

    answers = [
        tell("alice", PASSWORD),
        tell("alice", "wrong password"),
        tell("nobody", PASSWORD),
    ]

    assert answers[0] == answers[1] == answers[2]
    assert answers[0][-1] == 1


def test_an_approved_key_logs_in(store: Accounts, laptop: Client) -> None:
    """The administrator compares the fingerprint and says yes."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)
    query(login, "alice", laptop)
    login.password("alice", PASSWORD)
    (row,) = pending(store)

    store.administration.approval.approve(
        "alice", str(row["fingerprint"]), "new-laptop"
    )

    login = arrive(store)
    assert prove(login, "alice", laptop) is PARTIAL
    assert login.password("alice", PASSWORD) is Verdict.ADMITTED
    assert pending(store) == []
    assert login.session is not None
    store.desk.leave(login.session)


def test_the_list_is_bounded_for_a_login(store: Accounts) -> None:
    """The newest stay: those of the person who is just trying."""
    add_person(store, "alice", new_client().ssh_key)
    keys = [new_client() for _ in range(KEYS_MAX + 3)]
    for key in keys:
        login = arrive(store)
        query(login, "alice", key)
        login.password("alice", PASSWORD)
        store.credentials.pending.flush()
        store.clock.ahead_us += 60_000_000

    found = {row["key_sha256"] for row in pending(store)}

    assert found == {key.key_sha256 for key in keys[-KEYS_MAX:]}


def test_a_key_waits_for_some_days_only(store: Accounts, laptop: Client) -> None:
    """A list that never empties is read by nobody."""
    add_person(store, "alice", new_client().ssh_key)
    login = arrive(store)
    query(login, "alice", laptop)
    login.password("alice", PASSWORD)
    label = str(pending(store)[0]["key"])

    store.clock.ahead_us += store.settings.auth.pending_days * DAY_US

    assert pending(store) == []
    with pytest.raises(NotFoundError):
        store.administration.approval.approve("alice", label)


def test_an_approved_key_is_no_other_logins(store: Accounts, laptop: Client) -> None:
    """One key, one device."""
    add_person(store, "alice", new_client().ssh_key)
    add_person(store, "bob", new_client().ssh_key)
    for name in ("alice", "bob"):
        login = arrive(store)
        query(login, name, laptop)
        login.password(name, PASSWORD)
    label = str(pending(store)[0]["key"])

    store.administration.approval.approve("alice", label, "shared")

    with pytest.raises(ExistsError):
        store.administration.approval.approve("bob", label, "shared")


def test_a_scanner_with_a_password_may_bring_its_key(
    store: Accounts, laptop: Client
) -> None:
    """Set up at the panel: the key is made there, and nobody types it."""
    store.administration.logins.add(
        "scanner",
        kind=LoginKind.INTAKE,
        factors=Factors.KEY_AND_PASSWORD,
        password=PASSWORD,
    )
    login = arrive(store)
    query(login, "scanner", laptop)
    login.password("scanner", PASSWORD)

    assert [row["login"] for row in pending(store)] == ["scanner"]


def test_a_certificate_of_a_trusted_authority_waits_too(
    store: Accounts, laptop: Client
) -> None:
    """The handshake has proved the key; the device is not registered."""
    add_person(store, "alice", new_client().ssh_key)
    store.watch.refresh()
    arrival = store.desk.arrive(SOURCE, Protocol.WEBDAV)
    arrival.certificate_name = "PC-17"
    login = store.desk.basic(arrival, laptop.key_sha256)
    checks = count_checks(store)

    for password in (PASSWORD, "wrong password"):
        with pytest.raises(LoginRefusedError) as caught:
            login.admit("alice", password)
        assert str(caught.value) == "Login refused."

    (row,) = pending(store)
    assert (row["subject"], row["proved"], row["protocol"]) == ("PC-17", True, "webdav")
    assert len(checks) == 2


def test_first_and_last_use_are_kept(store: Accounts, laptop: Client) -> None:
    """Which devices does nobody use any more?"""
    add_person(store, "alice", laptop.ssh_key)
    for client_name in ("SSH-2.0-one", "SSH-2.0-two"):
        store.watch.refresh()
        arrival = store.desk.arrive(SOURCE, Protocol.SFTP)
        arrival.client = client_name
        login = store.desk.ssh(arrival)
        prove(login, "alice", laptop)
        login.password("alice", PASSWORD)
        assert login.session is not None
        store.desk.leave(login.session)
        store.clock.ahead_us += DAY_US
    store.sessions.stop()

    shown = store.administration.devices.show("alice", "laptop")

    first, last = shown["first_use"], shown["last_use"]
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert first["client"] == "SSH-2.0-one"
    assert last["client"] == "SSH-2.0-two"
    assert last["line"] == "office"
    assert last["source"] == SOURCE[0]
    assert str(first["time"]) < str(last["time"])


def test_pending_keys_do_not_outlive_their_login(
    tmp_path: Path, laptop: Client
) -> None:
    """A new person of the same name is another."""
    with opened(tmp_path) as store:
        store.administration.contracts.add("main")
        store.administration.lines.add("main", "office", networks=("192.0.2.0/24",))
        add_person(store, "alice", new_client().ssh_key)
        login = arrive(store)
        query(login, "alice", laptop)
        login.password("alice", PASSWORD)
        store.credentials.pending.flush()

        store.administration.logins.remove("alice")
        add_person(store, "alice", new_client().ssh_key)

        assert pending(store) == []
        store.administration.devices.add(
            "alice", "second", replace(Offer(), ssh_key=laptop.ssh_key)
        )
