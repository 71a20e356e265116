"""What stands between an act and its effect: locks, and files that others write.

An act looks twice. Before its intent, so that a refusal is one record; and once more
with the latch in hand, under which its effect stands before anybody can lock anything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from server.storage.books import PropertyChange
from server.storage.port import Attributes, Location, Storage, trashed_at
from server.vfs.children import walk
from server.vfs.ground import Ground
from server.vfs.lock_table import LockTable
from server.vfs.locks import Claim, Key
from server.vfs.tree import Place

Tokens = frozenset[str]
"""The lock tokens that came with a request."""

NO_TOKENS: Final[Tokens] = frozenset()

Follow = Callable[[PropertyChange], None]
"""Lets properties follow what they belong to, in the transaction of the effect."""


def guarded(
    ground: Ground,
    tokens: Tokens,
    *claims: Claim,
    taken: Iterable[tuple[Place, Attributes | None]] = (),
) -> "Guard":
    """The guard of an act of a session; see `guard_of`."""
    key = Key(ground.session.actor.login_id, tokens)
    return guard_of(ground.locks, ground.storage, key, *claims, taken=taken)


def guard_of(
    table: LockTable,
    storage: Storage,
    key: Key,
    *claims: Claim,
    taken: Iterable[tuple[Place, Attributes | None]] = (),
) -> "Guard":
    """The guard of an act, with nothing in the way at a first look.

    Args:
        table: The locks.
        storage: The files.
        key: Who acts, and what was shown.
        claims: What is to be changed; at least one, all of one contract.
        taken: What is moved, replaced or removed; None where nothing is.

    Raises:
        LockedError: Something is in the way.
        BooksUnavailableError: Nobody knows what is locked.
    """
    guard = Guard(
        table=table,
        storage=storage,
        key=key,
        claims=claims,
        taken=tuple(
            Taken(place.stored(), found.is_folder)
            for place, found in taken
            if found is not None
        ),
    )
    guard.check()
    return guard


def claim(place: Place, *, tree: bool = False, named: bool = False) -> Claim:
    """What an act is about to change at a place; see `Claim`."""
    return Claim(place.stored(), str(place.path), tree=tree, named=named)


def claim_target(target: Place, replaced: Attributes | None) -> Claim:
    """What a rename, copy or restore changes where it leads."""
    tree = replaced is not None and replaced.is_folder
    return claim(target, tree=tree, named=replaced is None)


def moving(act_id: str, at: Location, to: Location) -> Follow:
    """Properties go where their file goes; those of what it replaces, to the trash."""

    def follow(change: PropertyChange) -> None:
        change.move(to, trashed_at(to.root.contract_id, act_id))
        change.move(at, to)

    return follow


@dataclass(frozen=True, slots=True)
class Taken:
    """A file or folder that an act moves, replaces or removes."""

    at: Location
    is_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The claims of one act, and whose they are."""

    table: LockTable
    storage: Storage
    key: Key
    claims: tuple[Claim, ...]
    taken: tuple[Taken, ...] = ()

    def check(self) -> None:
        """Return when nothing is in the way, before the intent.

        Raises:
            LockedError: A lock, or another login's open handle.
            BooksUnavailableError: Nobody knows what is locked.
        """
        for one in self.claims:
            self.table.require(one, self.key)
        for taken in self.taken:
            require_unwritten(self.table, self.storage, taken, self.key.login_id)

    @contextmanager
    def held(
        self, follow: Follow | None = None, *, source: Location | None = None
    ) -> Iterator[list[Attributes | None]]:
        """Nobody locks or opens what the block changes.

        The block gets what the files are that are taken, None for one that is gone.

        Args:
            follow: What the effect means for properties; done when the block is.
            source: Where else they may come from.

        Raises:
            LockedError: A lock, or another login's open handle.
            BooksUnavailableError: Nobody knows, or properties cannot follow; then the
                block's effect may stand.
        """
        contract_id = self.claims[0].at.root.contract_id
        with self.table.latch(contract_id) as number, ExitStack() as stack:
            known = self.table.allowed(number, self.claims, self.key)
            keep_away, login_id = self.table.writers.kept_away, self.key.login_id
            there = [
                stack.enter_context(keep_away(taken.at, login_id))
                for taken in self.taken
                if not taken.is_folder
            ]
            if follow is None:
                yield there
                return
            roots = {str(one.at.root) for one in self.claims}
            roots |= {str(source.root)} if source is not None else set()
            if known.propertied.isdisjoint(roots):
                yield there
                return
            with self.table.books.writing() as change:
                yield there
                follow(change)
        if not known.propertied >= roots:
            self.table.tell_change(contract_id)  # a root may have its first ones

    def drop_locks(self, at: Location, *, itself: bool = True) -> None:
        """Drop the locks at a place and below: what they were on has gone."""
        contract_id = at.root.contract_id
        index, now_us = self.table.known(contract_id).index, self.table.now_us()
        gone = index.below(at, now_us)
        if itself:
            found = index.covering(at, now_us)
            gone += [lock for lock in found if lock.inside == at.parts]
        self.table.drop(contract_id, [lock.token for lock in gone])


def require_unwritten(
    table: LockTable, storage: Storage, taken: Taken, login_id: str
) -> None:
    """Return when nobody but a login has a file open for writing, or one below.

    Raises:
        LockedError: Somebody has.
    """
    if not taken.is_folder:
        table.writers.require_none(taken.at, login_id)
        return
    for inside, attributes in walk(storage, taken.at):
        if not attributes.is_folder:
            at = Location(taken.at.root, (*taken.at.parts, *inside))
            table.writers.require_none(at, login_id)
