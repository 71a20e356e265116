"""Locking for one session: taking, prolonging and giving back, each on record.

Who takes a lock writes it into the table first and looks for open files then; who opens
a file for writing marks it under the latch and looks at the table. So one of the two
sees the other, whatever the moment.
"""

import uuid
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from server.audit.gate import Act
from server.model.errors import (
    ConditionFailedError,
    ExistsError,
    LimitError,
    NotFoundError,
    RightsRefusedError,
)
from server.model.lock import Lock, Scope
from server.model.operation import Operation, Right
from server.model.path import VirtualPath
from server.storage.port import Attributes, Location
from server.vfs.ground import Ground
from server.vfs.guard import Taken, Tokens, claim, guarded, require_unwritten
from server.vfs.locks import LockIndex, refusal, seen, void_rule
from server.vfs.naming import told
from server.vfs.tree import Place

_US_PER_S: Final = 1_000_000
_NOT_THAT: Final = "No lock of that token holds here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A lock as a client asks for it."""

    scope: Scope
    deep: bool
    owner: str = ""
    """An XML element that says who the user is; empty for nothing."""
    timeout_s: int | None = None
    """None for as long as it may be."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that holds at a place, and the path of its root as the session sees it."""

    lock: Lock
    path: str


class Everything:
    """A set that holds every name."""

    def __contains__(self, name: object) -> bool:
        """Yes."""
        return True


