"""What one session may do with files: every act parsed, allowed, recorded, done.

The order inside each method is audit.md's: session alive, path parsed, rights; then
the intent is durable; then the effect; then the outcome is durable; then the answer.
A refusal at any of the first steps is one record, durable before it is answered.
"""

from collections.abc import Callable, Iterator
from typing import Final, NoReturn, TypeVar

from server.model.errors import (
    ExistsError,
    IsFolderError,
    NotFoundError,
    ServerError,
)
from server.model.event import Json
from server.model.operation import Operation, Right
from server.model.path import VirtualPath
from server.model.session import Session
from server.storage.port import Batch, Changes, Space
from server.vfs.children import batches_of, entries_of
from server.vfs.entry import Disposition, Entry, Judge, entry_of, whatever
from server.vfs.ground import NOTHING_THERE, Ground, require_visible
from server.vfs.guard import NO_TOKENS, Tokens, claim, guarded
from server.vfs.handle import OpenFile, changes_detail, require_offset
from server.vfs.locking import Locking
from server.vfs.moving import Moves, Replacing
from server.vfs.opening import Openings
from server.vfs.properties import Properties
from server.vfs.tree import Place
from server.vfs.upload import Upload

T = TypeVar("T")

HOME: Final = "/private"
_NOTHING: Final = Changes()


