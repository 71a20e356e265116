"""How files are opened, staged and published for one view."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace as with_fields

from server.audit.gate import Act
from server.model.errors import ServerError
from server.model.operation import Operation, Right
from server.storage.port import Attributes, Changes, Location, StoredFile
from server.vfs.entry import Disposition
from server.vfs.ground import Ground
from server.vfs.handle import OpenFile, Opening
from server.vfs.keeping import KeptFile
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

    def read(self, raw: str) -> OpenFile:
        """See `View.open_read`."""
        ground = self._ground
        with ground.act(Operation.READ, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.READ)
            if ground.dropping.concerns(act, place, ground.found(place)):
                return self._dropped(place, act, ground.dropping.reopened(act, place))
            act.note(size=ground.must_find_file(place).size)
            ground.require_running()
            act.begin()
            file = ground.storage.open(place.stored(), write=False)
            opening = Opening(
                act=act.keep(),
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
            opening = self._begin(act, place, found, fresh, staged=ground.intake)
            if fresh and changes.mode is not None:
                with self._dropped_on_error(opening):
                    opening.file.change(Changes(mode=changes.mode))
            act.keep()
            if disposition.read:
                both = ground.tree.standing(place, Right.WRITE, Right.READ)
                opening = with_fields(opening, readable=True, permitted=both)
            return self._opened(with_fields(opening, append=disposition.append))

    def stage(self, raw: str) -> OpenFile:
        """See `View.upload`."""
        ground = self._ground
        with ground.act(self._writing, raw) as act:
            place = ground.enter(act, raw)
            place.require(Right.WRITE)
            found = ground.found_for_writing(place, Disposition(create=True))
            if ground.dropping.concerns(act, place, found):
                file = ground.dropping.opened(act, place)
                return self._dropped(place, act, file, writes=True)
            opening = self._begin(act, place, found, fresh=True, staged=True)
            act.keep()
            return self._opened(opening)

    def copy(
        self, act: Act, place: Place, target: Place, *, deep: bool, replace: bool
    ) -> None:
        """Copy by way of the stage; what was staged goes when it fails."""
        storage, to = self._ground.storage, target.stored()
        try:
            copied = storage.copy(place.stored(), act.id, deep=deep)
            storage.publish(act.id, to, replace=replace)
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
        fresh: bool,  # noqa: FBT001 - one of two facts about the opening
        *,
        staged: bool,
    ) -> Opening:
        ground, at = self._ground, place.stored()
        contract = at.root.contract_id
        staged = staged and fresh
        replaces = found is not None and fresh
        if found is not None:
            act.note(size=found.size)
        act.note(detail={"replaces": replaces, "in_place": not staged})
        ground.require_running()
        act.begin()
        publish: Callable[[], None] | None = None
        discard: Callable[[], None] | None = None
        file: StoredFile
        if staged:
            file = ground.storage.stage(contract, act.id)
            publish = self._publisher(act, place, file)
            discard = self._discarder(act, place)
        elif found is None:
            file = ground.storage.create(at)
            ground.deposited.add(file.attributes().inode)
        elif fresh:
            file = self._emptied(act, at)
        else:
            there = ground.storage.open(at, write=True)
            file = KeptFile(there, ground.keeper(act, at))
        return Opening(
            act=act,
            session=ground.session,
            place=place,
            file=file,
            permitted=ground.tree.standing(place, Right.WRITE),
            running=ground.gate.require_running,
            readable=False,
            writable=True,
            hashed=fresh and ground.rules.hash_uploads,
            sync=ground.rules.sync,
            publish=publish,
            discard=discard,
        )

    def _dropped(
        self, place: Place, act: Act, file: StoredFile, *, writes: bool = False
    ) -> OpenFile:
        """A file that takes what comes, and is gone at its end (docs/adr/0023)."""
        ground = self._ground
        right = Right.WRITE if writes else Right.READ
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
                publish=(lambda: ground.dropping.end(place, file)) if writes else None,
            )
        )

    def _emptied(self, act: Act, at: Location) -> StoredFile:
        """An empty file in the place of what is there, which goes to the trash."""
        storage, contract = self._ground.storage, at.root.contract_id
        file = storage.stage(contract, act.id)
        try:
            storage.publish(act.id, at, replace=True)
        except BaseException:
            with suppress(ServerError):
                file.close()
                storage.unstage(contract, act.id, quarantine=False)
            raise
        return file

    def _publisher(
        self, act: Act, place: Place, file: StoredFile
    ) -> Callable[[], None]:
        ground = self._ground

        def publish() -> None:
            inode = file.attributes().inode
            replace = ground.may_change(place, ground.found(place))
            ground.storage.publish(act.id, place.stored(), replace=replace)
            ground.deposited.add(inode)

        return publish

    def _discarder(self, act: Act, place: Place) -> Callable[[], None]:
        ground, contract = self._ground, place.stored().root.contract_id

        def discard() -> None:
            act.note(detail={"quarantined": ground.intake})
            ground.storage.unstage(contract, act.id, quarantine=ground.intake)

        return discard

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
