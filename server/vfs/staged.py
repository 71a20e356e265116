"""A staged file on its way to its place: published at a clean end, or taken away."""

from dataclasses import dataclass

from server.audit.gate import Act
from server.model.errors import ExistsError
from server.storage.port import Attributes, StoredFile
from server.vfs.entry import Judge, entry_of
from server.vfs.ground import Ground, file_of
from server.vfs.guard import Guard, Tokens, claim, guarded
from server.vfs.tree import Place


def replacing(
    ground: Ground, place: Place, found: Attributes | None, tokens: Tokens
) -> Guard:
    """The guard of one who puts a file in the place of what was found.

    Raises:
        LockedError: A lock, or another login's open handle.
    """
    claimed = claim(place, named=found is None)
    return guarded(ground, tokens, claimed, taken=((place, found),))


@dataclass(slots=True, kw_only=True)
class Staged:
    """The file, and what it is to replace."""

    ground: Ground
    act: Act
    place: Place
    file: StoredFile
    tokens: Tokens
    judge: Judge
    found: Attributes | None
    """What stood there when it was last looked at."""
    guard: Guard
    """Of one who replaces that."""

    def publish(self) -> None:
        """Put the file in its place.

        Raises:
            ServerError: Something is in the way.
        """
        inode = self.file.attributes().inode
        while not self._published():
            # Somebody was faster: what stands there now is judged.
            self.found = self.ground.found(self.place)
            self.guard = replacing(self.ground, self.place, self.found, self.tokens)
        self.ground.deposited.add(inode)

    def discard(self) -> None:
        """Take it away; what a depositor left goes aside for an admin."""
        quarantine = self.ground.intake
        self.act.note(detail={"quarantined": quarantine})
        contract_id = self.place.stored().root.contract_id
        self.ground.storage.unstage(contract_id, self.act.id, quarantine=quarantine)

    def _published(self) -> bool:
        """Whether it is in the place of what was judged."""
        ground, place, found = self.ground, self.place, self.found
        if found is not None:
            file_of(found)  # no folder goes with all below it
        may_replace = ground.may_change(place, found)
        with self.guard.held() as there:
            still = there[0] if there else ground.found(place)
            if _inode(still) != _inode(found):
                return False
            entry = None if still is None else entry_of(place.path, still)
            self.judge(place.path, entry)
            replace = may_replace and still is not None
            try:
                ground.storage.publish(
                    self.act.id, place.stored(), replace=replace, file=self.file
                )
            except ExistsError:
                if replace or not may_replace:
                    raise
                return False
        return True


def _inode(found: Attributes | None) -> int | None:
    return None if found is None else found.inode
