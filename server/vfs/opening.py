"""How files are opened, staged and published for one view."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from server.audit.gate import Act
from server.model.errors import (
    NotFolderError,
    NotFoundError,
    ServerError,
)
from server.model.operation import Operation, Right
from server.storage.port import Attributes, Changes, Location, StoredFile
from server.vfs.entry import Disposition, Judge, entry_of, whatever
from server.vfs.ground import NOTHING_THERE, Ground, file_of
from server.vfs.guard import NO_TOKENS, Tokens, claim, guarded
from server.vfs.handle import OpenFile
from server.vfs.keeping import KeptFile
from server.vfs.opened import Opening
from server.vfs.staged import Staged, replacing
from server.vfs.tree import Place

log = logging.getLogger(__name__)


class Openings:
    """The open files of one view."""

    def __init__(self, ground: Ground) -> None:
        """Open files for the ground's session."""
        self._ground = ground
        self._files: set[OpenFile] = set()
        self._ended = False
        self._writing = Operation.DEPOSIT if ground.intake else Operation.WRITE

    def read(self, raw: str, judge: Judge) -> OpenFile:
        """See `View.open_read`."""
        ground = self._ground
        with ground.act(Operation.READ, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.READ)
            file = self._there(place)
            found = None if file is None else file.attributes()
            if ground.dropping.concerns(act, place, found):
                known = ground.dropping.find(place)
                judge(place.path, known and entry_of(place.path, known))
                return self._dropped(place, act, ground.dropping.reopened(act, place))
            if file is None:
                raise NotFoundError(NOTHING_THERE)
            with closed_on_error(file):
                act.note(size=file_of(found).size)
            act.keep()
        with closed_on_error(file):
            judge(place.path, entry_of(place.path, file_of(found)))
            with act:
                ground.require_running()
                act.begin()
        opening = Opening(
            act=act,
            session=ground.session,
            place=place,
            file=file,
            permitted=ground.tree.standing(place, Right.READ),
            running=ground.gate.require_running,
            readable=True,
            writable=False,
            hashed=ground.rules.hash_reads,
        )
        return self._opened(opening)

    def _there(self, place: Place) -> StoredFile | None:
        """What is there, open to read; None when nothing is.

        Opened before it is looked at, so that both are of the same file, by one walk
        along the path.
        """
        try:
            return self._ground.storage.open(place.stored(), write=False)
        except (NotFoundError, NotFolderError):
            return None

    def write(self, raw: str, disposition: Disposition, changes: Changes) -> OpenFile:
        """See `View.open_write`."""
        ground = self._ground
        with ground.act(self._writing, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            if disposition.read:
                place.require(Right.READ)
            found = ground.found_for_writing(place, disposition)
            if ground.dropping.concerns(act, place, found):
                known = ground.dropping.find(place) and not disposition.truncate
                make = ground.dropping.reopened if known else ground.dropping.opened
                return self._dropped(place, act, make(act, place), writes=True)
            fresh = found is None or disposition.truncate
            if fresh:
                opening = self._begin(act, place, found, staged=ground.intake)
            else:
                opening = self._begin_in_place(act, place, found)
            if fresh and changes.mode is not None:
                with self._dropped_on_error(opening):
                    opening.file.change(Changes(mode=changes.mode))
            act.keep()
            opening.append = disposition.append
            if disposition.read:
                opening.readable = True
                opening.permitted = ground.tree.standing(place, Right.WRITE, Right.READ)
            return self._opened(opening)

    def stage(self, raw: str, tokens: Tokens, judge: Judge) -> tuple[OpenFile, bool]:
        """See `View.upload`; and whether something is there already."""
        ground = self._ground
        with ground.act(self._writing, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            found = ground.found_for_writing(place, Disposition(create=True))
            dropped = ground.dropping.concerns(act, place, found)
            act.keep()
        if dropped:
            found = ground.dropping.find(place)
        judge(place.path, None if found is None else entry_of(place.path, found))
        with act:
            if dropped:
                file = ground.dropping.opened(act, place)
                opened = self._dropped(place, act, file, writes=True)
            else:
                begun = self._begin(act, place, found, tokens, judge, staged=True)
                opened = self._opened(begun)
        return opened, found is not None

    def copy(
        self,
        act: Act,
        place: Place,
        target: Place,
        publish: Callable[[], None],
        *,
        deep: bool,
    ) -> None:
        """Copy by way of the stage; what was staged goes when it fails."""
        storage, to = self._ground.storage, target.stored()
        try:
            copied = storage.copy(place.stored(), act.id, deep=deep, to=to)
            publish()
        except ServerError:
            storage.unstage(to.root.contract_id, act.id, quarantine=False)
            raise
        act.note(bytes=copied)

    def resize(self, act: Act, place: Place, changes: Changes) -> None:
        """Set attributes with a size; what a shorter one cuts off is kept first."""
        ground, at = self._ground, place.stored()
        file = KeptFile(ground.storage.open(at, write=True), ground.keeper(act, at))
        try:
            file.change(changes)
            if ground.rules.sync:
                file.sync()
        finally:
            file.close()

    def close(self) -> None:
        """Abort what is open; nothing opens after this."""
        with self._ground.lock:
            self._ended = True
            files = list(self._files)
        for file in files:
            _abort(file)

    def _begin(
        self,
        act: Act,
        place: Place,
        found: Attributes | None,
        tokens: Tokens = NO_TOKENS,
        judge: Judge = whatever,
        *,
        staged: bool,
    ) -> Opening:
        """Begin a file that is empty; what is there goes to the trash."""
        ground, at = self._ground, place.stored()
        guard = replacing(ground, place, found, tokens)
        act.note(detail={"replaces": found is not None, "in_place": not staged})
        self._start(act, found)
        hashed = ground.rules.hash_uploads
        if not staged:
            with guard.held():
                file = self._new(act, at, replaces=found is not None)
            if found is None:
                ground.deposited.add(file.attributes().inode)
            return self._opening(act, place, file, hashed=hashed)
        file = ground.storage.stage(at.root.contract_id, act.id, to=at)
        ending = Staged(
            ground=ground,
            act=act,
            place=place,
            file=file,
            tokens=tokens,
            judge=judge,
            found=found,
            guard=guard,
        )
        return self._opening(act, place, file, hashed=hashed, staged=ending)

    def _begin_in_place(
        self, act: Act, place: Place, found: Attributes | None
    ) -> Opening:
        """Begin to change the file that is there."""
        ground, at = self._ground, place.stored()
        guard = guarded(ground, NO_TOKENS, claim(place))
        act.note(detail={"replaces": False, "in_place": True})
        self._start(act, found)
        with guard.held():
            there = self._marked(at)
        return self._opening(act, place, KeptFile(there, ground.keeper(act, at)))

    def _start(self, act: Act, found: Attributes | None) -> None:
        if found is not None:
            act.note(size=found.size)
        self._ground.require_running()
        act.begin()

    def _opening(
        self,
        act: Act,
        place: Place,
        file: StoredFile,
        *,
        hashed: bool = False,
        staged: Staged | None = None,
    ) -> Opening:
        ground = self._ground
        return Opening(
            act=act,
            session=ground.session,
            place=place,
            file=file,
            permitted=ground.tree.standing(place, Right.WRITE),
            running=ground.gate.require_running,
            readable=False,
            writable=True,
            hashed=hashed,
            sync=ground.rules.sync,
            publish=None if staged is None else staged.publish,
            discard=None if staged is None else staged.discard,
        )

    def _dropped(
        self, place: Place, act: Act, file: StoredFile, *, writes: bool = False
    ) -> OpenFile:
        """A file that takes what comes, and is gone at its end (docs/adr/0023)."""
        ground = self._ground
        right = Right.WRITE if writes else Right.READ

        def end() -> None:
            ground.dropping.end(act, place, file)

        def discard() -> None:
            ground.dropping.discard(act, place)

        return self._opened(
            Opening(
                act=act,
                session=ground.session,
                place=place,
                file=file,
                permitted=ground.tree.standing(place, right),
                running=ground.gate.require_running,
                readable=True,
                writable=writes,
                sync=False,
                publish=end if writes else discard,
                discard=discard,
            )
        )

    def _marked(self, at: Location) -> StoredFile:
        """The file that is there, open, with others told that it is written.

        It may have been taken away between its opening and its mark; then what stands
        there now is opened.
        """
        storage = self._ground.storage
        while True:
            file = storage.open(at, write=True)
            with closed_on_error(file):
                self._mark(file)
                if storage.attributes(at).inode == file.attributes().inode:
                    return file
            file.close()

    def _mark(self, file: StoredFile) -> None:
        login_id = self._ground.session.actor.login_id
        self._ground.locks.writers.mark(file, login_id)

    def _new(self, act: Act, at: Location, *, replaces: bool) -> StoredFile:
        """An empty file, in the place of what is there if it `replaces` that.

        It bears the mark before anybody can find it.
        """
        storage, contract = self._ground.storage, at.root.contract_id
        if not replaces:
            file = storage.create(at)
            with closed_on_error(file):
                self._mark(file)
            return file
        # Of an act in place recovery asks no mark, and there is no content to sync yet:
        # the folder's sync makes the file durable, its close what was written.
        file = storage.stage(contract, act.id, to=at, marked=False)
        try:
            self._mark(file)
            storage.publish(act.id, at, replace=True, file=file)
        except BaseException:
            with suppress(ServerError):
                file.close()
                storage.unstage(contract, act.id, quarantine=False)
            raise
        return file

    def _opened(self, opening: Opening) -> OpenFile:
        clock = self._ground.rules.clock
        file = OpenFile(opening, clock=clock, closed=self._forget)
        with self._ground.lock:
            if not self._ended:
                self._files.add(file)
                return file
        file.abort("connection_lost")
        return file

    def _forget(self, file: OpenFile) -> None:
        with self._ground.lock:
            self._files.discard(file)

    @contextmanager
    def _dropped_on_error(self, opening: Opening) -> Iterator[None]:
        try:
            yield
        except ServerError:
            opening.file.close()
            if opening.discard is not None:
                with suppress(ServerError):
                    opening.discard()
            raise


def _abort(file: OpenFile) -> None:
    """One file's failure must not keep the others open."""
    try:
        file.abort("connection_lost")
    except Exception:
        log.exception("aborted file not on record")


@contextmanager
def closed_on_error(file: StoredFile) -> Iterator[None]:
    """Close a file that nobody will own when the block fails."""
    try:
        yield
    except BaseException:
        file.close()
        raise
