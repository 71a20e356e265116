"""Codes over SSH: replay, recovery, and the window that spares reconnecting clients."""

from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from server.access.accounts_watch import AccountsWatch
from server.access.credentials import Credentials
from server.access.devices import Offer
from server.access.ledger import Ledger
from server.access.login import SshLogin, Verdict
from server.auth.admission import Refusal
from server.auth.password import Hasher
from server.model.errors import NotFoundError, RefusedError
from server.model.operation import Protocol
from tests.support.accounts import PASSWORD, Accounts, Client, add_person, opened
from tests.support.waiting import until
from tests.unit.access.conftest import SOURCE

ADMITTED, PARTIAL, REFUSED = Verdict.ADMITTED, Verdict.PARTIAL, Verdict.REFUSED
HOUR_US = 3600 * 1_000_000
STEP_US = 30 * 1_000_000


@pytest.fixture
def secret(store: Accounts, laptop: Client) -> str:
    """Of alice, who has a device and needs a code."""
    return add_person(store, "alice", laptop.ssh_key, totp="required")


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Accounts]:
    """A store without windows for SFTP."""
    with opened(tmp_path, unlock_sftp=False) as accounts:
        accounts.administration.contracts.add("main")
        accounts.administration.lines.add("main", "office", networks=("192.0.2.0/24",))
        yield accounts


def begin(store: Accounts, key: Client, source: tuple[str, int] = SOURCE) -> SshLogin:
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(source, Protocol.SFTP))
    assert login.key_proved("alice", key.algorithm, key.blob) is PARTIAL
    return login