class Locking:
    """The locks as one session may see and change them."""

    def __init__(self, ground: Ground) -> None:
        """Act for the ground's session."""
        self._ground = ground
        self._table = ground.locks
        self._actor = ground.session.actor

    def covering(self, path: VirtualPath) -> list[Held]:
        """The locks that hold at a path; beside a record of the session's look at it.

        Raises:
            BooksUnavailableError: Nobody knows.
        """
        place = self._ground.at(path)
        if place.location is None:
            return []
        known = self._table.known(place.location.root.contract_id)
        found = known.index.covering(place.location, self._table.now_us())
        return [Held(lock, seen(lock, claim(place))) for lock in found]

    def touched(self, path: VirtualPath) -> Container[str]:
        """Where `covering` may find locks: at the path, "", or at a member, its name.

        One look for a whole folder; it may name more than there are.

        Raises:
            BooksUnavailableError: Nobody knows.
        """
        place = self._ground.at(path)
        if place.location is None:
            return ()
        index = self._table.known(place.location.root.contract_id).index
        if not index:
            return ()
        at, now_us = place.location, self._table.now_us()
        covering = index.covering(at, now_us)
        if any(lock.deep for lock in covering):
            return Everything()
        depth = len(at.parts)
        below = {told(lock.inside[depth]) for lock in index.below(at, now_us)}
        return below | {""} if covering else below

    def take(self, raw: str, wanted: Wanted, tokens: Tokens) -> tuple[Lock, bool]:
        """Lock what is at a path; nothing there, an empty file is made (RFC 4918, 7.3).

        Args:
            raw: Path as the client sent it.
            wanted: What kind of lock.
            tokens: The lock tokens that came with the request.

        Returns:
            The lock, and whether a file was made.

        Raises:
            LockedError: Another lock, or another login's open file, is in the way.
            LimitError: The login holds too many.
            NotFoundError: The folder that should hold the new file is missing.
        """
        ground = self._ground
        with ground.act(Operation.LOCK, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            found = self._lockable(place, tokens)
            lock = self._new(place, wanted)
            known = self._table.known(lock.contract_id)
            self._require_free(known.index, lock, place)
            taken = _taken(place, found, lock)
            self._require_unwritten(taken, lock)
            act.note(
                detail={
                    "token": lock.token,
                    "scope": lock.scope,
                    "deep": lock.deep,
                    "timeout_s": lock.timeout_s,
                }
            )
            dropped = self._begin(act, place)
            self._add(lock, place)
            try:
                if dropped:
                    created = self._dropped_anew(act, place)
                else:
                    created = self._made_if_missing(place, tokens | {lock.token})
                self._require_unwritten(taken, lock)
            except BaseException:
                self._table.drop(lock.contract_id, [lock.token])
                raise
            act.note(detail={"created": created})
        return lock, created

    def prolong(self, raw: str, token: str, timeout_s: int | None) -> Lock:
        """Let one's own lock last longer, from now on.

        Raises:
            ConditionFailedError: No lock of this token holds there.
            RightsRefusedError: It is somebody else's.
        """
        ground, table = self._ground, self._table
        with ground.act(Operation.LOCK, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            lock = self._own(place, token)
            timeout_s = self._capped(timeout_s)
            act.note(detail={"token": token, "refresh": True, "timeout_s": timeout_s})
            self._begin(act, place)
            with table.changing(lock.contract_id) as change:
                now_us = table.now_us()
                if token not in {other.token for other in change.held(now_us)}:
                    raise ConditionFailedError(_NOT_THAT)
                until_us = now_us + timeout_s * _US_PER_S
                change.prolong(token, timeout_s=timeout_s, until_us=until_us)
        return lock

    def release(self, raw: str, token: str) -> None:
        """Give one's own lock back.

        Raises:
            ConditionFailedError: No lock of this token holds there.
            RightsRefusedError: It is somebody else's.
        """
        ground = self._ground
        with ground.act(Operation.UNLOCK, raw) as act:
            act.note(detail={"token": token})
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            lock = self._own(place, token)
            self._begin(act, place)
            self._table.drop(lock.contract_id, [token])

    def _begin(self, act: Act, place: Place) -> bool:
        """Begin the act, unless it is about a file that is dropped (docs/adr/0023)."""
        ground = self._ground
        dropped = ground.dropping.concerns(act, place, ground.found(place))
        if not dropped:
            act.begin()
        return dropped

    def _dropped_anew(self, act: Act, place: Place) -> bool:
        """Whether a file to be dropped was made for its lock."""
        dropping = self._ground.dropping
        if dropping.find(place) is not None:
            return False
        file = dropping.opened(act, place)
        dropping.end(act, place, file)
        file.close()
        return True

    def _lockable(self, place: Place, tokens: Tokens) -> Attributes | None:
        """What is to be locked; None when a file must be made first."""
        ground = self._ground
        at = place.stored()
        found = ground.found(place)
        if found is not None:
            ground.require_change(place, found)
            return found
        folder = ground.storage.attributes(Location(at.root, at.parts[:-1]))
        if not folder.is_folder:
            raise NotFoundError("The folder that should hold it is missing.")
        ground.storage.require_distinct(at)
        guarded(ground, tokens, claim(place, named=True))
        return None

    def _new(self, place: Place, wanted: Wanted) -> Lock:
        actor, at = self._actor, place.stored()
        timeout_s = self._capped(wanted.timeout_s)
        now_us = self._table.now_us()
        return Lock(
            # The scheme that every client knows (RFC 4918, appendix C).
            token=f"opaquelocktoken:{uuid.uuid4()}",
            root=str(at.root),
            inside=at.parts,
            path=str(place.path),
            scope=wanted.scope,
            deep=wanted.deep,
            owner=wanted.owner,
            contract_id=at.root.contract_id,
            contract=actor.contract,
            login_id=actor.login_id,
            login=actor.login,
            device_id=actor.device,
            device=actor.device_name,
            line_id=actor.line_id,
            protocol=str(actor.protocol),
            taken_us=now_us,
            timeout_s=timeout_s,
            until_us=now_us + timeout_s * _US_PER_S,
        )

    def _add(self, lock: Lock, place: Place) -> None:
        with self._table.changing(lock.contract_id) as change:
            held = change.held(lock.taken_us)
            accounts = self._table.accounts()
            void = [other for other in held if void_rule(other, accounts)]
            change.drop([other.token for other in void])
            left = [other for other in held if other not in void]
            self._require_free(LockIndex(left), lock, place)
            self._require_room(left)
            change.add(lock)

    def _require_free(self, index: LockIndex, lock: Lock, place: Place) -> None:
        rivals = index.rivals(lock, lock.taken_us)
        if rivals:
            raise refusal(rivals, claim(place))

    def _require_unwritten(self, taken: Taken | None, lock: Lock) -> None:
        if taken is not None:
            storage = self._ground.storage
            require_unwritten(self._table, storage, taken, lock.login_id)

    def _require_room(self, held: Iterable[Lock]) -> None:
        mine = sum(lock.login_id == self._actor.login_id for lock in held)
        if mine >= self._ground.rules.locks_login_max:
            raise LimitError("You hold too many locks.", rule="webdav.locks_login_max")

    def _made_if_missing(self, place: Place, tokens: Tokens) -> bool:
        ground = self._ground
        if ground.found(place) is not None:
            return False
        try:
            with guarded(ground, tokens, claim(place, named=True)).held():
                ground.storage.create(place.stored()).close()
        except ExistsError:
            return False  # somebody made it while the lock was taken
        return True

    def _own(self, place: Place, token: str) -> Lock:
        at = place.stored()
        index = self._table.known(at.root.contract_id).index
        found = index.covering(at, self._table.now_us())
        lock = next((lock for lock in found if lock.token == token), None)
        if lock is None:
            raise ConditionFailedError(_NOT_THAT)
        if lock.login_id != self._actor.login_id:
            raise RightsRefusedError(
                f"The lock belongs to {lock.login}.", rule="lock_holder"
            )
        return lock

    def _capped(self, timeout_s: int | None) -> int:
        longest = self._ground.rules.lock_timeout_s_max
        return min(timeout_s or longest, longest)


def _taken(place: Place, found: Attributes | None, lock: Lock) -> Taken | None:
    """What must not be open for writing: a file, or the files below a deep lock."""
    is_folder = found is not None and found.is_folder
    if is_folder and not lock.deep:
        return None
    return Taken(place.stored(), is_folder)
