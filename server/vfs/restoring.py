"""Putting things back: each step one recorded act of an administrator.

    put_back      out of the trash to a place, `restore`; what stands there goes to the
                  trash in its turn
    move_back     from where a rename brought it, `rename`
    make_folder   `mkdir`, for what has to hold the one or the other

The order inside each is that of a client's act: checks, intent durable, effect,
outcome durable; recovery closes them in the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from server.audit.gate import Act, Gate
from server.model.errors import (
    ExistsError,
    NotFolderError,
    NotFoundError,
    PathRefusedError,
)
from server.model.event import Fields, Json
from server.model.operation import Operation
from server.storage.port import Attributes, Location, Storage, trashed_at
from server.vfs.children import tell_children, tell_replaced
from server.vfs.estate import Estate
from server.vfs.ground import require_movable
from server.vfs.guard import Guard, claim, claim_target, guard_of, moving
from server.vfs.lock_table import LockTable
from server.vfs.locks import Claim, Key
from server.vfs.tree import Place

Facts = dict[str, Json]
"""What a step answers: shown as a table or as JSON."""

_TAKEN: Final = "Something stands at {path}: say --overwrite, and it goes to the trash."


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the trash of a contract, or a part of it."""

    contract_id: str
    act: str
    """The act that destroyed it."""
    inside: tuple[str, ...] = ()

    @property
    def location(self) -> Location:
        """Where it lies."""
        return trashed_at(self.contract_id, self.act, self.inside)


