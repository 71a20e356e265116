"""The first login: an enrolment code opens a conversation, not a session."""

from typing import Any

import pyotp
import pytest

from server.access.devices import Offer
from server.access.first_login import TRIES_MAX
from server.access.login import SshLogin, Verdict
from server.auth.password import Hasher
from server.model.operation import Protocol
from server.settings.schema import AuthSettings
from tests.support.accounts import CHEAP, PASSWORD, Accounts, Client, count_checks
from tests.unit.access.conftest import SOURCE, new_client

ADMITTED, PARTIAL, REFUSED = Verdict.ADMITTED, Verdict.PARTIAL, Verdict.REFUSED
ENROLLING = Verdict.ENROLLING
ENTER = [""]
DEARER: dict[str, Any] = {**CHEAP, "argon2_iterations": 2}


def invite(store: Accounts, key: Client, totp: str = "off") -> str:
    """Add alice with a device; her enrolment code."""
    added = store.administration.logins.add(
        "alice", totp_rule="required" if totp == "required" else "off"
    )
    store.administration.devices.add("alice", "laptop", Offer(ssh_key=key.ssh_key))
    return str(added["enrolment_code"])


def begin(store: Accounts, key: Client) -> SshLogin:
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))
    assert login.key_proved("alice", key.algorithm, key.blob) is PARTIAL
    return login


def question(login: SshLogin) -> str:
    assert login.first_login is not None
    return login.first_login.question.text


def secret_of(login: SshLogin) -> str:
    return question(login).partition("Secret: ")[2].partition("\n")[0]


def test_the_code_leads_to_a_password_of_ones_own(
    store: Accounts, laptop: Client
) -> None:
    """Where no console is at hand: `sftp` is enough."""
    code = invite(store, laptop)
    login = begin(store, laptop)

    verdicts = [
        login.password("alice", code, asked=True),
        login.enrol([PASSWORD, PASSWORD]),
    ]

    assert verdicts == [ENROLLING, ADMITTED]
    assert login.session is not None
    store.desk.leave(login.session)
    again = begin(store, laptop)
    assert again.password("alice", code, asked=True) is REFUSED
    assert again.password("alice", PASSWORD) is ADMITTED
    (record,) = store.records(operation="admin.login.enrol", phase="outcome")
    assert (record["login"], record["device_name"]) == ("alice", "laptop")
    assert record["protocol"] == "sftp"


def test_the_authenticator_is_shown_and_confirmed(
    store: Accounts, laptop: Client
) -> None:
    """Nothing is stored before a first code shows that the secret was taken."""
    code = invite(store, laptop, totp="required")
    login = begin(store, laptop)
    login.password("alice", code, asked=True)

    login.enrol([PASSWORD, PASSWORD])
    secret = secret_of(login)
    assert "otpauth://totp/Kagikura:alice" in question(login)
    wrong = login.enrol(["000000"])
    assert (wrong, secret_of(login)) == (ENROLLING, secret)
    typed = pyotp.TOTP(secret).now()
    verdicts = [login.enrol([typed])]
    spares = question(login)
    verdicts.append(login.enrol(ENTER))

    assert verdicts == [ENROLLING, ADMITTED]
    assert spares.count("-") >= 30
    shown = store.administration.codes.show("alice")
    assert shown["confirmed"]
    assert shown["recovery_codes_left"] == 10
    assert login.session is not None
    store.desk.leave(login.session)
    trail = "".join(
        path.read_text() for path in store.settings.state_dir.rglob("*.jsonl")
    )
    assert not [text for text in (secret, PASSWORD, code, typed) if text in trail]


def test_whoever_hangs_up_begins_again(store: Accounts, laptop: Client) -> None:
    """Half an enrolment would leave a login that nobody can use."""
    code = invite(store, laptop, totp="required")
    login = begin(store, laptop)
    login.password("alice", code, asked=True)
    login.enrol([PASSWORD, PASSWORD])
    login.give_up("disconnected")

    again = begin(store, laptop)

    assert again.password("alice", code, asked=True) is ENROLLING
    assert store.administration.logins.show("alice")["state"] == "invited"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (["short", "short"], "at least 10"),
        ([PASSWORD, PASSWORD + "x"], "not the same"),
        (["password1234", "password1234"], "lists"),
        (["alice12345", "alice12345"], "name"),
    ],
)
def test_a_password_that_is_not_acceptable_is_asked_for_again(
    store: Accounts, laptop: Client, answers: list[str], words: str
) -> None:
    """With words, and not without end."""
    code = invite(store, laptop)
    login = begin(store, laptop)
    login.password("alice", code, asked=True)

    verdicts = [login.enrol(answers)]
    assert words in question(login)
    verdicts += [login.enrol(answers) for _ in range(TRIES_MAX - 1)]

    assert verdicts == [ENROLLING] * (TRIES_MAX - 1) + [REFUSED]
    assert login.session is None


def test_the_code_is_nothing_without_the_key(store: Accounts, laptop: Client) -> None:
    """The note with the code was read by somebody else."""
    code = invite(store, laptop)
    checks = count_checks(store)
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))

    assert login.password("alice", code, asked=True) is REFUSED
    assert login.first_login is None
    assert len(checks) == 1


def test_a_new_persons_key_may_wait_for_approval(
    store: Accounts, laptop: Client
) -> None:
    """Code right, device not registered: the usual case on the first day."""
    added = store.administration.logins.add("alice", totp_rule="off")
    code = str(added["enrolment_code"])
    stranger = new_client()
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))
    login.key_known("alice", stranger.algorithm, stranger.blob)

    assert login.password("alice", code, asked=True) is REFUSED

    store.credentials.pending.flush()
    (row,) = store.administration.approval.waiting("main")
    assert row["key_sha256"] == stranger.key_sha256


def test_an_expired_code_and_a_plain_password_request_open_nothing(
    store: Accounts, laptop: Client
) -> None:
    """RFC 4252's `password` method cannot ask on."""
    code = invite(store, laptop)
    plain = begin(store, laptop)

    assert plain.password("alice", code) is REFUSED
    store.clock.ahead_us += store.settings.auth.enrolment_hours * 3600 * 1_000_000
    late = begin(store, laptop)
    assert late.password("alice", code, asked=True) is REFUSED
    assert store.refusals() == [("login", "not_enrolled")] * 2


def test_a_hash_of_yesterdays_cost_is_renewed_at_the_next_good_login(
    store: Accounts, laptop: Client
) -> None:
    """The settings ask for more now; nobody has to choose a new password."""
    code = invite(store, laptop)
    store.administration.logins.enrol("alice", code, PASSWORD)
    store.credentials._hasher = Hasher(AuthSettings(**DEARER))

    def log_in() -> str:
        login = begin(store, laptop)
        assert login.password("alice", PASSWORD) is ADMITTED
        assert login.session is not None
        session = login.session
        store.watch.refresh()
        assert session.cut_rule is None
        store.desk.leave(session)
        stored = store.watch.snapshot().logins[0].password_hash
        assert stored is not None
        return stored

    first, second = log_in(), log_in()

    assert "t=2" in first
    assert first == second
    assert len(store.records(operation="admin.login.rehash", outcome="done")) == 1


def test_a_wrong_password_renews_nothing(store: Accounts, laptop: Client) -> None:
    """Else a guess would be stored."""
    code = invite(store, laptop)
    store.administration.logins.enrol("alice", code, PASSWORD)
    store.credentials._hasher = Hasher(AuthSettings(**DEARER))

    assert begin(store, laptop).password("alice", "wrong password") is REFUSED

    assert not store.records(operation="admin.login.rehash")
