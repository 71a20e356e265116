"""What can be asked of the trail, as SQL conditions."""

import re
from dataclasses import dataclass, fields
from typing import Final

import sqlalchemy as sa

from server.audit.tables import KEY_CHARACTERS_MAX, RECORDS, key_of
from server.model.event import Json

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
    """The address a connection came from."""
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
    """Text anywhere in the path or target; ASCII letters of either case."""
    limit: int = 100
    """Rows a page has at most, 1 to `LIMIT_MAX`."""
    before: str = ""
    """The `id` of the last row of the page before; the next page follows it."""

    def as_detail(self) -> dict[str, Json]:
        """The filters that were given, for the record of the search."""
        told: dict[str, Json] = {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        del told["limit"]
        return {name: value for name, value in told.items() if value not in {None, ""}}

    def conditions(self) -> list[Condition]:
        """The filters as SQL; paging is not among them."""
        column = RECORDS.c
        found: list[Condition] = [
            column[name] == key_of(getattr(self, name))
            for name in _EXACT
            if getattr(self, name)
        ]
        if self.device:
            by_id = _ULID.fullmatch(self.device)
            named = column.device if by_id else column.device_name
            found.append(named == key_of(self.device))
        if self.source:
            found.append(column.source_ip == self.source)
        if self.since_us is not None:
            found.append(column.time_us >= self.since_us)
        if self.until_us is not None:
            found.append(column.time_us < self.until_us)
        return found + self._path_conditions()

    def _path_conditions(self) -> list[Condition]:
        column = RECORDS.c
        found: list[Condition] = []
        pairs = ((column.path_key, column.path), (column.target_key, column.target))
        if self.path:
            key = key_of(self.path)
            found.append(
                sa.or_(*(sa.and_(k == key, text == self.path) for k, text in pairs))
            )
        if self.under and self.under != "/":
            found.append(sa.or_(*(_under(k, text, self.under) for k, text in pairs)))
        if self.contains:
            found.append(
                sa.or_(
                    *(
                        text.icontains(self.contains, autoescape=True)
                        for _, text in pairs
                    )
                )
            )
        return found


def _under(
    key: sa.ColumnElement[str], text: sa.ColumnElement[str], folder: str
) -> Condition:
    """The folder itself and what lies below: a range of the key, then exactly."""
    folder = folder.rstrip("/")
    if len(folder) >= KEY_CHARACTERS_MAX:
        near: Condition = key == key_of(folder)
    else:
        # "0" is the character after "/".
        near = sa.and_(key >= folder, key < folder + "0")
    inside = sa.func.substr(text, 1, len(folder) + 1) == folder + "/"
    return sa.and_(near, sa.or_(text == folder, inside))
