"""One table of locks for both doors: who may write where, and who is told what."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.auth.snapshot import Grant, LoginState, Snapshot
from server.model.errors import (
    ConditionFailedError,
    LimitError,
    LockedError,
    NotFoundError,
    RightsRefusedError,
)
from server.model.lock import Lock, Scope
from server.model.operation import PRESETS, Operation
from server.model.path import VirtualPath
from server.storage.port import Changes
from server.vfs.entry import Disposition
from server.vfs.guard import NO_TOKENS
from server.vfs.lock_desk import LockDesk
from server.vfs.locking import Wanted
from server.vfs.view import View
from tests.support.house import ACCOUNTS, House, open_house

NEW = Disposition(create=True, truncate=True)
THERE = Disposition()
EXCLUSIVE = Wanted(scope=Scope.EXCLUSIVE, deep=True)
SHARED = Wanted(scope=Scope.SHARED, deep=True)
SHALLOW = Wanted(scope=Scope.EXCLUSIVE, deep=False)
TEAM = "/shared/team"
EDITOR = Grant(folder_id="f", below=(), subject_id="l-bob", rights=PRESETS["editor"])


class Accounts:
    """Accounts that a test changes."""

    def __init__(self) -> None:
        self.now: Snapshot = replace(ACCOUNTS, grants=(*ACCOUNTS.grants, EDITOR))

    def disable(self, login: str) -> None:
        logins = tuple(
            replace(one, state=LoginState.DISABLED) if one.name == login else one
            for one in self.now.logins
        )
        self.now = replace(self.now, logins=logins)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def house(tmp_path: Path, accounts: Accounts) -> Iterator[House]:
    with open_house(tmp_path, accounts=accounts.now) as house:
        house.locks.accounts = lambda: accounts.now
        yield house


@pytest.fixture
def alice(house: House) -> View:
    view = house.view("alice")
    for name in ("a", "b"):
        put(view, f"{TEAM}/{name}", b"old")
    view.make_folder(f"{TEAM}/dir")
    put(view, f"{TEAM}/dir/deep", b"old")
    return view


@pytest.fixture
def bob(house: House) -> View:
    return house.view("bob")


def put(view: View, path: str, content: bytes, *tokens: str) -> None:
    upload = view.upload(path, tokens=frozenset(tokens))
    upload.write(content)
    upload.commit()


def lock(view: View, path: str, wanted: Wanted = EXCLUSIVE, *tokens: str) -> Lock:
    return view.locks.take(path, wanted, frozenset(tokens))[0]


ACTS: dict[str, Callable[[View], object]] = {
    "open": lambda view: view.open_write(f"{TEAM}/a", THERE),
    "truncate": lambda view: view.open_write(f"{TEAM}/a", NEW),
    "put": lambda view: view.upload(f"{TEAM}/a"),
    "delete": lambda view: view.delete(f"{TEAM}/a"),
    "move away": lambda view: view.rename(f"{TEAM}/a", f"{TEAM}/c", overwrite=False),
    "move onto": lambda view: view.rename(f"{TEAM}/b", f"{TEAM}/a", overwrite=True),
    "copy onto": lambda view: view.copy(f"{TEAM}/b", f"{TEAM}/a", overwrite=True),
    "chmod": lambda view: view.set_attributes(f"{TEAM}/a", Changes(mode=0o600)),
    "property": lambda view: view.properties.change(
        f"{TEAM}/a", {"x": "<x/>"}, Changes(), NO_TOKENS
    ),
    "lock": lambda view: lock(view, f"{TEAM}/a"),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_lock_stops_every_act_of_others_and_names_its_holder(
    house: House, alice: View, bob: View, act: Callable[[View], object]
) -> None:
    """Nothing is done, and the refusal is one record of the stage `lock`."""
    lock(alice, f"{TEAM}/a")
    before = len(house.records())

    with pytest.raises(LockedError, match="alice") as caught:
        act(bob)

    assert caught.value.paths == (f"{TEAM}/a",)
    (row,) = house.records()[before:]
    assert (row["outcome"], row["stage"], row["rule"]) == ("refused", "lock", "locked")


def test_who_shows_no_token_is_stopped_by_the_own_lock(alice: View) -> None:
    """A person's SFTP client is another program than the one that took the lock."""
    lock(alice, f"{TEAM}/a")

    with pytest.raises(LockedError):
        alice.open_write(f"{TEAM}/a", THERE)


def test_a_token_opens_for_its_holder_alone(alice: View, bob: View) -> None:
    """A token is no secret: whoever may look at the file is told it."""
    token = lock(alice, f"{TEAM}/a").token

    with pytest.raises(LockedError):
        put(bob, f"{TEAM}/a", b"bob's", token)
    put(alice, f"{TEAM}/a", b"alice's", token)
    with pytest.raises(RightsRefusedError, match="alice"):
        bob.locks.release(f"{TEAM}/a", token)
    with pytest.raises(RightsRefusedError):
        bob.locks.prolong(f"{TEAM}/a", token, 60)
    alice.locks.release(f"{TEAM}/a", token)
    put(bob, f"{TEAM}/a", b"bob's")


