"""Cutting live sessions when the accounts change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.access.devices import Offer, Particulars
from server.access.login import Verdict
from server.auth.tables import SESSION
from server.db.engine import reading
from server.model.operation import Protocol
from server.model.session import Session
from tests.support.accounts import PASSWORD, Accounts, Client, add_person, opened
from tests.support.waiting import until
from tests.unit.access.conftest import SOURCE


def admitted(store: Accounts, laptop: Client) -> Session:
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))
    login.key_proved("alice", laptop.algorithm, laptop.blob)
    assert login.password("alice", PASSWORD) is Verdict.ADMITTED
    assert login.session is not None
    return login.session


CHANGES: list[tuple[str, Callable[[Accounts], object]]] = [
    ("device_locked", lambda s: s.administration.devices.lock("alice", "laptop")),
    ("device_removed", lambda s: s.administration.devices.remove("alice", "laptop")),
    ("login_disabled", lambda s: s.administration.logins.disable("alice")),
    ("login_removed", lambda s: s.administration.logins.remove("alice")),
    ("credentials_changed", lambda s: s.administration.logins.reset("alice")),
    ("line_suspended", lambda s: s.administration.lines.suspend("main", "office")),
    ("line_removed", lambda s: s.administration.lines.remove("main", "office")),
    ("contract_removed", lambda s: s.administration.contracts.remove("main")),
    (
        "session_cut",
        lambda s: s.administration.sessions.cut(
            str(s.administration.sessions.list()[0]["session"])
        ),
    ),
]


@pytest.mark.parametrize(("rule", "change"), CHANGES, ids=[rule for rule, _ in CHANGES])
def test_a_change_cuts_the_live_session_and_says_how_fast(
    store: Accounts, laptop: Client, rule: str, change: Callable[[Accounts], object]
) -> None:
    """A lost device is out at once, on every connection."""
    add_person(store, "alice", laptop.ssh_key)
    session = admitted(store, laptop)
    closed: list[bool] = []
    session.on_cut(lambda: closed.append(True))
    until(store.administration.sessions.list, what="the session is mirrored")

    facts = change(store)

    assert session.cut_rule == rule
    assert closed == [True]
    assert isinstance(facts, dict)
    assert facts["sessions_cut"] == 1
    assert facts["workers_pending"] == 0
    assert 0 <= facts["cut_ms"] < 10_000
    store.desk.leave(session)
    (logout,) = store.records(operation="logout")
    assert (logout["outcome"], logout["rule"]) == ("aborted", rule)


def test_an_expiring_device_is_cut_without_any_change(
    store: Accounts, laptop: Client
) -> None:
    """Time alone ends a device's validity."""
    add_person(store, "alice", laptop.ssh_key)
    end = datetime.now(UTC) + timedelta(hours=1)
    store.administration.devices.add(
        "alice",
        "laptop",
        Offer(ssh_key=laptop.ssh_key),
        Particulars(valid_until_us=int(end.timestamp() * 1e6)),
    )
    session = admitted(store, laptop)

    store.clock.ahead_us += 3601 * 1_000_000

    until(lambda: session.cut_rule == "device_expired", what="it is cut")
    store.desk.leave(session)


def test_other_sessions_live_on(store: Accounts, laptop: Client) -> None:
    """Locking one device must not throw the office out."""
    add_person(store, "alice", laptop.ssh_key)
    session = admitted(store, laptop)

    store.administration.folders.add("main", "office")
    store.watch.refresh()

    assert session.cut_rule is None
    store.desk.leave(session)
    (logout,) = store.records(operation="logout")
    assert logout["outcome"] == "done"


def test_a_session_that_began_under_older_accounts_is_cut_at_once(
    store: Accounts, laptop: Client
) -> None:
    """Between the check and the registry a device may be locked."""
    add_person(store, "alice", laptop.ssh_key)
    store.watch.refresh()
    login = store.desk.ssh(store.desk.arrive(SOURCE, Protocol.SFTP))
    login.key_proved("alice", laptop.algorithm, laptop.blob)
    store.administration.devices.lock("alice", "laptop")
    store.watch.refresh()

    assert login.password("alice", PASSWORD) is Verdict.REFUSED
    assert store.refusals() == [("device", "device_locked")]


def test_an_ended_session_is_ended_in_the_table(
    store: Accounts, laptop: Client
) -> None:
    """`session list` shows who is there, not who was."""
    add_person(store, "alice", laptop.ssh_key)
    session = admitted(store, laptop)
    until(store.administration.sessions.list, what="the session is mirrored")

    store.desk.leave(session)

    until(lambda: not store.administration.sessions.list(), what="it is ended")
    with reading(store.engine) as connection:
        (row,) = connection.execute(SESSION.select()).mappings()
    assert row["ended_rule"] == ""


def test_a_lock_takes_hold_on_another_node(
    store: Accounts, laptop: Client, tmp_path: Path
) -> None:
    """Nodes share the accounts; the command waits for all of them and counts theirs."""
    add_person(store, "alice", laptop.ssh_key)
    url = str(store.engine.url)
    with opened(tmp_path / "other", url=url, node="node-2") as other:
        session = admitted(other, laptop)
        until(store.administration.sessions.list, what="the session is mirrored")

        facts = store.administration.devices.lock("alice", "laptop")

        assert session.cut_rule == "device_locked"
        assert (facts["sessions_cut"], facts["workers_pending"]) == (1, 0)
