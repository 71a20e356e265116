"""WebDAV locks: wsgidav's rules over a table in memory.

The table belongs to one process. A lock's root names contract and login before the
path, for everybody has a `/private` of their own.
"""

import threading
import time
import uuid
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, unquote

from wsgidav.dav_error import DAVError, DAVErrorCondition
from wsgidav.lock_man.lock_manager import LockManager, normalize_lock_root
from wsgidav.util import is_child_uri

from server.model.identity import Actor
from server.model.path import VirtualPath

LOCKS_MAX: Final = 10_000

Lock = dict[str, Any]
"""As wsgidav makes it: root, scope, depth, owner, timeout, principal, token ..."""


def principal_of(actor: Actor) -> str:
    """Who holds a lock."""
    return f"{actor.login}@{actor.contract}"


def root_of(actor: Actor, path: VirtualPath) -> str:
    """The name under which a path of `actor` is locked."""
    private = path.parts[:1] == ("private",)
    owner = actor.login_id if private else "-"
    return f"/{actor.contract_id}/{owner}{quote(str(path))}".rstrip("/")


def path_of(root: str) -> str:
    """The path in a lock's name, the inverse of `root_of`."""
    return "/" + unquote("/".join(root.split("/")[3:]))


class LockTable:
    """wsgidav's lock storage: locks by token; those that ran out vanish."""

    def __init__(self) -> None:
        """Start without locks."""
        self._by_token: dict[str, Lock] = {}
        self._by_root: dict[str, dict[str, Lock]] = {}
        self._soonest = float("inf")
        """No lock runs out before this time, seconds since 1970."""
        self._guard = threading.Lock()  # Guards all above. Takes no other.

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def cleanup(self) -> None:
        """Drop what ran out."""
        with self._guard:
            self._drop_expired()

    def clear(self) -> None:
        """Drop all."""
        with self._guard:
            self._by_token.clear()
            self._by_root.clear()

    def get(self, token: str) -> Lock | None:
        """The lock of a token while it lasts."""
        with self._guard:
            self._drop_expired()
            return self._by_token.get(token)

    def create(self, path: str, lock: Lock) -> Lock:
        """Keep a new lock; token and end are written into it.

        Raises:
            DAVError: 507, there are too many locks.
        """
        with self._guard:
            self._drop_expired()
            if len(self._by_token) >= LOCKS_MAX:
                raise DAVError(HTTPStatus.INSUFFICIENT_STORAGE, "Too many locks.")
            lock["root"] = normalize_lock_root(path)
            lock["token"] = f"opaquelocktoken:{uuid.uuid4()}"
            lock["expire"] = time.time() + lock["timeout"]
            self._by_token[lock["token"]] = lock
            self._by_root.setdefault(lock["root"], {})[lock["token"]] = lock
            self._soonest = min(self._soonest, lock["expire"])
            return lock

    def refresh(self, token: str, *, timeout: float) -> Lock:
        """Let a lock last `timeout` seconds from now.

        Raises:
            DAVError: 412, there is no such lock any more.
        """
        with self._guard:
            self._drop_expired()
            lock = self._by_token.get(token)
            if lock is None:
                raise DAVError(HTTPStatus.PRECONDITION_FAILED, "The lock ran out.")
            lock["timeout"] = timeout
            lock["expire"] = time.time() + timeout
            self._soonest = min(self._soonest, lock["expire"])
            return lock

    def delete(self, token: str) -> bool:
        """Drop a lock; whether there was one."""
        with self._guard:
            return self._drop(token)

    def get_lock_list(
        self, path: str, *, include_root: bool, include_children: bool, token_only: bool
    ) -> list[Lock] | list[str]:
        """The locks on `path` itself, below it, or both."""
        root = normalize_lock_root(path)
        with self._guard:
            self._drop_expired()
            found = [*self._by_root.get(root, {}).values()] if include_root else []
            if include_children:
                for other, locks in self._by_root.items():
                    if is_child_uri(root, other):
                        found += locks.values()
        return [lock["token"] for lock in found] if token_only else found

    def _drop_expired(self) -> None:
        now = time.time()
        if now <= self._soonest:
            return
        over = [t for t, lock in self._by_token.items() if lock["expire"] < now]
        for token in over:
            self._drop(token)
        left = (lock["expire"] for lock in self._by_token.values())
        self._soonest = min(left, default=float("inf"))

    def _drop(self, token: str) -> bool:
        lock = self._by_token.pop(token, None)
        if lock is None:
            return False
        beside = self._by_root[lock["root"]]
        del beside[token]
        if not beside:
            del self._by_root[lock["root"]]
        return True


class Locks(LockManager):
    """wsgidav's lock manager with capped times and RFC 4918's rule for children."""

    def __init__(self, *, timeout_s_max: int) -> None:
        """Keep locks in memory, each at most `timeout_s_max` seconds at a time."""
        super().__init__(LockTable())
        self._timeout_s_max = timeout_s_max

    def acquire(self, *, timeout: float | None, **lock: Any) -> Lock:  # noqa: ANN401 - wsgidav's
        """Take a lock.

        Raises:
            DAVError: 423, it conflicts with another.
        """
        taken: Lock = super().acquire(timeout=self._capped(timeout), **lock)
        return taken

    def refresh(self, token: str, *, timeout: float | None = None) -> Lock:
        """Let a lock last longer."""
        refreshed: Lock = super().refresh(token, timeout=self._capped(timeout))
        return refreshed

    def _capped(self, timeout_s: float | None) -> float:
        if timeout_s is None or timeout_s <= 0:
            return self._timeout_s_max
        return min(timeout_s, self._timeout_s_max)

    def _get_write_conflicts(
        self, url: str, depth: str, token_list: list[str], principal: str
    ) -> DAVErrorCondition:
        """The locks in the way; a child's is none when its owner shows the token."""
        conflicts: DAVErrorCondition = super()._get_write_conflicts(
            url, "0", token_list, principal
        )
        if depth == "infinity":
            for lock in self.storage.get_lock_list(
                url, include_root=False, include_children=True, token_only=False
            ):
                if lock["principal"] != principal or lock["token"] not in token_list:
                    conflicts.add_href(lock["root"])
        return conflicts