def test_a_folders_lock_is_for_its_names_and_a_deep_one_for_all_below(
    alice: View, bob: View
) -> None:
    """RFC 4918, sections 7.4 and 7.5."""
    shallow = lock(alice, f"{TEAM}/dir", SHALLOW)
    put(bob, f"{TEAM}/dir/deep", b"new content, same names")
    for act in (
        lambda: put(bob, f"{TEAM}/dir/new", b""),
        lambda: bob.make_folder(f"{TEAM}/dir/new"),
        lambda: bob.delete(f"{TEAM}/dir/deep"),
        lambda: bob.rename(f"{TEAM}/dir/deep", f"{TEAM}/c", overwrite=False),
        lambda: bob.delete_tree(f"{TEAM}/dir"),
        lambda: lock(bob, f"{TEAM}/dir/new"),
    ):
        with pytest.raises(LockedError):
            act()
    alice.locks.release(f"{TEAM}/dir", shallow.token)
    lock(alice, f"{TEAM}/dir", EXCLUSIVE)

    with pytest.raises(LockedError) as caught:
        put(bob, f"{TEAM}/dir/deep", b"newer")

    assert caught.value.paths == (f"{TEAM}/dir",)


def test_a_lock_below_keeps_the_folder_where_it_is(alice: View, bob: View) -> None:
    """Also against a lock of the whole folder, and for renames over SFTP."""
    token = lock(alice, f"{TEAM}/dir/deep").token

    for act in (
        lambda: bob.delete_tree(f"{TEAM}/dir"),
        lambda: bob.rename(f"{TEAM}/dir", f"{TEAM}/dir2", overwrite=False),
        lambda: lock(bob, f"{TEAM}/dir"),
    ):
        with pytest.raises(LockedError):
            act()

    alice.delete_tree(f"{TEAM}/dir", frozenset({token}))
    assert alice.locks.covering(VirtualPath.parse(f"{TEAM}/dir/deep")) == []


def test_shared_locks_bear_each_other_and_any_of_them_will_do(
    alice: View, bob: View
) -> None:
    """RFC 4918, section 6.2; an exclusive one does not come beside them."""
    mine, others = lock(alice, f"{TEAM}/a", SHARED), lock(bob, f"{TEAM}/a", SHARED)

    with pytest.raises(LockedError):
        lock(alice, f"{TEAM}/a", EXCLUSIVE)
    put(alice, f"{TEAM}/a", b"alice's", mine.token)
    put(bob, f"{TEAM}/a", b"bob's", others.token)
    with pytest.raises(LockedError):
        put(bob, f"{TEAM}/a", b"bob's", mine.token)


def test_a_lock_of_nothing_makes_an_empty_file(alice: View, bob: View) -> None:
    """RFC 4918, section 7.3."""
    _, created = alice.locks.take(f"{TEAM}/new", EXCLUSIVE, NO_TOKENS)

    assert created
    assert alice.stat(f"{TEAM}/new").size == 0
    with pytest.raises(LockedError):
        put(bob, f"{TEAM}/new", b"mine")
    with pytest.raises(NotFoundError):
        lock(alice, f"{TEAM}/none/new")


def test_an_upload_that_a_lock_overtook_is_not_published(
    house: House, alice: View, bob: View
) -> None:
    """What counts is who held the lock when the file would have been replaced."""
    upload = bob.upload(f"{TEAM}/a")
    upload.write(b"late")
    lock(alice, f"{TEAM}/a")

    with pytest.raises(LockedError):
        upload.commit()

    row = house.records()[-1]
    assert alice.stat(f"{TEAM}/a").size == len(b"old")
    assert (row["phase"], row["outcome"]) == ("outcome", "refused")
    assert row["stage"] == "lock"


def test_a_moved_file_leaves_its_lock_and_a_replaced_one_keeps_it(
    alice: View,
) -> None:
    """A lock is on the URL: editors save by moving a new file over the locked one."""
    token = lock(alice, f"{TEAM}/a").token

    alice.rename(f"{TEAM}/b", f"{TEAM}/a", overwrite=True, tokens=frozenset({token}))
    assert _tokens(alice, f"{TEAM}/a") == [token]

    alice.rename(f"{TEAM}/a", f"{TEAM}/c", overwrite=False, tokens=frozenset({token}))
    assert _tokens(alice, f"{TEAM}/a") == _tokens(alice, f"{TEAM}/c") == []


