"""What every act of a view stands on: parsing, rights, and what is there now."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from server.audit.gate import Act, Gate
from server.model.clock import Clock
from server.model.errors import (
    DrainingError,
    ExistsError,
    IsFolderError,
    NotFolderError,
    NotFoundError,
    PathRefusedError,
    RightsRefusedError,
)
from server.model.event import Json
from server.model.identity import LoginKind
from server.model.operation import Operation, Right
from server.model.path import VirtualPath
from server.model.session import Session
from server.storage.port import Attributes, Location, Storage, StoredFile
from server.vfs.dropping import Dropping
from server.vfs.entry import Disposition
from server.vfs.keeping import keeper
from server.vfs.lock_table import LockTable
from server.vfs.naming import settled
from server.vfs.tree import Place, Tree

NOTHING_THERE = "There is no such file or folder."


@dataclass(slots=True, kw_only=True)
class Rules:
    """The settings that a view obeys, and whether the daemon is stopping."""

    clock: Clock
    sync: bool
    hash_uploads: bool
    hash_reads: bool
    keep_bytes_max: int
    """Longer files that are changed in place are kept only as clones."""
    lock_timeout_s_max: int
    locks_login_max: int
    properties_max: int
    property_bytes_max: int
    draining: bool = False


@dataclass(slots=True, kw_only=True)
class Ground:
    """The collaborators of one view, and the checks that all its acts share."""

    session: Session
    tree: Tree
    gate: Gate
    storage: Storage
    dropping: Dropping
    locks: LockTable
    rules: Rules
    deposited: set[int] = field(default_factory=set)
    """Inodes of the files that this session itself made: a depositor may still change
    and rename those. A path would not do: another file may come to lie there."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards the view's set of open files. Taken after a file's own lock."""

    @property
    def intake(self) -> bool:
        """Whether the session only deposits."""
        return self.session.actor.kind is LoginKind.INTAKE

    def act(self, operation: Operation, raw: str, target_raw: str = "") -> Act:
        """An act of this session, not begun."""
        return self.gate.act(
            self.session.fields, operation, raw=raw, target_raw=target_raw
        )

    def looking(
        self, operation: Operation, raw: str, target_raw: str = ""
    ) -> "Looking":
        """An act that leaves a record only when it is refused or fails."""
        return Looking(self.act(operation, raw, target_raw))

    def keeper(self, act: Act, at: Location) -> Callable[[StoredFile], None]:
        """What keeps the content of a file that the act changes where it stands."""
        return keeper(
            self.storage,
            act,
            at.root.contract_id,
            copy_bytes_max=self.rules.keep_bytes_max,
        )

    def enter(self, act: Act, raw: str) -> Place:
        """Session alive, path parsed, place found: the first steps of each act.

        Raises:
            SessionCutError: The session was cut.
            PathRefusedError: The spelling.
            RightsRefusedError: No such shared folder, or no grant on it.
        """
        self.session.require_live()
        place = self._place(raw, lambda path: act.note(path=path))
        path = str(place.path)
        if place.location is None:
            act.note(path=path)
        else:
            detail = _lying("root", "stored", place)
            act.note(path=path, folder=place.folder, detail=detail)
        return place

    def enter_target(self, act: Act, raw: str) -> Place:
        """As `enter`, for where a rename or copy leads."""
        place = self._place(raw, lambda path: act.note(target=path))
        act.note(target=str(place.path))
        act.note(detail=_lying("target_root", "target_stored", place))
        return place

    def at(self, path: VirtualPath) -> Place:
        """Where a path leads that was parsed already; nothing is noted or recorded.

        Raises:
            RightsRefusedError: No such shared folder, or no grant on it.
        """
        place = self.tree.place(path)
        return settled(self.storage, self.tree, place, self.session.actor.charset)

    def require_running(self) -> None:
        """Return when a new transfer may begin.

        Raises:
            DrainingError: The daemon is stopping; what is open may still be finished,
                and renamed into place.
        """
        if self.rules.draining:
            raise DrainingError("The server is stopping; try again in a minute.")

    def found(self, place: Place) -> Attributes | None:
        """What is there now; None when nothing is."""
        if place.location is None:
            return self.tree.virtual_attributes()
        try:
            return self.storage.attributes(place.location)
        except (NotFoundError, NotFolderError):
            return None

    def seen(self, place: Place) -> Attributes | None:
        """As `found`, or what the session may believe to be there."""
        return self.found(place) or self.dropping.find(place)

    def must_find(self, place: Place) -> Attributes:
        """What is there now.

        Raises:
            NotFoundError: Nothing is.
        """
        found = self.found(place)
        if found is None:
            raise NotFoundError(NOTHING_THERE)
        return found

    def must_find_file(self, place: Place) -> Attributes:
        """The file that is there now.

        Raises:
            NotFoundError: Nothing is.
            IsFolderError: A folder is.
        """
        return file_of(self.found(place))

    def found_for_writing(
        self, place: Place, disposition: Disposition
    ) -> Attributes | None:
        """The file that an opening for writing meets; None when it makes one.

        Raises:
            NotFoundError: Nothing is there and nothing may be made.
            ExistsError: Something is there that must not be.
            IsFolderError: A folder is there.
            RightsRefusedError: What is there may not be changed.
        """
        place.stored()
        found = self.found(place)
        if found is None:
            if not disposition.create and self.dropping.find(place) is None:
                raise NotFoundError(NOTHING_THERE)
            self.storage.require_distinct(place.stored())
            return None
        if found.is_folder:
            raise IsFolderError("That is a folder.")
        if disposition.create and disposition.exclusive:
            raise ExistsError("There is a file of that name already.")
        self.require_change(place, found)
        return found

    def found_to_take(self, place: Place, target: Place) -> Attributes:
        """What a rename takes away.

        Raises:
            NotFoundError: Nothing is there.
            RightsRefusedError: It may not be taken away, or it could be read at
                `target` and cannot be read here.
        """
        found = self.found(place)
        if found is None or found.inode not in self.deposited:
            place.require(Right.DELETE)
            if Right.READ in target.rights:
                place.require(Right.READ)
        if found is None:
            raise NotFoundError(NOTHING_THERE)
        return found

    def found_at_target(
        self, place: Place, target: Place, *, overwrite: bool, moves: bool
    ) -> Attributes | None:
        """What a rename (which moves) or copy would replace.

        Raises:
            PathRefusedError: One path holds the other.
            NameCollisionError: Something is beside it that differs only in case.
            ExistsError: Something is there and may not be replaced.
            RightsRefusedError: It may not be changed.
        """
        if place.path.holds(target.path) or target.path.holds(place.path):
            raise PathRefusedError(
                "A file or folder cannot be put into itself.", rule="into_itself"
            )
        require_movable(target)
        target.require(Right.WRITE)
        found = self.found(target)
        if found is None:
            moved = place.stored() if moves else None
            self.storage.require_distinct(target.stored(), moved)
            return None
        if not overwrite:
            raise ExistsError("There is a file or folder of that name already.")
        self.require_change(target, found)
        if found.is_folder:
            target.require(Right.DELETE)
        return found

    def may_change(self, place: Place, found: Attributes | None) -> bool:
        """Who cannot read a file cannot change it, unless this session made it."""
        return Right.READ in place.rights or (
            found is not None and found.inode in self.deposited
        )

    def require_change(self, place: Place, found: Attributes) -> None:
        """Return when what is there may be changed or replaced.

        Raises:
            RightsRefusedError: Only new files may be added here.
        """
        if not self.may_change(place, found):
            raise RightsRefusedError(
                "You may add files here, but not change what is there.",
                rule="deposit_only",
            )

    def _place(self, raw: str, note: Callable[[str], None]) -> Place:
        """Where a client's path leads; it is noted when it is refused."""
        actor = self.session.actor
        path = VirtualPath.sent_by(actor, raw)
        try:
            place = self.tree.place(path)
            if place.location is None:
                return place
            self.storage.prepare(place.location.root)
            return settled(self.storage, self.tree, place, actor.charset)
        except BaseException:
            note(str(path))
            raise


