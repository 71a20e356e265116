"""Whose records are kept longer than the settings say, and what that means for a file.

A segment is looked through only where its records would be due otherwise.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from server.audit.segment import Segment

_CONTRACT: Final = re.compile(rb'"contract":"([a-z0-9-]+)"')
"""In a canonical line; one more, within a record's detail, keeps it too."""

Keeping = Mapping[str, int | None]
"""By contract, for how many days its records are kept; None while they are held."""


class Limits(NamedTuple):
    """When records are due."""

    before: str
    """Those before this time, as a rule."""
    longer: Mapping[str, str]
    """The same for contracts that keep theirs longer; empty: never."""
    policy: str
    """All that in words, as it is signed."""

    @property
    def first(self) -> str:
        """The earliest of these times."""
        return min([self.before, *filter(None, self.longer.values())])


def is_kept(one: Segment, until: str, longer: Mapping[str, str]) -> bool:
    """Whether a segment has a record of a contract that keeps its own longer.

    Args:
        one: The segment.
        until: The time of its latest record.
        longer: By contract, the time before which its records are due.
    """
    wanted = {name.encode() for name, before in longer.items() if until >= before}
    if not wanted:
        return False
    with one.open() as file:
        return any(name in wanted for line in file for name in _CONTRACT.findall(line))
