"""The one table of locks for both protocols: the database, and what a process knows.

A process keeps the locks of a contract in memory for as long as the number of the
contract's latch says that nobody changed them. So a look costs a system call or two,
and none of it SQL; it is right because whoever changes the locks is alone meanwhile
(docs/adr/0025).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from server.auth.snapshot import Snapshot
from server.model.clock import Clock
from server.model.lock import Lock
from server.storage.books import Books, LockChange
from server.storage.latch import Latches, Shared
from server.storage.writers import Writers
from server.vfs.locks import Claim, Key, LockIndex, refusal, void_rule


@dataclass(frozen=True, slots=True)
class Known:
    """The state of a contract's locks at a number of its latch."""

    number: int
    accounts: Snapshot
    locks: tuple[Lock, ...]
    """Those of logins and devices that are no longer let in, too."""
    index: LockIndex
    propertied: frozenset[str]
    """The roots in which anything has dead properties."""


class LockTable:
    """Locks and latches of one process. Thread-safe."""

    def __init__(
        self,
        latches: Latches,
        writers: Writers,
        books: Books,
        *,
        accounts: Callable[[], Snapshot],
        clock: Clock,
    ) -> None:
        """Know what `books` hold; void locks are told by the newest `accounts`."""
        self.books = books
        self.writers = writers
        self._latches = latches
        self.accounts = accounts
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()  # Guards loading. Taken before the database's.

    def now_us(self) -> int:
        """The clock by which locks run out."""
        return self._clock.time_us()

    def known(self, contract_id: str) -> Known:
        """What is locked now, at a look.

        Raises:
            BooksUnavailableError: They have changed, and cannot be read.
        """
        return self._at(contract_id, self._latches.number(contract_id))

    def void(self, accounts: Snapshot) -> list[tuple[Lock, str]]:
        """The locks known to this process that count no more, and why; asks nobody."""
        now_us = self.now_us()
        return [
            (lock, rule)
            for known in list(self._known.values())
            for lock in known.locks
            if lock.until_us > now_us and (rule := void_rule(lock, accounts))
        ]

    def require(self, claim: Claim, key: Key) -> None:
        """Return when no lock is in the way; `allowed` looks again before the effect.

        Raises:
            LockedError: One is.
            BooksUnavailableError: Nobody knows.
        """
        self._require(self.known(claim.at.root.contract_id), claim, key)

    def latch(self, contract_id: str) -> Shared:
        """Nobody locks anything of the contract during the block; see `allowed`."""
        return self._latches.shared(contract_id)

    def allowed(self, number: int, claims: tuple[Claim, ...], key: Key) -> Known:
        """Return what is locked when none of it is in the way.

        Args:
            number: The latch's, which is held.
            claims: At least one, all of one contract.
            key: Whose.

        Raises:
            LockedError: A lock is in the way.
            BooksUnavailableError: Nobody knows.
        """
        known = self._at(claims[0].at.root.contract_id, number)
        for claim in claims:
            self._require(known, claim, key)
        return known

    @contextmanager
    def changing(self, contract_id: str) -> Iterator[LockChange]:
        """Change locks while nobody changes a file of the contract.

        Raises:
            BooksUnavailableError: They cannot be changed.
        """
        with (
            self._latches.alone(contract_id),
            self.books.changing(contract_id) as change,
        ):
            yield change

    def drop(self, contract_id: str, tokens: list[str]) -> int:
        """Drop locks; how many there were."""
        if not tokens:
            return 0
        with self.changing(contract_id) as change:
            return change.drop(tokens)

    def tell_change(self, contract_id: str) -> None:
        """Let every process look into the books again."""
        with self._latches.alone(contract_id):
            pass

    def _require(self, known: Known, claim: Claim, key: Key) -> None:
        if not known.index:
            return
        locks = known.index.in_the_way(claim, key, self.now_us())
        if locks:
            raise refusal(locks, claim)

    def _at(self, contract_id: str, number: int) -> Known:
        known = self._known.get(contract_id)
        if known is None or known.number != number:
            return self._loaded(contract_id, number)
        accounts = self.accounts()
        if known.accounts is not accounts:
            known = _judged(known, accounts)
            self._known[contract_id] = known
        return known

    def _loaded(self, contract_id: str, number: int) -> Known:
        with self._lock:
            found = self._known.get(contract_id)
            if found is not None and found.number == number:
                return found  # another thread was faster
            known = _judged(
                Known(
                    number,
                    self.accounts(),
                    tuple(self.books.locks(contract_id, self.now_us())),
                    LockIndex(()),
                    self.books.roots_with_properties(contract_id),
                ),
                self.accounts(),
            )
            self._known[contract_id] = known
            return known


def _judged(known: Known, accounts: Snapshot) -> Known:
    """The same without the locks that these accounts make void."""
    counting = (lock for lock in known.locks if not void_rule(lock, accounts))
    return replace(known, accounts=accounts, index=LockIndex(counting))