class Looking:
    """A block that only looks: its act is closed by an error alone.

    A class, because a generator costs more and drives look at files all day.
    """

    __slots__ = ("_act",)

    def __init__(self, act: Act) -> None:
        """Look on behalf of `act`."""
        self._act = act

    def __enter__(self) -> Act:
        """The act, to be noted in."""
        return self._act

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write a refusal or failure; the error goes on."""
        if error is not None:
            self._act.__exit__(kind, error, trace)


def file_of(found: Attributes | None) -> Attributes:
    """What was found, which must be a file.

    Raises:
        NotFoundError: Nothing was.
        IsFolderError: It is a folder.
    """
    if found is None:
        raise NotFoundError(NOTHING_THERE)
    if found.is_folder:
        raise IsFolderError("That is a folder.")
    return found


def _lying(root: str, stored: str, place: Place) -> dict[str, Json]:
    """Where a place lies on the disk, for recovery and `kagikura restore`."""
    at = place.stored()
    told: dict[str, Json] = {root: str(at.root)}
    if place.path.parts[-len(at.parts) :] != at.parts and at.parts:
        told[stored] = [*at.parts]
    return told


def require_visible(place: Place) -> None:
    """Return when the session may know what is there.

    Raises:
        RightsRefusedError: It has no right of any kind here.
    """
    if not place.rights and not place.passable:
        place.require(Right.LIST)


def require_movable(place: Place) -> None:
    """Return when the place is inside a folder, not one of the fixed folders.

    Raises:
        RightsRefusedError: `/`, `/private`, `/shared` or a shared folder itself.
    """
    if not place.stored().parts:
        raise RightsRefusedError(
            "This folder is fixed; the administrator makes and removes it.",
            rule="fixed_folder",
        )
