"""What quotas ask of every change of the store: reserve first, settle by the disk.

An act that adds reserves before its effect, and is refused when that does not fit; what
it took away or did not use is given back after its effect, by what the disk shows. So a
counter is never below what is stored. The quota of a login or shared folder counts what
stands there; a contract's counts all that it keeps, trash and stage too.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from server.model.errors import LockedError, UnavailableError
from server.model.quota import Usage
from server.storage import walk
from server.storage.counters import Counter, Counters, Held
from server.storage.disk import Disk, path_of
from server.storage.errors import translated
from server.storage.port import Attributes, Location
from server.storage.scope import (
    Account,
    Crossed,
    Scope,
    Scopes,
    fits,
    need,
    newly_reached,
    require_room,
    room_ahead,
)

_NONE: Final = Usage()
_UNCOUNTED_BLOCK: Final = nullcontext()
_UNCOUNTED: Final = "Quotas are being counted; try again in a moment."


class Meter:
    """Counts for one process. Thread-safe."""

    def __init__(
        self,
        counters: Counters,
        disk: Disk,
        *,
        scopes: Scopes,
        owner: str,
        crossed: Crossed,
    ) -> None:
        """Count in `counters` what lies on `disk`.

        Args:
            counters: Shared with other processes.
            disk: Walked over where something has to be counted.
            scopes: Says where quotas are set.
            owner: This process slot, at most 16 characters.
            crossed: Told of warnings, outside all locks.
        """
        self._counters = counters
        self._disk = disk
        self.scopes = scopes
        self._owner = owner
        self._crossed = crossed

    def acting(self, scopes: Sequence[Scope]) -> AbstractContextManager[None]:
        """A block with an effect and its counting: what is counted stays exact."""
        return self._acting(scopes) if scopes else _UNCOUNTED_BLOCK

    @contextmanager
    def _acting(self, scopes: Sequence[Scope]) -> Iterator[None]:
        with translated():
            while not self._all_counted(scopes):
                self._count_missing(scopes)
            with self._counters.acting(scopes[0].contract_id):
                yield

    def hold(self, account: Account, size: int) -> int:
        """Begin to hold a file of `size` bytes for one more handle; as `reserve`."""
        return self.reserve(account, size, size=size, exact=True, opens=True)

    def reserve(
        self,
        account: Account,
        end: int,
        *,
        size: int,
        exact: bool,
        acting: bool = False,
        opens: bool = False,
    ) -> int:
        """Make room for a file to become `end` bytes long.

        Args:
            account: The file's.
            end: Bytes.
            size: What a file that is written in place is now, if this is its first.
            exact: Reserve no more than that.
            acting: Within a block of `acting`, where nobody can count.
            opens: For one more handle of this process.

        Returns:
            Up to where it may be written now.

        Raises:
            QuotaRefusedError: It does not fit.
            UnavailableError: A counter is not to be trusted just now.
        """
        with translated():
            while True:
                with self._changing(account.scopes, quiet=True) as found:
                    if all(counter.counted for counter in found):
                        for counter in found:
                            self._take_up(account, counter, size, opens=opens)
                        if not self._claim_credit(account, found, end):
                            return self._reserved(account, found, end, exact=exact)
                        return self._reserved(account, found, end, exact=True)
                    if acting:
                        raise UnavailableError(_UNCOUNTED)
                self._count_missing(account.scopes)

    def settle(
        self,
        account: Account,
        made: Usage,
        *,
        kept: Usage | None = None,
        replaced: Location | None = None,
        becomes: Account | None = None,
    ) -> None:
        """End a reservation.

        Args:
            account: Whose.
            made: What it has become.
            kept: What the contract has of it, if that is something else.
            replaced: Where what it replaced in its root lies now.
            becomes: Goes on under this account: it is written in place from now on.
        """
        with translated(), self._changing(account.scopes) as found:
            for scope, counter in zip(account.scopes, found, strict=True):
                whole = scope.root is None
                final = made if kept is None or not whole else kept
                self._settled(account, counter, final)
                if replaced is not None and not whole:
                    self._taken_out(counter, replaced)
                if becomes is not None:
                    held = Held(self._owner, Usage(made.bytes), made.bytes)
                    counter.held[becomes.name, self._owner] = held

    def add(self, scopes: Sequence[Scope], usage: Usage) -> None:
        """Take up what comes without growing.

        Raises:
            QuotaRefusedError: It does not fit.
            UnavailableError: A counter is not to be trusted just now.
        """
        if not scopes:
            return
        with translated(), self._changing(scopes) as found:
            for scope, counter in zip(scopes, found, strict=True):
                if not counter.counted:
                    raise UnavailableError(_UNCOUNTED)
                require_room(scope, counter, usage)
            for counter in found:
                counter.used += usage

    def correct(self, scopes: Sequence[Scope], usage: Usage) -> None:
        """Add what is there already, or (negative) take off what is not."""
        if not scopes or usage == _NONE:
            return
        with translated(), self._changing(scopes) as found:
            for counter in found:
                counter.used += usage

    def take_out(self, scopes: Sequence[Scope], at: Location) -> None:
        """Take off what was moved out of these scopes, and now lies at `at`."""
        if not scopes:
            return
        with translated(), self._changing(scopes) as found:
            for counter in found:
                self._taken_out(counter, at)

    def require_unwritten(self, scopes: Sequence[Scope], at: Location) -> None:
        """Return when nobody writes a file there just now.

        Raises:
            LockedError: Somebody does: it cannot change from one quota to another.
        """
        with translated():
            writing = {
                name
                for scope in scopes
                for (name, _), held in self._counters.look(scope.key).held.items()
                if name.startswith("#") and not held.gone
            }
            there = walk.everything(self._disk, path_of(at)) if writing else ()
            if any(walk.inode_name(found) in writing for found in there):
                raise LockedError("It is being written; move it when that is done.")

    def measure(self, at: Location) -> Usage:
        """How much lies at a place; nothing there is nothing."""
        with translated():
            found = walk.everything(self._disk, path_of(at))
            return sum(map(_usage, found), start=_NONE)

    def shrink(self, account: Account, end: int) -> None:
        """Give back what a file that was cut off to `end` bytes needs no more."""
        with translated(), self._changing(account.scopes) as found:
            for counter in found:
                row = counter.held.get((account.name, self._owner))
                if row is None or row.gone or row.handles > 1:
                    continue
                if len(counter.of(account.name)) > 1:
                    continue
                counter.used += Usage(end - row.charged.bytes, 0)
                row.charged, row.end = Usage(end, row.charged.files), end

    def used(self, scope: Scope) -> Usage:
        """What a scope uses now, reservations included."""
        with translated():
            while not self._all_counted((scope,)):
                self._count_missing((scope,))
            return self._counters.look(scope.key).used

    def on_disk(self, scope: Scope) -> Usage:
        """What a scope without a counter holds just now."""
        with translated():
            return walk.standing(self._disk, *scope.key, frozenset())

    def recount(self, scope: Scope) -> tuple[Usage, Usage]:
        """Count a scope anew; what the counter said, and what is there."""
        with (
            translated(),
            self._counters.counting(scope.contract_id),
            self._changing((scope,)) as (counter,),
        ):
            before = counter.used
            held = {name for (name, _), row in counter.held.items() if not row.gone}
            reserved = sum((row.charged for row in counter.held.values()), start=_NONE)
            counter.used = reserved + walk.standing(self._disk, *scope.key, held)
            counter.counted = True
            return before, counter.used

    def distrust(self, contract_id: str, *, crashed: bool) -> None:
        """Have every counter of a contract counted before its next use.

        Args:
            contract_id: Whose.
            crashed: What this process slot held is held no more.
        """
        with translated():
            owner = self._owner if crashed else ""
            self._counters.distrust(contract_id, crashed_owner=owner)

    @contextmanager
    def _changing(
        self, scopes: Sequence[Scope], *, quiet: bool = False
    ) -> Iterator[list[Counter]]:
        """Counters to oneself; who must be warned is told afterwards.

        What is only reserved (`quiet`) warns of nothing: it may replace as much.
        """
        crossed: list[tuple[Scope, int, Usage]] = []
        with self._counters.changing([scope.key for scope in scopes]) as found:
            yield found
            if quiet:
                return
            for scope, counter in zip(scopes, found, strict=True):
                counter.used = counter.used.at_least_none
                if level := newly_reached(scope, counter):
                    crossed.append((scope, level, counter.used))
        for told in crossed:
            self._crossed(*told)

    def _all_counted(self, scopes: Sequence[Scope]) -> bool:
        return all(self._counters.is_counted(scope.key) for scope in scopes)

    def _count_missing(self, scopes: Sequence[Scope]) -> None:
        for scope in scopes:
            if not self._counters.is_counted(scope.key):
                self.recount(scope)

    def _reserved(
        self,
        account: Account,
        found: Sequence[Counter],
        end: int,
        *,
        exact: bool,
    ) -> int:
        pairs = list(zip(account.scopes, found, strict=True))
        ahead = 0 if exact else min(room_ahead(scope, c) for scope, c in pairs)
        end += ahead
        needs = [need(account, scope, counter, end) for scope, counter in pairs]
        if not all(map(fits, account.scopes, found, needs)):
            end -= ahead
            needs = [need(account, scope, counter, end) for scope, counter in pairs]
            for (scope, counter), more in zip(pairs, needs, strict=True):
                require_room(scope, counter, more)
        for counter, more in zip(found, needs, strict=True):
            row = counter.held[account.name, self._owner]
            row.charged += more
            row.end = max(row.end, end)
            counter.used += more
        return end

    def _claim_credit(
        self, account: Account, found: Sequence[Counter], end: int
    ) -> bool:
        """Look what will be replaced, if it does not fit otherwise."""
        if account.replaces is None or account.credit != _NONE:
            return False
        pairs = zip(account.scopes, found, strict=True)
        if all(fits(s, c, need(account, s, c, end)) for s, c in pairs):
            return False
        account.credit = self.measure(account.replaces)
        return True

    def _take_up(
        self, account: Account, counter: Counter, size: int, *, opens: bool
    ) -> None:
        """Begin to hold; what stood there counts no more by itself."""
        row = counter.held.get((account.name, self._owner))
        if row is not None:
            row.handles += opens
            return
        stood = Usage(size, 0) if account.files == 0 else _NONE
        if counter.of(account.name):
            stood = _NONE  # another process holds it
        counter.held[account.name, self._owner] = Held(self._owner, stood, size)

    def _taken_out(self, counter: Counter, at: Location) -> None:
        """A file that somebody is writing counts as reserved, and no further."""
        writing = {name for name, _ in counter.held if name.startswith("#")}
        for attributes in walk.everything(self._disk, path_of(at)):
            name = walk.inode_name(attributes)
            rows = counter.of(name) if name in writing else []
            counter.used -= _let_go(rows) if rows else _usage(attributes)

    def _settled(self, account: Account, counter: Counter, final: Usage) -> None:
        row = counter.held.get((account.name, self._owner))
        if row is not None and row.handles > 1:
            row.handles -= 1
            return
        counter.held.pop((account.name, self._owner), None)
        if row is None or row.gone:
            return
        others = counter.of(account.name)
        if not others:
            counter.used += final - row.charged
            return
        # Another process writes it too: its reservation stays, or what is there.
        still = max(final.bytes, *(other.end for other in others))
        held = sum((other.charged.bytes for other in others), start=0)
        others[0].charged += Usage(still - held, 0)
        counter.used += Usage(still - held - row.charged.bytes, 0)


def _usage(attributes: Attributes) -> Usage:
    return Usage(attributes.size, 1)


def _let_go(rows: Sequence[Held]) -> Usage:
    """What all processes hold of a file that leaves the scope, and hold no more."""
    charged = sum((row.charged.bytes for row in rows), start=0)
    for row in rows:
        row.charged, row.gone = _NONE, True
    return Usage(charged, 1)
