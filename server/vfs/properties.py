"""Dead properties of files and folders (RFC 4918, section 4), for one session.

They lie in the store's own database under the path, and follow what they belong to
(`vfs.moving`). The store keeps them as it was given them and draws nothing from them.
"""

from collections.abc import Mapping
from typing import Final

from server.model.errors import LimitError
from server.model.operation import Operation, Right
from server.model.path import VirtualPath
from server.storage.port import Changes, Location
from server.vfs.ground import Ground
from server.vfs.guard import Tokens, claim, guarded
from server.vfs.handle import changes_detail
from server.vfs.locks import Claim
from server.vfs.naming import told

Values = Mapping[str, str]
"""XML elements by their names, `{namespace}name`."""

_NONE: Final[Values] = {}
_TOLD_MAX: Final = 20
"""How many names a record tells."""


class Properties:
    """The properties as one session may see and change them."""

    def __init__(self, ground: Ground) -> None:
        """Act for the ground's session."""
        self._ground = ground
        self._table = ground.locks

    def at(self, path: VirtualPath) -> Values:
        """Those of a file or folder; beside a record of the session's look at it.

        Raises:
            BooksUnavailableError: They cannot be read.
        """
        at = self._kept(path)
        return _NONE if at is None else self._table.books.properties(at)

    def of_members(self, path: VirtualPath) -> Mapping[str, Values]:
        """Those of all a folder holds, by their names, with one query or none.

        The folder's own are under the empty name. What has none is left out. It
        belongs beside a recorded listing of the folder, and tells no more than that.

        Raises:
            BooksUnavailableError: They cannot be read.
        """
        at = self._kept(path)
        found = {} if at is None else self._table.books.properties_in(at)
        return {told(name): values for name, values in found.items()} | found

    def change(
        self,
        raw: str,
        values: Mapping[str, str | None],
        changes: Changes,
        tokens: Tokens,
    ) -> None:
        """Set (or remove, by None) properties and set attributes: all or nothing.

        Args:
            raw: Path as the client sent it.
            values: XML elements by their names; with neither these nor `changes` the
                act is on record, and does nothing.
            changes: Attributes that came as properties.
            tokens: The lock tokens that came with the request.

        Raises:
            NotFoundError: Nothing is there.
            LockedError: A lock is in the way.
            LimitError: The resource would have too many, or too long ones.
        """
        ground = self._ground
        with ground.act(Operation.SETATTR, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            if ground.dropping.changes(act, place, ground.found(place)):
                return
            found = ground.must_find(place)
            ground.require_change(place, found)
            claimed = claim(place)
            guard = guarded(ground, tokens, claimed)
            self._require_room(self.at(place.path), values)
            act.note(
                size=found.size,
                detail={
                    "changes": changes_detail(changes),
                    "properties": [*sorted(values)[:_TOLD_MAX]],
                    "properties_count": len(values),
                },
            )
            act.begin()
            with guard.held():
                self._write(claimed, values, changes)
            self._tell(claimed.at)

    def _write(
        self, claimed: Claim, values: Mapping[str, str | None], changes: Changes
    ) -> None:
        ground, at = self._ground, claimed.at
        if not values:
            ground.storage.change(at, changes)
            return
        with self._table.books.writing() as change:
            self._require_room(change.at(at), values)
            change.write(at, values)
            if changes:
                ground.storage.change(at, changes)

    def _tell(self, at: Location) -> None:
        """Others look for properties where they know of some."""
        contract_id = at.root.contract_id
        if str(at.root) not in self._table.known(contract_id).propertied:
            self._table.tell_change(contract_id)

    def _kept(self, path: VirtualPath) -> Location | None:
        """Where a path's properties are kept; None when there are none around."""
        at = self._ground.tree.place(path).location
        if at is None:
            return None
        known = self._table.known(at.root.contract_id)
        if str(at.root) not in known.propertied:
            return None
        return self._ground.at(path).location

    def _require_room(self, now: Values, values: Mapping[str, str | None]) -> None:
        rules = self._ground.rules
        after = {**now, **values}
        kept = {name: value for name, value in after.items() if value is not None}
        if len(kept) > rules.properties_max:
            raise LimitError("Too many properties.", rule="webdav.properties_max")
        length = sum(len(n.encode()) + len(v.encode()) for n, v in kept.items())
        if length > rules.property_bytes_max:
            raise LimitError(
                "The properties are too long.", rule="webdav.property_bytes_max"
            )
