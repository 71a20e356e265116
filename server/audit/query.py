"""What can be asked of the trail, as SQL conditions.

All filters that are given must hold. Text is compared as it is, except `contains`,
which finds NFC and NFD alike and upper and lower case alike (`server.audit.paths`).
"""

import re
from dataclasses import dataclass, fields
from typing import Final

import sqlalchemy as sa

from server.audit.paths import fold
from server.audit.tables import (
    KEY_CHARACTERS_MAX,
    PATHS,
    RECORDS,
    key_of,
    source_range,
)
from server.model.event import Json
from server.model.operation import Outcome

LIMIT_MAX: Final = 1000

Condition = sa.ColumnElement[bool]

_EXACT: Final = (
    "contract",
    "login",
    "line",
    "protocol",
    "operation",
    "outcome",
    "session",
    "act",
    "sha256",
)
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Filters; all that are given must hold. Empty ones ask nothing."""

    since_us: int | None = None
    """The earliest time, microseconds since the epoch."""
    until_us: int | None = None
    """The time that all come before."""
    contract: str = ""
    login: str = ""
    device: str = ""
    """A device's id or its name."""
    line: str = ""
    source: str = ""
    """The address a connection came from, or a network (`192.0.2.0/24`)."""
    protocol: str = ""
    operation: str = ""
    outcome: str = ""
    session: str = ""
    act: str = ""
    sha256: str = ""
    path: str = ""
    """Exactly this path, or target of a rename or copy."""
    under: str = ""
    """This path and all below it, as path or target."""
    contains: str = ""
    """Text anywhere in the path or target, in either case."""
    limit: int = 100
    """Rows a page has at most, 1 to `LIMIT_MAX`."""
    before: str = ""
    """The `id` of a page's last row: the page of older rows behind it."""
    after: str = ""
    """The `id` of a page's first row: the page of newer rows before it."""

    def as_detail(self) -> dict[str, Json]:
        """The filters that were given, for the record of the search."""
        told: dict[str, Json] = {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        del told["limit"]
        return {name: value for name, value in told.items() if value not in {None, ""}}

    def equalities(self) -> dict[str, str]:
        """Columns that must have one value; the path is not among them."""
        found = {
            name: str(key_of(getattr(self, name)))
            for name in _EXACT
            if getattr(self, name)
        }
        if self.device:
            by_id = _ULID.fullmatch(self.device)
            found["device" if by_id else "device_name"] = str(key_of(self.device))
        if self.source:
            first, last = source_range(self.source)
            if first == last:
                found["source_key"] = first
        return found

    def network(self) -> tuple[str, str] | None:
        """The first and the last source key of a network; None for an address."""
        if not self.source:
            return None
        first, last = source_range(self.source)
        return None if first == last else (first, last)

    def times(self) -> list[Condition]:
        """The time range."""
        column = RECORDS.c.time_us
        found: list[Condition] = []
        if self.since_us is not None:
            found.append(column >= self.since_us)
        if self.until_us is not None:
            found.append(column < self.until_us)
        return found

    def path_conditions(self) -> list[Condition]:
        """What must hold of a row of `PATHS`, for the path or for the target."""
        found: list[Condition] = []
        if self.path:
            found += [PATHS.c.key == key_of(self.path), PATHS.c.path == self.path]
        if self.under.rstrip("/"):
            found.append(_under(self.under.rstrip("/")))
        if self.contains:
            folded = fold(self.contains)
            found.append(PATHS.c.folded.contains(folded, autoescape=True))
        return found

    def conditions(self) -> list[Condition]:
        """The filters as SQL on `RECORDS`; paging is not among them.

        Raises:
            ValueError: `source` is neither an address nor a network.
        """
        column = RECORDS.c
        found: list[Condition] = [
            column[name] == value for name, value in self.equalities().items()
        ]
        if span := self.network():
            found.append(from_network(*span))
        if self.outcome and self.outcome != Outcome.DONE:
            found.append(column.outcome != sa.literal_column(f"'{Outcome.DONE}'"))
        found += self.times()
        if meant := self.path_conditions():
            ids = sa.select(PATHS.c.id).where(*meant)
            found.append(sa.or_(column.path_id.in_(ids), column.target_id.in_(ids)))
        return found


def from_network(first: str, last: str) -> Condition:
    """The source lies in a network, told by its first and last key."""
    column = RECORDS.c.source_key
    return sa.and_(column >= first, column <= last)


def _under(folder: str) -> Condition:
    """The folder itself and what lies below: a range of the key.

    It tells all, unless the folder's own name is longer than a key.
    """
    below = folder + "/"
    if len(below) <= KEY_CHARACTERS_MAX:
        # "0" is the character after "/".
        inside = sa.and_(PATHS.c.key >= below, PATHS.c.key < folder + "0")
        return sa.or_(PATHS.c.key == folder, inside)
    exactly = sa.func.substr(PATHS.c.path, 1, len(below)) == below
    return sa.and_(
        PATHS.c.key == key_of(folder), sa.or_(PATHS.c.path == folder, exactly)
    )
