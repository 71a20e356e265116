"""What a quota is set on, and the rules of what fits into it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from server.model.errors import QuotaRefusedError
from server.model.quota import Quota, Usage, size_words
from server.storage import walk
from server.storage.counters import Counter, Key
from server.storage.port import Location, Root

_NONE: Final = Usage()
_AHEAD_BYTES_MAX: Final = 4 * 1024 * 1024
_AHEAD_SHARE: Final = 16
"""At most that part of the room that is left is reserved ahead of the writing."""
LEVELS: Final = (90, 80)
"""Shares, in per cent, that are warned of."""
_CALM: Final = 5
"""So many per cent below, a share can be warned of again."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a quota is set on."""

    contract_id: str
    root: Root | None
    """A login's or shared folder's files; None for all of the contract."""
    label: str
    """For its people: `/private`, `/shared/sales`, `the contract`."""
    title: str
    """For administrators: `alice@main`, `main/sales`, `main`."""
    quota: Quota

    @property
    def key(self) -> Key:
        """Its counter's."""
        name = f"{self.root.area}-{self.root.id}" if self.root else walk.CONTRACT
        return self.contract_id, name


Scopes = Callable[[Root], tuple[Scope, ...]]
"""The scopes with a quota that a root lies in; usually none."""

Crossed = Callable[[Scope, int, Usage], None]
"""Told when a share of `LEVELS` is reached: the scope, the share, what is used."""


@dataclass(slots=True)
class Account:
    """A file or tree that grows, and what it is in the counters."""

    scopes: tuple[Scope, ...]
    name: str
    """See `counters`."""
    files: int = 0
    """Files and folders that it adds."""
    replaces: Location | None = None
    """Where it will stand, and may replace something in its root."""
    credit: Usage = field(default_factory=Usage)
    """What that is, where all of it does not fit: then only the rest has to."""

    @property
    def keys(self) -> list[Key]:
        """Its counters'."""
        return [scope.key for scope in self.scopes]

    def wanted(self, scope: Scope, end: int) -> Usage:
        """What it needs of a scope to be that long."""
        if scope.root is None:
            return Usage(end, self.files)
        return Usage(end, self.files) - self.credit


def need(account: Account, scope: Scope, counter: Counter, end: int) -> Usage:
    """What is not reserved yet of what a file needs to be that long."""
    rows = counter.of(account.name)
    if any(row.gone for row in rows):
        return _NONE
    held = sum((row.charged for row in rows), start=_NONE)
    return (account.wanted(scope, end) - held).at_least_none


def room_ahead(scope: Scope, counter: Counter) -> int:
    """How many bytes may be reserved ahead of the writing."""
    most = scope.quota.bytes
    if most is None:
        return _AHEAD_BYTES_MAX
    return min(max(most - counter.used.bytes, 0) // _AHEAD_SHARE, _AHEAD_BYTES_MAX)


def _lacking(scope: Scope, counter: Counter, need: Usage) -> tuple[str, int] | None:
    """The limit that `need` would break, and what it leaves."""
    for word, wanted, used, most in (
        ("quota_bytes", need.bytes, counter.used.bytes, scope.quota.bytes),
        ("quota_files", need.files, counter.used.files, scope.quota.files),
    ):
        if most is not None and wanted > 0 and used + wanted > most:
            return word, max(most - used, 0)
    return None


def fits(scope: Scope, counter: Counter, need: Usage) -> bool:
    """Whether there is room for so much more."""
    return _lacking(scope, counter, need) is None


def require_room(scope: Scope, counter: Counter, need: Usage) -> None:
    """Return when there is room for so much more.

    Raises:
        QuotaRefusedError: There is not.
    """
    lacking = _lacking(scope, counter, need)
    if lacking is None:
        return
    word, left = lacking
    if word == "quota_bytes":
        told = f"{size_words(scope.quota.bytes or 0)} at most, {size_words(left)} left"
    else:
        told = f"{scope.quota.files} files and folders at most, {left} left"
    raise QuotaRefusedError(
        f"The quota of {scope.label} is used up: {told} ({word}).", rule=word
    )


def newly_reached(scope: Scope, counter: Counter) -> int:
    """The share that was reached just now; 0: none, or it is known already."""
    pairs = scope.quota.pairs(counter.used)
    share = max(
        (used * 100 // most if most else 100 for _, used, most in pairs), default=0
    )
    level = next((level for level in LEVELS if share >= level), 0)
    if level > counter.level:
        counter.level = level
        return level
    if share < counter.level - _CALM:
        counter.level = level
    return 0
