"""Logging in over HTTP: certificates, secrets, unlock windows, remembered verdicts."""

from pathlib import Path

import pyotp
import pytest

from server.access.devices import Offer
from server.access.login import BasicLogin
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
    opened,
)
from tests.unit.access.conftest import SOURCE, new_client


def connect(store: Accounts, key: Client | None) -> BasicLogin:
    store.watch.refresh()
    arrival = store.desk.arrive(SOURCE, Protocol.WEBDAV)
    return store.desk.basic(arrival, key.key_sha256 if key else None)


def refused(login: BasicLogin, user: str, password: str) -> tuple[str, str]:
    with pytest.raises(LoginRefusedError) as caught:
        login.admit(user, password)
    assert str(caught.value) == "Login refused."
    return str(caught.value.stage), caught.value.rule


def test_the_same_credentials_keep_their_session(
    store: Accounts, laptop: Client
) -> None:
    """A connection carries many requests: one session, one login record."""
    add_person(store, "alice", laptop.ssh_key)
    login = connect(store, laptop)

    sessions = {id(login.admit("alice", PASSWORD)) for _ in range(3)}

    assert len(sessions) == 1
    assert len(store.records(operation="login", outcome="done")) == 1
    login.close()
    assert len(store.records(operation="logout")) == 1


def test_a_second_connection_needs_no_second_password_check(
    store: Accounts, laptop: Client
) -> None:
    """Explorer opens many connections; argon2 for each would stall the server."""
    add_person(store, "alice", laptop.ssh_key)
    first, second = connect(store, laptop), connect(store, laptop)
    first.admit("alice", PASSWORD)
    checks = count_checks(store)

    second.admit("alice", PASSWORD)

    assert checks == []
    first.close()
    second.close()


def test_remembered_verdicts_are_dropped_when_the_accounts_change(
    store: Accounts, laptop: Client
) -> None:
    """A verdict must not outlive the password or the device that it rests on."""
    add_person(store, "alice", laptop.ssh_key)
    connect(store, laptop).admit("alice", PASSWORD)
    store.administration.folders.add("main", "office")
    login = connect(store, laptop)
    checks = count_checks(store)

    login.admit("alice", PASSWORD)

    assert len(checks) == 1


def test_the_verdict_of_one_device_is_not_that_of_another(
    store: Accounts, laptop: Client
) -> None:
    """The password alone, remembered, must not open a locked device."""
    add_person(store, "alice", laptop.ssh_key)
    other = new_client()
    store.administration.devices.add("alice", "phone", Offer(ssh_key=other.ssh_key))
    store.administration.devices.lock("alice", "phone")
    connect(store, laptop).admit("alice", PASSWORD)

    stage = refused(connect(store, other), "alice", PASSWORD)

    assert stage == ("device", "device_locked")


@pytest.mark.parametrize("password", ["wrong", "wrong123456", PASSWORD + "1"])
@pytest.mark.parametrize("user", ["alice", "bob", "nobody", "alice@nowhere"])
def test_every_refusal_costs_the_same(
    store: Accounts, laptop: Client, user: str, password: str
) -> None:
    """The time of an answer must not tell known names from unknown ones."""
    add_person(store, "alice", laptop.ssh_key, totp="required")
    add_person(store, "bob", new_client().ssh_key)
    login = connect(store, laptop)
    checks = count_checks(store)

    refused(login, user, password)

    assert len(checks) == (2 if password.endswith("123456") else 1)


def test_six_digits_open_a_window_once(store: Accounts, laptop: Client) -> None:
    """No WebDAV client can ask for a code, so it is typed after the password."""
    secret = add_person(store, "alice", laptop.ssh_key, totp="required")
    code = pyotp.TOTP(secret).now()

    before = refused(connect(store, laptop), "alice", PASSWORD)
    connect(store, laptop).admit("alice", PASSWORD + code)
    connect(store, laptop).admit("alice", PASSWORD)
    connect(store, laptop).admit("alice", PASSWORD + code)

    assert before == ("totp", "code_missing")
    (act,) = store.records(
        operation="admin.login.unlock_window", phase="outcome", outcome="done"
    )
    assert act["device_name"] == "laptop"


def test_a_window_is_for_one_device_and_ends(store: Accounts, laptop: Client) -> None:
    """A proved code must not unlock the stolen laptop too, nor for ever."""
    secret = add_person(store, "alice", laptop.ssh_key, totp="required")
    other = new_client()
    store.administration.devices.add("alice", "phone", Offer(ssh_key=other.ssh_key))
    code = pyotp.TOTP(secret).now()
    login = connect(store, laptop)
    login.admit("alice", PASSWORD + code)

    elsewhere = refused(connect(store, other), "alice", PASSWORD + code)
    store.clock.ahead_us += 13 * 3600 * 1_000_000
    store.watch.refresh()
    late = refused(login, "alice", PASSWORD)

    assert elsewhere == ("totp", "replayed_code")
    assert late == ("totp", "code_missing")


def test_a_wrong_password_spends_no_code(store: Accounts, laptop: Client) -> None:
    """Otherwise anyone could use up the owner's codes."""
    secret = add_person(store, "alice", laptop.ssh_key, totp="required")
    code = pyotp.TOTP(secret).now()

    refused(connect(store, laptop), "alice", "wrong" + code)

    connect(store, laptop).admit("alice", PASSWORD + code)


