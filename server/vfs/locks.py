"""What locks mean: who may write where, and which locks bear each other.

Pure rules of RFC 4918, sections 6 and 7, over the locks of one contract. They hold for
both protocols: who cannot show a token, as nobody can over SFTP, may not write, be the
lock another's or the own one of another program.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from server.auth.rights import rights_on_private, rights_on_shared
from server.auth.snapshot import DeviceState, LineState, Login, LoginState, Snapshot
from server.model.errors import LockedError
from server.model.lock import Inside, Lock, Scope
from server.model.operation import Right
from server.storage.port import Location, Root

_US_PER_S: Final = 1_000_000
_NAMED_MAX: Final = 3
"""How many holders a refusal names."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an act is about to change."""

    at: Location
    path: str
    """The same as the client sees it."""
    tree: bool = False
    """All below goes, too."""
    named: bool = False
    """Its name appears in its folder or disappears from there (section 7.4)."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a request shows: whose it is, and the tokens that came with it."""

    login_id: str
    tokens: frozenset[str] = frozenset()

    def opens(self, locks: Iterable[Lock]) -> bool:
        """Whether a token of one of these locks is shown by its holder."""
        return any(
            lock.token in self.tokens and lock.login_id == self.login_id
            for lock in locks
        )


class LockIndex:
    """The locks of a contract, found by where they are. Immutable."""

    def __init__(self, locks: Iterable[Lock]) -> None:
        """Index `locks`."""
        self._by_root: dict[str, dict[Inside, list[Lock]]] = {}
        for lock in locks:
            inside = self._by_root.setdefault(lock.root, {})
            inside.setdefault(lock.inside, []).append(lock)

    def __bool__(self) -> bool:
        """Whether anything is locked."""
        return bool(self._by_root)

    def covering(self, at: Location, now_us: int) -> list[Lock]:
        """The locks that hold at a place, from the outermost on."""
        by_inside = self._by_root.get(str(at.root))
        if not by_inside:
            return []
        return [
            lock
            for depth in range(len(at.parts) + 1)
            for lock in by_inside.get(at.parts[:depth], ())
            if lock.until_us > now_us and lock.covers(at.parts)
        ]

    def below(self, at: Location, now_us: int) -> list[Lock]:
        """The locks whose roots lie below a place."""
        by_inside = self._by_root.get(str(at.root), {})
        return [
            lock
            for locks in by_inside.values()
            for lock in locks
            if lock.until_us > now_us and lock.below(at.parts)
        ]

    def in_the_way(self, claim: Claim, key: Key, now_us: int) -> list[Lock]:
        """The locks that forbid a change to who shows `key`; empty when none does."""
        at = claim.at
        if str(at.root) not in self._by_root:
            return []
        groups = [self.covering(at, now_us)]
        if claim.named and at.parts:
            folder = Location(at.root, at.parts[:-1])
            found = self.covering(folder, now_us)
            groups.append([lock for lock in found if lock.inside == folder.parts])
        if claim.tree:
            groups.extend(_by_place(self.below(at, now_us)))
        # Several locks at one place are shared ones: any of them will do (section 6.2).
        return [lock for group in groups if not key.opens(group) for lock in group]

    def rivals(self, wanted: Lock, now_us: int) -> list[Lock]:
        """The locks beside which a new one cannot stand (section 7.7)."""
        at = Location(Root.parse(wanted.root), wanted.inside)
        found = self.covering(at, now_us)
        if wanted.deep:
            found += self.below(at, now_us)
        shared = wanted.scope is Scope.SHARED
        return [lock for lock in found if not (shared and lock.scope is Scope.SHARED)]


def _by_place(locks: Iterable[Lock]) -> Iterable[list[Lock]]:
    places: dict[Inside, list[Lock]] = {}
    for lock in locks:
        places.setdefault(lock.inside, []).append(lock)
    return places.values()


def refusal(locks: list[Lock], claim: Claim) -> LockedError:
    """The error that names who holds the locks (at least one) in the way of a claim."""
    held = dict.fromkeys(_held(lock) for lock in locks)
    told = ", ".join(list(held)[:_NAMED_MAX])
    paths = dict.fromkeys(seen(lock, claim) for lock in locks)
    return LockedError(f"It is locked by {told}.", paths=tuple(paths))


def _held(lock: Lock) -> str:
    until = datetime.fromtimestamp(lock.until_us // _US_PER_S, UTC)
    return f"{lock.login} ({lock.protocol}) until {until:%H:%M:%S} UTC"


def seen(lock: Lock, claim: Claim) -> str:
    """The path of a lock in the same root, as who makes the claim sees it."""
    parts = claim.path.split("/")
    top = parts[: len(parts) - len(claim.at.parts)]
    return "/".join([*top, *lock.inside]) or "/"


def void_rule(lock: Lock, accounts: Snapshot) -> str:
    """Why a lock counts no more although its time is not over; empty while it does.

    A login, device or line that is no longer let in cannot give its locks back; nor
    can one whose password may have been known to others.
    """
    login = accounts.login(lock.login_id)
    device = accounts.device(lock.device_id)
    line = accounts.line(lock.line_id)
    if login is None or login.state is not LoginState.ACTIVE:
        return "login_gone"
    if login.credentials_us > lock.taken_us:
        return "credentials_changed"
    if lock.device_id and (device is None or device.state is not DeviceState.ACTIVE):
        return "device_gone"
    if lock.line_id and (line is None or line.state is not LineState.ACTIVE):
        return "line_gone"
    return "" if Right.WRITE in _rights(lock, login, accounts) else "no_write"


def _rights(lock: Lock, login: Login, accounts: Snapshot) -> Right:
    root = Root.parse(lock.root)
    if root.area == "private":
        return rights_on_private(login.kind)
    folders = accounts.folders_of(lock.contract_id)
    folder = next((folder for folder in folders if folder.id == root.id), None)
    if folder is None:
        return Right(0)
    return rights_on_shared(accounts, login.id, folder, lock.inside)
