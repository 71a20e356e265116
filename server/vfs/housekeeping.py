"""The keeper's work on files: the trash's end, and staged files without an act.

Both run from the acts' ids alone: a ULID carries the time of its making.
"""

import logging
from dataclasses import dataclass
from typing import Final

from ulid import ULID

from server.audit.gate import Gate
from server.audit.lookup import Lookup
from server.model.clock import Clock
from server.model.event import Fields
from server.model.operation import Operation
from server.storage.books import Books
from server.storage.leftovers import LocalLeftovers
from server.vfs.told import replaces_at

log = logging.getLogger(__name__)

_DAY_US: Final = 86_400_000_000
_STRAY_DAYS: Final = 7
"""No upload lasts that long, on this node or another that shares the files."""


@dataclass(slots=True, kw_only=True)
class Housekeeping:
    """Cleans trash and stage, on record."""

    gate: Gate
    who: Fields
    """The system."""
    leftovers: LocalLeftovers
    lookup: Lookup
    """Tells which acts go on still."""
    books: Books
    clock: Clock
    trash_days: int

    def run(self) -> None:
        """Go over every contract once.

        Raises:
            AuditUnavailableError: The trail cannot be written; nothing more is done.
            StorageFailedError: The disk failed.
            UnavailableError: The audit DB cannot be read.
        """
        for contract_id in self.leftovers.contracts():
            self._purge_trash(contract_id)
            self._set_strays_aside(contract_id)

    def _purge_trash(self, contract_id: str) -> None:
        acts = self.leftovers.trashed_acts(contract_id)
        due = self._older(acts, self.trash_days)
        told = self.lookup.acts(due)
        # While a handle is open, what it keeps belongs to an act without an outcome.
        due = [act for act in due if act not in told or told[act].outcome is not None]
        if not due:
            return
        with self.gate.act(self.who, Operation.RETENTION) as act:
            act.note(
                detail={
                    "what": "trash",
                    "contract_id": contract_id,
                    "days": self.trash_days,
                    "count": len(due),
                    "first": due[0],
                    "last": due[-1],
                }
            )
            act.begin()
            for trashed in due:
                path = replaces_at(told[trashed])[0] if trashed in told else ""
                last = trashed == due[-1]
                act.progress(path=path, detail={"purged": trashed}, wait=last)
            for trashed in due:
                self.leftovers.purge(contract_id, trashed)

    def _set_strays_aside(self, contract_id: str) -> None:
        acts = self.leftovers.staged_acts(contract_id)
        for stray in self._older(acts, _STRAY_DAYS):
            with self.gate.act(self.who, Operation.SYSTEM_RECOVERY) as act:
                act.note(detail={"stray": stray, "contract_id": contract_id})
                act.begin()
                self.leftovers.quarantine(contract_id, stray)

    def _older(self, acts: list[str], days: int) -> list[str]:
        bound_us = self.clock.time_us() - days * _DAY_US
        return [act for act in acts if _made_us(act, never=bound_us) < bound_us]


def _made_us(act: str, *, never: int) -> int:
    try:
        return ULID.from_str(act).milliseconds * 1000
    except ValueError:
        log.warning("a strange name in stage or trash", extra={"entry": act})
        return never
