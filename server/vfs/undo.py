"""Undoing an act by its record: what it destroyed or moved comes back.

    delete, replacement, change in place    out of the trash, under the act's id
    rename                                  back to where it was, then as above
    rmdir                                   made anew

Only while that can still be meant: a path that others changed since is left alone,
unless the operator says to overwrite it (what stands there goes to the trash).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from server.audit.lookup import CHANGING, Lookup, Told
from server.model.clock import parse_rfc3339
from server.model.errors import ExistsError, NotFoundError, StateError
from server.model.operation import Operation
from server.storage.port import Location
from server.vfs.estate import Estate
from server.vfs.restoring import Entry, Facts, Restorer
from server.vfs.told import detail_of, location_in, replaces_at
from server.vfs.tree import Place
from server.vfs.versions import changes_of

_UNDOABLE: Final = frozenset({*CHANGING, Operation.RMDIR})

Step = Callable[[], Facts]


@dataclass(slots=True)
class _Plan:
    """The steps, and the places that they leave free on their way."""

    steps: list[Step] = field(default_factory=list)
    freed: list[Location] = field(default_factory=list)


class Undoing:
    """Undoes acts, each by one or two acts of an administrator."""

    def __init__(self, *, lookup: Lookup, estate: Estate, restorer: Restorer) -> None:
        """Ask `lookup`, act with `restorer`."""
        self._lookup = lookup
        self._estate = estate
        self._restorer = restorer

    def undo(self, named: str, *, overwrite: bool) -> list[Facts]:
        """Put back what an act destroyed or moved.

        Args:
            named: A record's id, or an act's.
            overwrite: Whether what came since may go to the trash.

        Returns:
            The steps that were taken.

        Raises:
            NotFoundError: There is no such record; or it is not in the trash.
            ExistsError: The path was taken or changed since; nothing was done.
            StateError: It destroyed nothing, or the old content was not kept.
        """
        told = self._told(named)
        plan = self._planned(told, overwrite=overwrite)
        if not plan.steps:
            raise self._nothing(told)
        return [step() for step in plan.steps]

    def _told(self, named: str) -> Told:
        act = self._lookup.act_of(named) if ":" in named else named
        told = self._lookup.acts([act]).get(act)
        if told is None:
            raise NotFoundError(f"{named} tells of no act that had an effect.")
        if told.operation not in _UNDOABLE or "root" not in detail_of(told.intent):
            raise StateError(f"There is nothing to undo about {told.operation}.")
        if told.outcome is None:
            raise StateError("That act goes on still: undo it when it has ended.")
        return told

    def _planned(self, told: Told, *, overwrite: bool) -> _Plan:
        plan = _Plan()
        why: Facts = {"undo": told.id}
        if told.operation is Operation.RMDIR:
            place = self._estate.place(location_in(told.intent))
            if told.outcome and told.outcome.get("outcome") == "done":
                plan.steps.append(lambda: self._restorer.make_folder(place, why=why))
            return plan
        if told.operation is Operation.RENAME:
            self._plan_move(plan, told, why, overwrite=overwrite)
        self._plan_entry(plan, told, why, overwrite=overwrite)
        return plan

    def _plan_move(
        self, plan: _Plan, told: Told, why: Facts, *, overwrite: bool
    ) -> None:
        source = location_in(told.intent)
        target = location_in(told.intent, "target", "target_root")
        inode = str(detail_of(told.intent).get("inode"))
        if self._inode(source) == inode:
            return  # it never moved, or has come back already
        if self._inode(target) != inode:
            raise StateError(
                f"{told.intent['target']} holds something else now than what was moved "
                f"there from {told.intent['path']}."
            )
        at, to = self._estate.place(target), self._estate.place(source)
        if not overwrite and self._restorer.found(source) is not None:
            raise ExistsError(
                f"{to.path} is taken now: say --overwrite, and it goes to the trash."
            )
        plan.freed.append(target)
        plan.steps.append(
            lambda: self._restorer.move_back(at, to, overwrite=overwrite, why=why)
        )

    def _plan_entry(
        self, plan: _Plan, told: Told, why: Facts, *, overwrite: bool
    ) -> None:
        path, at = replaces_at(told)
        entry = Entry(at.root.contract_id, told.id)
        if self._restorer.found(entry.location) is None:
            return
        to = self._estate.place(at)
        stands = at not in plan.freed and self._restorer.found(at) is not None
        if stands and not overwrite:
            self._require_its_own(told, path, to)
        plan.steps.append(
            lambda: self._restorer.put_back(
                entry, to, overwrite=overwrite or stands, why=why
            )
        )

    def _require_its_own(self, told: Told, path: str, to: Place) -> None:
        """Return when what stands there is what the act itself left.

        Raises:
            ExistsError: Somebody put or changed something there since.
        """
        if told.operation is Operation.DELETE:
            raise ExistsError(
                f"{to.path} is taken again: say --overwrite, and it goes to the trash."
            )
        root = to.stored().root
        records = self._lookup.naming(
            path,
            self._estate.contract_name(root.contract_id),
            self._estate.owner(root),
        )
        acts = self._lookup.acts({record["act"] for record in records})
        ended_us = parse_rfc3339(told.outcome["time"]) if told.outcome else 0
        for change in changes_of(records, path, acts):
            if change.until_us >= ended_us and change.act != told.id:
                by = acts[change.act].intent.get("login", "")
                raise ExistsError(
                    f"{to.path} was changed since, by act {change.act} of {by}: undo "
                    "that first, or say --overwrite."
                )

    def _nothing(self, told: Told) -> StateError:
        detail = detail_of(told.outcome or told.intent)
        if detail.get("kept") == "too_long":
            return StateError(
                "The old content was not kept: the file was longer than "
                "storage.keep_bytes_max, and this file system makes no clones."
            )
        if (
            told.operation is Operation.DELETE
            or detail.get("replaces")
            or "kept" in detail
        ):
            return StateError(
                "What it destroyed is not in the trash any more: it was put back, or "
                "was there longer than storage.trash_days."
            )
        return StateError("That act destroyed nothing and moved nothing.")

    def _inode(self, at: Location) -> str:
        found = self._restorer.found(at)
        return "" if found is None else f"{found.inode:x}"