def test_locks_end_after_their_time_and_are_prolonged_by_their_holder(
    house: House, alice: View, bob: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest time is a setting; a client that forgets a lock locks out nobody."""
    now_us = house.locks.now_us()
    monkeypatch.setattr(house.locks, "now_us", lambda: now_us)
    taken = lock(alice, f"{TEAM}/a", replace(EXCLUSIVE, timeout_s=10**6))
    assert taken.timeout_s == 3600
    now_us += 3_599_000_000
    alice.locks.prolong(f"{TEAM}/a", taken.token, 60)

    now_us += 59_000_000
    with pytest.raises(LockedError):
        put(bob, f"{TEAM}/a", b"")
    now_us += 1_000_000
    put(bob, f"{TEAM}/a", b"")
    with pytest.raises(ConditionFailedError):
        alice.locks.prolong(f"{TEAM}/a", taken.token, 60)


def test_a_login_holds_so_many_locks_and_no_more(
    house: House, alice: View, bob: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client's loop must not fill the table for all; others go on."""
    monkeypatch.setattr(alice._ground.rules, "locks_login_max", 1)
    lock(alice, f"{TEAM}/a")

    with pytest.raises(LimitError) as caught:
        lock(alice, f"{TEAM}/b")

    assert caught.value.rule == "webdav.locks_login_max"
    lock(bob, f"{TEAM}/b")


def test_the_locks_of_a_login_that_is_no_longer_let_in_count_no_more(
    house: House, accounts: Accounts, alice: View, bob: View
) -> None:
    """At once, without anybody's doing; that they ended is on record once."""
    token = lock(alice, f"{TEAM}/a").token
    accounts.disable("alice")

    put(bob, f"{TEAM}/a", b"bob's")
    desk = LockDesk(gate=house.gate, table=house.locks, who={"protocol": "system"})
    assert [desk.release_void(accounts.now) for _ in range(2)] == [1, 0]
    row = house.records()[-1]
    assert (row["operation"], row["outcome"]) == ("unlock", "done")
    assert (row["reason"], row["detail"]["token"]) == ("login_gone", token)


def test_an_administrator_breaks_a_lock(house: House, alice: View, bob: View) -> None:
    """Its holder is told at the next write, and the trail who broke it."""
    token = lock(alice, f"{TEAM}/a").token
    desk = LockDesk(gate=house.gate, table=house.locks, who={"login": "os:root"})
    (shown,) = desk.list("main")
    assert (shown["login"], shown["path"]) == ("alice", f"{TEAM}/a")

    desk.end(token)

    assert desk.list() == []
    row = house.records()[-1]
    assert (row["login"], row["reason"]) == ("os:root", "broken")
    put(bob, f"{TEAM}/a", b"bob's")
    with pytest.raises(NotFoundError):
        desk.end(token)


HELD: dict[str, Callable[[View], object]] = {
    "put": lambda view: put(view, f"{TEAM}/dir/deep", b"bob's"),
    "truncate": lambda view: view.open_write(f"{TEAM}/dir/deep", NEW),
    "delete": lambda view: view.delete(f"{TEAM}/dir/deep"),
    "delete around it": lambda view: view.delete_tree(f"{TEAM}/dir"),
    "move": lambda view: view.rename(f"{TEAM}/dir/deep", f"{TEAM}/c", overwrite=False),
    "move around it": lambda view: view.rename(
        f"{TEAM}/dir", f"{TEAM}/dir2", overwrite=False
    ),
    "lock": lambda view: lock(view, f"{TEAM}/dir/deep"),
    "lock around it": lambda view: lock(view, f"{TEAM}/dir"),
}


@pytest.mark.parametrize("act", HELD.values(), ids=HELD)
def test_a_file_that_is_open_for_writing_stays_until_it_is_closed(
    house: House, alice: View, bob: View, act: Callable[[View], object]
) -> None:
    """Without this the writer's bytes would go to the trash, or under a lock."""
    file = alice.open_write(f"{TEAM}/dir/deep", THERE)

    with pytest.raises(LockedError):
        act(bob)

    row = house.records()[-1]
    assert (row["stage"], row["rule"]) == ("lock", "open_for_writing")
    file.write_at(0, b"mine")
    file.close()
    act(bob)


@pytest.mark.parametrize("act", HELD.values(), ids=HELD)
def test_own_handles_stop_nobody(alice: View, act: Callable[[View], object]) -> None:
    """A client that lost its connection must not be locked out by its old session."""
    alice.open_write(f"{TEAM}/dir/deep", THERE)

    act(alice)


def test_two_may_write_one_file_and_reading_stops_nothing(
    alice: View, bob: View
) -> None:
    """Without a lock the rules are those of a file system."""
    mine, others = (v.open_write(f"{TEAM}/a", THERE) for v in (alice, bob))
    mine.close()
    others.close()
    reading = alice.open_read(f"{TEAM}/a")
    bob.delete(f"{TEAM}/a")
    reading.close()
    assert bob.lookup(f"{TEAM}/a", Operation.STAT) is None


def _tokens(view: View, path: str) -> list[str]:
    found = view.locks.covering(VirtualPath.parse(path))
    return [held.lock.token for held in found]