def code(store: Accounts, secret: str) -> str:
    return pyotp.TOTP(secret).at(store.clock.time_us() // 1_000_000)


def unlock(store: Accounts, key: Client, secret: str) -> None:
    login = begin(store, key)
    assert login.password("alice", PASSWORD) is PARTIAL
    assert login.code("alice", code(store, secret)) is ADMITTED
    assert login.session is not None
    store.desk.leave(login.session)


def factors(store: Accounts) -> list[list[str]]:
    found = store.records(operation="login", outcome="done")
    return [record["detail"]["factors"] for record in found]


def test_a_client_that_reconnects_goes_on_without_a_code(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """FileZilla and rclone open a connection for each transfer."""
    unlock(store, laptop, secret)

    again = begin(store, laptop)

    assert again.password("alice", PASSWORD) is ADMITTED
    assert factors(store) == [
        ["key", "password", "code"],
        ["key", "password", "window"],
    ]
    (window,) = store.administration.windows.list("alice")
    assert (window["device"], window["line"]) == ("laptop", "office")
    assert window["protocol"] == "sftp"


def test_a_window_still_asks_for_key_and_password(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """It stands for the code and for nothing else."""
    unlock(store, laptop, secret)
    keyless = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))

    assert keyless.password("alice", PASSWORD) is REFUSED
    assert begin(store, laptop).password("alice", "wrong password") is REFUSED


def test_a_window_ends_and_holds_for_its_line_only(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """The stolen laptop is somewhere else, or it is tomorrow."""
    store.administration.lines.add("main", "cafe", networks=("198.51.100.0/24",))
    unlock(store, laptop, secret)

    elsewhere = begin(store, laptop, ("198.51.100.7", 4000))
    assert elsewhere.password("alice", PASSWORD) is PARTIAL
    store.clock.ahead_us += store.settings.auth.unlock_hours * HOUR_US
    tomorrow = begin(store, laptop)

    assert tomorrow.password("alice", PASSWORD) is PARTIAL
    assert tomorrow.needs_code
    assert store.administration.windows.list() == []


@pytest.mark.parametrize("act", ["revoke", "lock", "disable", "reset", "suspend"])
def test_a_window_is_gone_after(
    store: Accounts, laptop: Client, secret: str, act: str
) -> None:
    """A device that was locked and found again has to show a code."""
    unlock(store, laptop, secret)
    admin = store.administration

    match act:
        case "revoke":
            admin.windows.revoke("alice")
        case "lock":
            admin.devices.lock("alice", "laptop")
        case "disable":
            admin.logins.disable("alice")
        case "suspend":
            admin.lines.suspend("main", "office")
        case _:
            admin.logins.reset("alice")

    assert admin.windows.list() == []


def test_revoking_cuts_the_session_that_rests_on_the_window(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """Else a mounted drive would live on."""
    unlock(store, laptop, secret)
    login = begin(store, laptop)
    login.password("alice", PASSWORD)
    session = login.session
    assert session is not None
    until(lambda: len(store.administration.sessions.list()) == 1, what="it is mirrored")

    told = store.administration.windows.revoke("alice", device="laptop")

    assert session.cut_rule == "session_cut"
    assert told["sessions_cut"] == 1
    with pytest.raises(NotFoundError):
        store.administration.windows.revoke("alice")
    store.desk.leave(session)


def test_the_setting_closes_sftp_to_windows(strict: Accounts, laptop: Client) -> None:
    """Whoever wants a code for each connection gets it, replay refused."""
    secret = add_person(strict, "alice", laptop.ssh_key, totp="required")
    typed = code(strict, secret)
    login = begin(strict, laptop)
    login.password("alice", PASSWORD)
    assert login.code("alice", typed) is ADMITTED

    again = begin(strict, laptop)

    assert again.password("alice", PASSWORD) is PARTIAL
    assert again.code("alice", typed) is REFUSED
    assert strict.refusals() == [("totp", "replayed_code")]


def test_a_code_is_refused_by_another_worker_too(
    strict: Accounts, laptop: Client
) -> None:
    """CVE-2026-27855 and its kin: a cache in one process knows nothing of the other."""
    secret = add_person(strict, "alice", laptop.ssh_key, totp="required")
    login_id = strict.administration.logins.show("alice")["id"]
    watch = AccountsWatch(strict.engine, clock=strict.clock, poll_ms=50)
    other = Credentials(
        strict.engine,
        hasher=Hasher(strict.settings.auth),
        box=strict.keys.box(),
        watch=watch,
        ledger=Ledger(strict.engine, strict.gate, clock=strict.clock),
        clock=strict.clock,
        settings=strict.settings.auth,
    )
    typed = code(strict, secret)

    first = strict.credentials.use_code(str(login_id), typed)
    second = other.use_code(str(login_id), typed)

    assert first == "code"
    assert isinstance(second, Refusal)
    assert second.rule == "replayed_code"


def test_a_recovery_code_stands_in_once(strict: Accounts, laptop: Client) -> None:
    """The phone is in the taxi; the paper is in the drawer."""
    admin = strict.administration
    added = admin.logins.add("alice", totp_rule="required")
    enrolled = admin.logins.enrol("alice", str(added["enrolment_code"]), PASSWORD)
    from_paper = enrolled["recovery_codes"]
    assert isinstance(from_paper, list)
    assert len(from_paper) == 10
    admin.devices.add("alice", "laptop", _offer(laptop))

    first, again = begin(strict, laptop), begin(strict, laptop)
    first.password("alice", PASSWORD)
    again.password("alice", PASSWORD)

    assert first.code("alice", str(from_paper[0]).upper()) is ADMITTED
    assert again.code("alice", str(from_paper[0])) is REFUSED
    assert factors(strict) == [["key", "password", "recovery_code"]]
    assert admin.codes.show("alice")["recovery_codes_left"] == 9
    trail = "".join(
        path.read_text() for path in strict.settings.state_dir.rglob("*.jsonl")
    )
    assert str(from_paper[0]) not in trail


def test_new_recovery_codes_need_the_person(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """An administrator must not print himself a second factor."""
    admin = store.administration
    old = admin.codes.show("alice")
    with pytest.raises(RefusedError):
        admin.codes.renew("alice", "000000")

    told = admin.codes.renew("alice", code(store, secret))

    codes = told["recovery_codes"]
    assert isinstance(codes, list)
    assert old["recovery_codes_left"] == len(codes) == 10
    login_id = str(admin.logins.show("alice")["id"])
    assert store.credentials.use_code(login_id, str(codes[3])) == "recovery_code"


def test_the_first_code_confirms_the_authenticator(
    store: Accounts, laptop: Client, secret: str
) -> None:
    """Who never scanned the QR code is found before he stands outside."""
    admin = store.administration
    before = admin.codes.show("alice")["confirmed"]
    with pytest.raises(RefusedError, match="clock"):
        admin.codes.confirm("alice", "000000")

    admin.codes.confirm("alice", code(store, secret))

    assert before is None
    assert admin.codes.show("alice")["confirmed"]
    with pytest.raises(RefusedError, match="used already"):
        admin.codes.confirm("alice", code(store, secret))


def test_codes_without_a_secret_open_nothing(store: Accounts, laptop: Client) -> None:
    """CVE-2022-36071: recovery codes made before the second factor was on."""
    add_person(store, "alice", laptop.ssh_key)
    login_id = str(store.administration.logins.show("alice")["id"])

    found = store.credentials.use_code(login_id, "abcd-abcd-abcd-abcd")

    assert isinstance(found, Refusal)
    assert found.rule == "no_totp_secret"


def _offer(key: Client) -> Offer:
    return Offer(ssh_key=key.ssh_key)
