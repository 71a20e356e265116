"""Acts by which names go elsewhere or disappear: delete, rename, copy.

What they replace goes to the trash, locks on what has gone are dropped, and properties
follow what they belong to, into the trash too.
"""

from dataclasses import dataclass

from server.audit.gate import Act
from server.model.errors import IsFolderError
from server.model.operation import Operation, Right
from server.storage.books import PropertyChange
from server.storage.port import Attributes, Location, trashed_at
from server.vfs.children import hides_files, tell_children, tell_replaced
from server.vfs.ground import Ground, require_movable
from server.vfs.guard import (
    NO_TOKENS,
    Follow,
    Guard,
    Tokens,
    claim,
    claim_target,
    guarded,
    moving,
)
from server.vfs.opening import Openings
from server.vfs.tree import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacing:
    """What a rename or copy may put something in the place of."""

    overwrite: bool
    folders: bool = True
    """Whether that may be a folder with all below it."""


class Moves:
    """These acts of one view."""

    def __init__(self, ground: Ground, openings: Openings) -> None:
        """Act for the ground's session."""
        self._ground = ground
        self._openings = openings

    def remove_folder(self, raw: str) -> None:
        """See `View.remove_folder`."""
        ground = self._ground
        with ground.act(Operation.RMDIR, raw) as act:
            place = ground.enter(act, raw)
            require_movable(place)
            place.require(Right.DELETE)
            held, at = hides_files(ground, place), place.stored()
            guard = guarded(ground, NO_TOKENS, claim(place, tree=True, named=True))
            act.begin()
            if held:
                tell_children(act, ground.storage, place)
            trashed = trashed_at(at.root.contract_id, act.id)
            with guard.held(lambda change: change.move(at, trashed)):
                if held:
                    ground.storage.trash(act.id, at)
                else:
                    ground.storage.remove_folder(at)

    def delete(self, raw: str, tokens: Tokens) -> None:
        """See `View.delete`."""
        with self._ground.act(Operation.DELETE, raw) as act:
            place = self._ground.enter(act, raw)
            place.require(Right.DELETE)
            if self._ground.dropping.deletes(act, place, self._ground.found(place)):
                return
            self._trash(act, place, self._ground.must_find_file(place), tokens)

    def delete_tree(self, raw: str, tokens: Tokens) -> None:
        """See `View.delete_tree`."""
        with self._ground.act(Operation.DELETE, raw) as act:
            place = self._ground.enter(act, raw)
            require_movable(place)
            place.require(Right.DELETE)
            self._trash(act, place, self._ground.must_find(place), tokens)

    def rename(
        self, raw: str, target_raw: str, replacing: Replacing, tokens: Tokens
    ) -> None:
        """See `View.rename`."""
        ground = self._ground
        with ground.act(Operation.RENAME, raw, target_raw) as act:
            place = ground.enter(act, raw)
            target = ground.enter_target(act, target_raw)
            require_movable(place)
            if ground.dropping.renames(act, place, target, ground.found(place)):
                return
            found = ground.found_to_take(place, target)
            replaced = ground.found_at_target(
                place, target, overwrite=replacing.overwrite, moves=True
            )
            if replaced is not None and replaced.is_folder and not replacing.folders:
                raise IsFolderError("There is a folder of that name already.")
            guard = guarded(
                ground,
                tokens,
                claim(place, tree=found.is_folder, named=True),
                claim_target(target, replaced),
                taken=((place, found), (target, replaced)),
            )
            # By the inode recovery can tell whether the rename took place.
            act.note(
                size=found.size,
                detail={
                    "replaces": replaced is not None,
                    "inode": f"{found.inode:x}",
                },
            )
            act.begin()
            self._tell_trees(act, place if found.is_folder else None, target, replaced)
            at, to = place.stored(), target.stored()
            with guard.held(moving(act.id, at, to)):
                replace = replaced is not None
                ground.storage.rename(act.id, at, to, replace=replace)
            guard.drop_locks(at)
            _drop_below_replaced(guard, to, replaced)

    def copy(
        self,
        raw: str,
        target_raw: str,
        replacing: Replacing,
        tokens: Tokens,
        *,
        deep: bool,
    ) -> None:
        """See `View.copy`."""
        ground = self._ground
        with ground.act(Operation.COPY, raw, target_raw) as act:
            place = ground.enter(act, raw)
            target = ground.enter_target(act, target_raw)
            require_movable(place)
            place.require(Right.READ)
            found = ground.must_find(place)
            replaced = ground.found_at_target(
                place, target, overwrite=replacing.overwrite, moves=False
            )
            guard = guarded(
                ground,
                tokens,
                claim_target(target, replaced),
                taken=((target, replaced),),
            )
            act.note(size=found.size, detail={"replaces": replaced is not None})
            act.begin()
            tree = place if found.is_folder and deep else None
            self._tell_trees(act, tree, target, replaced)
            at, to = place.stored(), target.stored()

            def publish() -> None:
                with guard.held(_copied(act, at, to, deep=deep), source=at):
                    replace = replaced is not None
                    ground.storage.publish(act.id, to, replace=replace)

            self._openings.copy(act, place, target, publish, deep=deep)
            _drop_below_replaced(guard, to, replaced)

    def _trash(self, act: Act, place: Place, found: Attributes, tokens: Tokens) -> None:
        ground, at = self._ground, place.stored()
        guard = guarded(
            ground,
            tokens,
            claim(place, tree=found.is_folder, named=True),
            taken=((place, found),),
        )
        act.note(size=found.size)
        act.begin()
        if found.is_folder:
            tell_children(act, ground.storage, place)
        trashed = trashed_at(at.root.contract_id, act.id)
        with guard.held(lambda change: change.move(at, trashed)):
            ground.storage.trash(act.id, at)
        guard.drop_locks(at)

    def _tell_trees(
        self, act: Act, tree: Place | None, target: Place, replaced: Attributes | None
    ) -> None:
        """Tell what goes to `target` and what goes from there, file by file."""
        if tree is not None:
            tell_children(act, self._ground.storage, tree, target)
        if replaced is not None and replaced.is_folder:
            tell_replaced(act, self._ground.storage, target)


def _drop_below_replaced(
    guard: Guard, to: Location, replaced: Attributes | None
) -> None:
    """A lock on the target itself stays: it is on the URL (RFC 4918, section 6.1).

    So an editor that saves by moving a new file over the one it has locked goes on.
    """
    if replaced is not None and replaced.is_folder:
        guard.drop_locks(to, itself=False)


def _copied(act: Act, at: Location, to: Location, *, deep: bool) -> Follow:
    def follow(change: PropertyChange) -> None:
        change.move(to, trashed_at(to.root.contract_id, act.id))
        change.copy(at, to, deep=deep)

    return follow