def test_a_password_may_end_with_six_digits(store: Accounts, laptop: Client) -> None:
    """It is then not mistaken for a code while a window stands."""
    admin = store.administration
    added = admin.logins.add("alice", totp_rule="required")
    password = "battery staple 123456"
    enrolled = admin.logins.enrol("alice", str(added["enrolment_code"]), password)
    admin.devices.add("alice", "laptop", Offer(ssh_key=laptop.ssh_key))
    secret = str(enrolled["totp_uri"]).partition("secret=")[2].partition("&")[0]
    code = pyotp.TOTP(secret).now()

    connect(store, laptop).admit("alice", password + code)

    connect(store, laptop).admit("alice", password)


def test_a_certificate_of_another_login_is_refused(
    store: Accounts, laptop: Client
) -> None:
    """The device belongs to its login, whatever password is known."""
    add_person(store, "alice", laptop.ssh_key)
    add_person(store, "bob", new_client().ssh_key)

    stage = refused(connect(store, laptop), "bob", PASSWORD)

    assert stage == ("device", "device_of_another_login")
    assert store.refusals() == [stage]


def test_a_device_secret_stands_for_device_and_password(store: Accounts) -> None:
    """Windows and Finder have no certificate to show."""
    admin = store.administration
    added = admin.logins.add("alice", totp_rule="off")
    admin.logins.enrol("alice", str(added["enrolment_code"]), PASSWORD)
    _, issued = admin.devices.add("alice", "finder", Offer(secret=True))

    session = connect(store, None).admit("alice+finder", issued.secret)

    assert session.actor.device_name == "finder"
    assert refused(connect(store, None), "alice+finder", PASSWORD) == (
        "device",
        "wrong_secret",
    )
    assert refused(connect(store, None), "alice", issued.secret) == (
        "device",
        "unknown_device",
    )
    connect(store, None).admit("alice+finder@main", issued.secret)


def test_a_device_secret_needs_a_window_where_codes_are_required(
    store: Accounts,
) -> None:
    """A stored secret alone must not get round the one-time code."""
    admin = store.administration
    added = admin.logins.add("alice", totp_rule="required")
    enrolled = admin.logins.enrol("alice", str(added["enrolment_code"]), PASSWORD)
    _, issued = admin.devices.add("alice", "finder", Offer(secret=True))
    secret = str(enrolled["totp_uri"]).partition("secret=")[2].partition("&")[0]

    alone = refused(connect(store, None), "alice+finder", issued.secret)
    code = pyotp.TOTP(secret).now()
    connect(store, None).admit("alice+finder", issued.secret + code)
    connect(store, None).admit("alice+finder", issued.secret)

    assert alone == ("totp", "code_missing")


def test_an_intake_key_needs_no_password(store: Accounts, laptop: Client) -> None:
    """Line and key are what this scanner has."""
    admin = store.administration
    admin.logins.add("scanner", kind=LoginKind.INTAKE, factors=Factors.KEY)
    admin.devices.add("scanner", "mfp", Offer(ssh_key=laptop.ssh_key))

    session = connect(store, laptop).admit("scanner", "anything")

    assert session.actor.kind is LoginKind.INTAKE


def test_a_cut_session_is_not_given_out_again(store: Accounts, laptop: Client) -> None:
    """A kept-alive connection must notice the lock at its next request."""
    add_person(store, "alice", laptop.ssh_key)
    login = connect(store, laptop)
    login.admit("alice", PASSWORD)

    store.administration.devices.lock("alice", "laptop")

    assert refused(login, "alice", PASSWORD) == ("device", "device_locked")


def test_a_login_without_contract_must_be_clear(
    store: Accounts, laptop: Client
) -> None:
    """Two contracts on one line may both have an alice."""
    store.administration.contracts.add("other")
    store.administration.lines.add("other", "office", networks=("192.0.2.0/28",))
    add_person(store, "alice@main", laptop.ssh_key)
    add_person(store, "alice@other", new_client().ssh_key)

    unclear = refused(connect(store, laptop), "alice", PASSWORD)
    session = connect(store, laptop).admit("alice@main", PASSWORD)

    assert unclear == ("login", "ambiguous_login")
    assert session.actor.contract == "main"


def test_windows_are_seen_by_another_process_at_once(
    tmp_path: Path, laptop: Client, database_url: str
) -> None:
    """A drive's second connection may land in a worker that has not polled yet."""
    with (
        opened(tmp_path / "a", url=database_url, revision_poll_ms=2000) as one,
        opened(tmp_path / "b", url=database_url, revision_poll_ms=2000) as two,
    ):
        (tmp_path / "b/state/keys/totp.key").write_bytes(
            (tmp_path / "a/state/keys/totp.key").read_bytes()
        )
        one.administration.contracts.add("main")
        one.administration.lines.add("main", "office", networks=("192.0.2.0/24",))
        secret = add_person(one, "alice", laptop.ssh_key, totp="required")
        there = connect(two, laptop)
        code = pyotp.TOTP(secret).now()

        connect(one, laptop).admit("alice", PASSWORD + code)

        there.admit("alice", PASSWORD)
