"""Locks on files and folders (RFC 4918, section 6), for both protocols.

A lock holds at its root and, when it is deep, on all below. One on a folder, deep or
not, also holds against whoever adds or removes a name in it (section 7.4).
"""

from dataclasses import dataclass
from enum import StrEnum, unique

Inside = tuple[str, ...]
"""A path below a root; empty for the root itself."""


@unique
class Scope(StrEnum):
    """Whether others may lock the same."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock. Names are copies; times in microseconds since 1970."""

    token: str
    """A URI that nobody can guess; who shows it may write."""
    root: str
    """The root that holds the locked resource, as `storage.port.Root` writes it."""
    inside: Inside
    path: str
    """The path as its holder sees it."""
    scope: Scope
    deep: bool
    """Depth infinity."""
    owner: str
    """What the client says of its user, an XML element; empty for nothing."""
    contract_id: str
    contract: str
    login_id: str
    login: str
    device_id: str
    device: str
    line_id: str
    protocol: str
    taken_us: int
    timeout_s: int
    until_us: int

    def covers(self, inside: Inside) -> bool:
        """Whether it holds at `inside` of its root."""
        mine = self.inside
        if self.deep:
            return inside[: len(mine)] == mine
        return inside == mine

    def below(self, inside: Inside) -> bool:
        """Whether its root lies below `inside`, not at it."""
        mine = self.inside
        return len(mine) > len(inside) and mine[: len(inside)] == inside