class View:
    """The virtual file system as one session sees it. Safe for several threads."""

    home: Final = HOME
    """Where a relative path starts."""

    def __init__(self, ground: Ground) -> None:
        """See the tree as the login of the ground's session."""
        self._ground = ground
        self._openings = Openings(ground)
        self._moves = Moves(ground, self._openings)
        self.locks = Locking(ground)
        self.properties = Properties(ground)

    @property
    def session(self) -> Session:
        """Whose view this is."""
        return self._ground.session

    def lookup(self, raw: str, operation: Operation) -> Entry | None:
        """What is there, on behalf of an act named `operation` that follows.

        The act records itself, so success leaves no record here; a refusal does.
        None means that nothing is there.
        """
        with self._ground.looking(operation, raw) as act:
            place = self._ground.enter(act, raw)
            require_visible(place)
            found = self._ground.seen(place)
        return None if found is None else entry_of(place.path, found)

    def lookup_both(
        self, raw: str, target_raw: str, operation: Operation
    ) -> tuple[Entry, Entry | None]:
        """What is at both ends of a rename or copy that follows; see `lookup`.

        Raises:
            NotFoundError: There is nothing to rename or copy; recorded.
        """
        ground = self._ground
        with ground.looking(operation, raw, target_raw) as act:
            place = ground.enter(act, raw)
            require_visible(place)
            target = ground.enter_target(act, target_raw)
            require_visible(target)
            found, replaced = ground.seen(place), ground.found(target)
            if found is None:
                raise NotFoundError(NOTHING_THERE)
        there = None if replaced is None else entry_of(target.path, replaced)
        return entry_of(place.path, found), there

    def refuse(
        self,
        operation: Operation,
        raw: str,
        refusal: ServerError,
        *,
        target_raw: str = "",
        detail: dict[str, Json] | None = None,
    ) -> NoReturn:
        """Record an act that the front end itself must refuse, or that failed there.

        Raises:
            ServerError: `refusal`, unless another one comes first.
        """
        act = self._ground.act(operation, raw, target_raw)
        act.note(detail=detail or {})
        try:
            self._ground.enter(act, raw)
            if target_raw:
                self._ground.enter_target(act, target_raw)
        except ServerError as error:
            refusal = error
        act.fail(refusal)
        raise refusal

    def stat(self, raw: str) -> Entry:
        """A file's or folder's attributes; recorded once per folder and window.

        Raises:
            NotFoundError: Nothing is there.
        """
        with self._ground.looking(Operation.STAT, raw) as act:
            place = self._ground.enter(act, raw)
            require_visible(place)
            found = self._ground.seen(place)
            self._glance(Operation.STAT, place, place.path.parent)
        if found is None:
            raise NotFoundError(NOTHING_THERE)
        return entry_of(place.path, found)

    def list(self, raw: str) -> Iterator[Entry]:
        """What a folder holds, in the disk's order; recorded once per window.

        Raises:
            NotFoundError: Nothing is there.
            NotFolderError: It is a file.
        """
        return self._list(raw, entries_of)

    def batches(self, raw: str) -> Iterator[Batch]:
        """As `list`, some hundred names and attributes at a time; also recorded."""
        return self._list(raw, batches_of)

    def _list(
        self, raw: str, look: Callable[[Ground, Place], Iterator[T]]
    ) -> Iterator[T]:
        with self._ground.looking(Operation.LIST, raw) as act:
            place = self._ground.enter(act, raw)
            if not place.passable:
                place.require(Right.LIST)
            found = look(self._ground, place)
            self._glance(Operation.LIST, place, place.path)
        return self._while_allowed(raw, place, found)

    def _while_allowed(self, raw: str, place: Place, found: Iterator[T]) -> Iterator[T]:
        """The same, as long as the session may list the folder.

        A client that reads slowly could make a listing last for hours.
        """
        if place.location is None or Right.LIST not in place.rights:
            return found  # each name is looked at by itself

        def checked() -> Iterator[T]:
            standing = self._ground.tree.standing(place, Right.LIST)
            for one in found:
                try:
                    self.session.require_live()
                    standing()
                except ServerError as error:
                    self.refuse(Operation.LIST, raw, error)
                yield one

        return checked()

    def space(self, raw: str) -> Space:
        """Room where a path lies; the private folder's for the virtual ones."""
        with self._ground.looking(Operation.STAT, raw) as act:
            place = self._ground.enter(act, raw)
            if place.location is None:
                place = self._ground.enter(act, HOME)
            return self._ground.storage.space(place.stored().root)

    def open_read(self, raw: str, judge: Judge = whatever) -> OpenFile:
        """Open a file for reading, unless `judge` does not want what is there.

        Raises:
            NotFoundError: Nothing is there.
            IsFolderError: It is a folder.
        """
        return self._openings.read(raw, judge)

    def open_write(
        self, raw: str, disposition: Disposition, changes: Changes = _NOTHING
    ) -> OpenFile:
        """Open a file for writing in place (a deposit of an intake login is staged).

        What stands there and is truncated goes to the trash first, and the new file
        takes its place empty; so an upload that is cut harms nothing old.

        Args:
            raw: Path as the client sent it.
            disposition: What may and must be there.
            changes: For a new file; its mode is kept.

        Raises:
            NotFoundError: Nothing is there and nothing may be made.
            ExistsError: Something is there that must not be.
            IsFolderError: It is a folder.
        """
        return self._openings.write(raw, disposition, changes)

    def upload(
        self,
        raw: str,
        *,
        length: int | None = None,
        tokens: Tokens = NO_TOKENS,
        judge: Judge = whatever,
    ) -> Upload:
        """Receive a whole file; it stands, and replaces, when all of it came.

        Args:
            raw: Path as the client sent it.
            length: Bytes announced, or None when unknown (chunked).
            tokens: The lock tokens that came with the request.
            judge: Sees what would be replaced, and may prevent it; when all came, too.

        Raises:
            IsFolderError: It is a folder.
            LockedError: A lock is in the way, or another login writes it; at the
                commit, too.
        """
        file, replaces = self._openings.stage(raw, tokens, judge)
        return Upload(file, length=length, replaces=replaces)

    def make_folder(self, raw: str, tokens: Tokens = NO_TOKENS) -> None:
        """Make a folder.

        Raises:
            ExistsError: Something is there.
            NotFoundError: The folder that should hold it is missing.
            LockedError: A lock is in the way.
        """
        with self._ground.act(Operation.MKDIR, raw) as act:
            place = self._ground.enter(act, raw)
            place.require(Right.WRITE)
            if self._ground.found(place) is not None:
                raise ExistsError("There is a file or folder of that name already.")
            self._ground.storage.require_distinct(place.stored())
            guard = guarded(self._ground, tokens, claim(place, named=True))
            act.begin()
            with guard.held():
                self._ground.storage.make_folder(place.stored())

    def remove_folder(self, raw: str) -> None:
        """Remove an empty folder.

        Raises:
            NotEmptyError: It holds something.
            NotFolderError: It is a file.
            LockedError: A lock is in the way.
        """
        self._moves.remove_folder(raw)

    def delete(self, raw: str, tokens: Tokens = NO_TOKENS) -> None:
        """Move one file to the trash.

        Raises:
            NotFoundError: Nothing is there.
            IsFolderError: It is a folder.
            LockedError: A lock is in the way, or another login writes it.
        """
        self._moves.delete(raw, tokens)

    def delete_tree(self, raw: str, tokens: Tokens = NO_TOKENS) -> None:
        """Move a folder with all below it to the trash, or a file.

        Raises:
            NotFoundError: Nothing is there.
            LockedError: A lock is in the way, or another login writes below it.
        """
        self._moves.delete_tree(raw, tokens)

    def rename(
        self,
        raw: str,
        target_raw: str,
        *,
        overwrite: bool,
        folders: bool = True,
        tokens: Tokens = NO_TOKENS,
    ) -> None:
        """Move a file or folder; what `overwrite` replaces goes to the trash.

        Args:
            raw: What to move.
            target_raw: Where to.
            overwrite: Whether something there is replaced.
            folders: Whether that may be a folder with all below it.
            tokens: The lock tokens that came with the request.

        Raises:
            NotFoundError: Nothing is there.
            IsFolderError: A folder is at the target and may not be replaced.
            ExistsError: Something is at the target and may not be replaced.
            PathRefusedError: One path holds the other.
            LockedError: A lock is in the way, or another login writes it.
        """
        replacing = Replacing(overwrite=overwrite, folders=folders)
        self._moves.rename(raw, target_raw, replacing, tokens)

    def copy(
        self,
        raw: str,
        target_raw: str,
        *,
        overwrite: bool,
        deep: bool = True,
        tokens: Tokens = NO_TOKENS,
    ) -> None:
        """Copy a file or folder; it stands when all of it was copied.

        Args:
            raw: What to copy.
            target_raw: Where to.
            overwrite: Whether something there is replaced (it goes to the trash).
            deep: For a folder, whether what lies below comes along.
            tokens: The lock tokens that came with the request.

        Raises:
            NotFoundError: Nothing is there.
            ExistsError: Something is at the target and may not be replaced.
            PathRefusedError: One path holds the other.
            LockedError: A lock is in the way, or another login writes the target.
        """
        replacing = Replacing(overwrite=overwrite)
        self._moves.copy(raw, target_raw, replacing, tokens, deep=deep)

    def set_attributes(
        self, raw: str, changes: Changes, tokens: Tokens = NO_TOKENS
    ) -> None:
        """Set size, mode or times of a file or folder.

        Raises:
            NotFoundError: Nothing is there.
            IsFolderError: A size for a folder.
            LimitError: A size that no file may have.
            LockedError: A lock is in the way.
        """
        with self._ground.act(Operation.SETATTR, raw) as act:
            place = self._ground.enter(act, raw)
            place.require(Right.WRITE)
            if self._ground.dropping.changes(act, place, self._ground.found(place)):
                return
            found = self._ground.must_find(place)
            self._ground.require_change(place, found)
            if changes.size is not None and found.is_folder:
                raise IsFolderError("A folder has no size to set.")
            require_offset(changes.size or 0, 0)
            guard = guarded(self._ground, tokens, claim(place))
            act.note(size=found.size, detail={"changes": changes_detail(changes)})
            act.begin()
            with guard.held():
                if changes.size is None:
                    self._ground.storage.change(place.stored(), changes)
                else:
                    self._openings.resize(act, place, changes)

    def close(self) -> None:
        """The session is over: open handles are aborted, counts are told."""
        self._openings.close()
        self._ground.gate.leave(self.session.actor.session)

    def _glance(self, operation: Operation, place: Place, folder: VirtualPath) -> None:
        self._ground.gate.glance(
            self.session.fields,
            operation,
            folder_path=str(folder),
            path=str(place.path),
            folder=place.folder,
        )
