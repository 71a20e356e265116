"""The lock table and its rules."""

import time
from contextlib import suppress

import pytest
from wsgidav.dav_error import DAVError

from server.model.identity import Actor
from server.model.operation import Protocol
from server.model.path import VirtualPath
from server.webdav import locking
from server.webdav.locking import Lock, Locks, path_of, principal_of, root_of


def _actor(login: str) -> Actor:
    return Actor(
        protocol=Protocol.WEBDAV,
        contract="main",
        contract_id="c1",
        login=login,
        login_id=f"id-{login}",
    )


ALICE, BOB = _actor("alice"), _actor("bob")
FOLDER = VirtualPath(("shared", "見積 %2F", "a"))


def _lock(
    locks: Locks, actor: Actor, path: VirtualPath, *, timeout_s: int = 60
) -> Lock:
    return locks.acquire(
        url=root_of(actor, path),
        lock_type="write",
        lock_scope="exclusive",
        lock_depth="infinity",
        lock_owner=b"",
        timeout=timeout_s,
        principal=principal_of(actor),
        token_list=[],
    )


def _may_write(
    locks: Locks, actor: Actor, path: VirtualPath, *tokens: str, depth: str = "0"
) -> bool:
    with suppress(DAVError):
        locks.check_write_permission(
            url=root_of(actor, path),
            depth=depth,
            token_list=list(tokens),
            principal=principal_of(actor),
        )
        return True
    return False


def test_everybody_has_a_private_folder_of_their_own() -> None:
    """A lock on alice's /private/a must not stop bob at his."""
    locks = Locks(timeout_s_max=3600)
    path = VirtualPath(("private", "a"))
    _lock(locks, ALICE, path)

    assert not _may_write(locks, ALICE, path)
    assert _may_write(locks, BOB, path)


def test_a_lock_on_a_shared_path_holds_against_everybody_without_its_token() -> None:
    """Its owner's other programs too (RFC 4918, section 6.4)."""
    locks = Locks(timeout_s_max=3600)
    token = _lock(locks, ALICE, FOLDER)["token"]
    inside = FOLDER.child("b")

    assert not _may_write(locks, BOB, inside)
    assert not _may_write(locks, BOB, inside, token)
    assert not _may_write(locks, ALICE, inside)
    assert _may_write(locks, ALICE, inside, token)


def test_a_tree_with_a_locked_child_needs_the_childs_token() -> None:
    """Wsgidav refuses the owner even with it, and a DELETE would never go."""
    locks = Locks(timeout_s_max=3600)
    token = _lock(locks, ALICE, FOLDER.child("b"))["token"]

    assert not _may_write(locks, ALICE, FOLDER, depth="infinity")
    assert not _may_write(locks, BOB, FOLDER, token, depth="infinity")
    assert _may_write(locks, ALICE, FOLDER, token, depth="infinity")


def test_no_lock_lasts_longer_than_the_settings_allow() -> None:
    """A laptop that never comes back must not hold a file for weeks."""
    locks = Locks(timeout_s_max=100)

    assert _lock(locks, ALICE, FOLDER.child("a"), timeout_s=10**6)["timeout"] == 100
    taken = _lock(locks, ALICE, FOLDER.child("b"), timeout_s=-1)
    assert taken["timeout"] == 100
    assert locks.refresh(taken["token"], timeout=10**6)["timeout"] == 100
    assert locks.refresh(taken["token"], timeout=5)["timeout"] == 5


def test_a_lock_that_ran_out_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs to unlock it, and nobody can refresh it."""
    locks = Locks(timeout_s_max=100)
    taken = _lock(locks, ALICE, FOLDER)
    later = time.time() + 101
    monkeypatch.setattr(locking.time, "time", lambda: later)

    assert _may_write(locks, BOB, FOLDER)
    with pytest.raises(DAVError):
        locks.refresh(taken["token"], timeout=5)


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that only takes locks must not fill the memory."""
    monkeypatch.setattr(locking, "LOCKS_MAX", 2)
    locks = Locks(timeout_s_max=100)
    _lock(locks, ALICE, VirtualPath(("private", "a")))
    _lock(locks, ALICE, VirtualPath(("private", "b")))

    with pytest.raises(DAVError) as caught:
        _lock(locks, ALICE, VirtualPath(("private", "c")))
    assert caught.value.value == 507


@pytest.mark.parametrize(
    "path",
    [VirtualPath(), VirtualPath(("private",)), VirtualPath(("private", "x")), FOLDER],
)
def test_a_locks_root_leads_back_to_its_path(path: VirtualPath) -> None:
    """A client sees hrefs, never contracts and ids."""
    assert path_of(root_of(ALICE, path)) == str(path)


def test_thousands_of_locks_slow_nobody_down() -> None:
    """A listing asks for the locks of each member and of all the folders above it."""
    locks = Locks(timeout_s_max=3600)
    paths = [VirtualPath(("shared", "a", str(n))) for n in range(2000)]
    for path in paths:
        locks.storage.create(
            root_of(ALICE, path),
            {"timeout": 60, "principal": "alice", "depth": "0", "scope": "exclusive"},
        )
    begun = time.process_time()

    held = [locks.get_indirect_url_lock_list(root_of(BOB, path)) for path in paths]

    assert time.process_time() - begun < 2
    assert [len(found) for found in held] == [1] * 2000
    everything = locks.storage.get_lock_list(
        root_of(ALICE, VirtualPath(("shared", "a"))),
        include_root=True,
        include_children=True,
        token_only=True,
    )
    assert len(everything) == 2000
    for token in everything:
        assert locks.storage.delete(token)
    assert not locks.storage.get_lock_list(
        "/", include_root=True, include_children=True, token_only=True
    )