class Restorer:
    """The steps, as one operator takes them."""

    def __init__(
        self,
        *,
        gate: Gate,
        storage: Storage,
        locks: LockTable,
        who: Fields,
        estate: Estate,
    ) -> None:
        """Act as `who`, with an administrator's rights; locks hold all the same."""
        self._gate = gate
        self._storage = storage
        self._locks = locks
        self._who = who
        self._estate = estate

    def found(self, at: Location) -> Attributes | None:
        """What lies there; None when nothing does."""
        try:
            return self._storage.attributes(at)
        except (NotFoundError, NotFolderError):
            return None

    def put_back(
        self, entry: Entry, to: Place, *, overwrite: bool, why: Facts
    ) -> Facts:
        """Move something out of the trash.

        Args:
            entry: What.
            to: Where to; folders that are missing on the way are made.
            overwrite: Whether something there may be replaced.
            why: For the record's detail: what is undone, whose version it is.

        Raises:
            NotFoundError: It is not in the trash.
            ExistsError: Something is there and may not be replaced.
            NotFolderError: A file stands where a folder is needed.
            AuditUnavailableError: The trail cannot be written; nothing was done.
        """
        source = entry.location
        with self._gate.act(self._who, Operation.RESTORE) as act:
            self._enter(act, to)
            inside: Json = [*entry.inside]
            act.note(detail={**why, "entry": entry.act, "inside": inside})
            found = self.found(source)
            if found is None:
                raise NotFoundError("That is not in the trash any more.")
            replaced = self._replaced(to, overwrite=overwrite)
            act.note(**_facts_of(found, replaced))
            # A handle from before it was destroyed may write there still.
            there = Place(to.path, to.folder, source, to.rights, passable=True)
            guard = self._guard(
                claim_target(to, replaced), taken=((there, found), (to, replaced))
            )
            self._require_folders(to)
            act.begin()
            if found.is_folder:
                tell_children(act, self._storage, there)
            if replaced is not None and replaced.is_folder:
                tell_replaced(act, self._storage, to)
            replace = replaced is not None
            with guard.held(moving(act.id, source, to.stored()), source=source):
                self._storage.restore(source, act.id, to.stored(), replace=replace)
        return {
            "did": "restored",
            "act": act.id,
            "path": str(to.path),
            "size": found.size,
            "replaced": replaced is not None,
        }

    def move_back(self, at: Place, to: Place, *, overwrite: bool, why: Facts) -> Facts:
        """Take a rename back.

        Args:
            at: Where it brought its file or folder.
            to: Where that was before.
            overwrite: Whether something there may be replaced.
            why: As for `put_back`.

        Raises:
            ServerError: As for `put_back`.
        """
        with self._gate.act(self._who, Operation.RENAME) as act:
            self._enter(act, at)
            root = str(to.stored().root)
            act.note(target=str(to.path), detail={**why, "target_root": root})
            self._storage.prepare(to.stored().root)
            found = self._storage.attributes(at.stored())
            replaced = self._replaced(to, overwrite=overwrite)
            if at.path.holds(to.path) or to.path.holds(at.path):
                raise PathRefusedError("One path holds the other.", rule="into_itself")
            act.note(**_facts_of(found, replaced))
            guard = self._guard(
                claim(at, tree=found.is_folder, named=True),
                claim_target(to, replaced),
                taken=((at, found), (to, replaced)),
            )
            self._require_folders(to)
            act.begin()
            if found.is_folder:
                tell_children(act, self._storage, at, to)
            if replaced is not None and replaced.is_folder:
                tell_replaced(act, self._storage, to)
            replace = replaced is not None
            with guard.held(moving(act.id, at.stored(), to.stored())):
                self._storage.rename(act.id, at.stored(), to.stored(), replace=replace)
        return {
            "did": "moved back",
            "act": act.id,
            "path": str(to.path),
            "size": found.size,
            "replaced": replaced is not None,
        }

    def make_folder(self, place: Place, *, why: Facts) -> Facts:
        """Make a folder, and those that have to hold it.

        Raises:
            ExistsError: Something is there.
            NotFolderError: A file stands where a folder is needed.
        """
        with self._gate.act(self._who, Operation.MKDIR) as act:
            self._enter(act, place)
            act.note(detail=why)
            if self.found(place.stored()) is not None:
                raise ExistsError("There is a file or folder of that name already.")
            guard = self._guard(claim(place, named=True))
            self._require_folders(place)
            act.begin()
            with guard.held():
                self._storage.make_folder(place.stored())
        return {"did": "made", "act": act.id, "path": str(place.path)}

    def _guard(
        self, *claims: Claim, taken: Iterable[tuple[Place, Attributes | None]] = ()
    ) -> Guard:
        """Nobody's key: what stands in the way is broken first, or runs out."""
        return guard_of(self._locks, self._storage, Key(""), *claims, taken=taken)

    def _enter(self, act: Act, place: Place) -> None:
        """Say where; the owner of a private folder stands beside the operator."""
        root = place.stored().root
        detail: Facts = {"root": str(root)}
        if owner := self._estate.owner(root):
            detail["owner"] = owner
        act.note(
            contract=self._estate.contract_name(root.contract_id),
            path=str(place.path),
            folder=place.folder,
            detail=detail,
        )
        require_movable(place)
        self._storage.prepare(root)

    def _replaced(self, to: Place, *, overwrite: bool) -> Attributes | None:
        replaced = self.found(to.stored())
        if replaced is not None and not overwrite:
            raise ExistsError(_TAKEN.format(path=to.path))
        return replaced

    def _require_folders(self, place: Place) -> None:
        """Make the folders on the way that are missing, each as an act of its own."""
        at = place.stored()
        for depth in range(1, len(at.parts)):
            above = self._estate.place(Location(at.root, at.parts[:depth]))
            found = self.found(above.stored())
            if found is None:
                self.make_folder(above, why={"for": str(place.path)})
            elif not found.is_folder:
                raise NotFolderError(f"{above.path} is a file now.")


def _facts_of(found: Attributes, replaced: Attributes | None) -> Fields:
    # By the inode recovery can tell whether it was moved.
    detail: Facts = {"replaces": replaced is not None, "inode": f"{found.inode:x}"}
    return {"size": found.size, "detail": detail}
