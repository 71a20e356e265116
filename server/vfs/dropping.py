"""Files of macOS in a folder that drops them: taken, forgotten, counted.

Such an act changes nothing that lasts and shows nothing to anybody, so the trail has
one row for many of them (docs/adr/0023). What was dropped is remembered for a minute,
for its writer alone: macOS makes such a file empty, then looks at it, locks it, reads
it and writes it again, and gives a copy up when it is not there.
"""

import itertools
import threading
from dataclasses import dataclass
from typing import Final

from server.audit.gate import Act, Gate
from server.model.clock import Clock
from server.model.errors import NotFoundError
from server.model.folder import MacFiles
from server.model.name import is_mac_file
from server.model.session import Session
from server.storage.port import Attributes, Location, Storage, StoredFile
from server.vfs.tree import Place

REMEMBERED_MAX: Final = 256
CONTENT_BYTES_MAX: Final = 65536
"""Of longer ones only the size is remembered."""
REMEMBERED_NS: Final = 60_000_000_000
REASON: Final = "dropped"
_MODE: Final = 0o600
_FIRST_INODE: Final = 1 << 63  # no disk of ours counts so far

Key = tuple[str, Location]
"""Whose, and where."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A file that is not there any more."""

    until_ns: int
    attributes: Attributes
    content: bytes


class Dropped:
    """What the logins of a process had dropped in the last minute. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Remember by `clock`."""
        self._clock = clock
        self._inodes = itertools.count(_FIRST_INODE)
        self._lock = threading.Lock()  # Guards the next. Taken before none.
        self._kept: dict[Key, Memory] = {}  # the oldest first

    def remember(self, key: Key, size: int, content: bytes) -> None:
        """It was written just now."""
        now_ns = self._clock.time_us() * 1000
        attributes = Attributes(
            is_folder=False,
            size=size,
            mode=_MODE,
            mtime_ns=now_ns,
            atime_ns=now_ns,
            ctime_ns=now_ns,
            inode=next(self._inodes),
        )
        with self._lock:
            self._kept.pop(key, None)
            until_ns = self._clock.mono_ns() + REMEMBERED_NS
            self._kept[key] = Memory(until_ns, attributes, content)
            while len(self._kept) > REMEMBERED_MAX:
                del self._kept[next(iter(self._kept))]

    def find(self, key: Key) -> Memory | None:
        """What it was; None when it was not dropped, or long ago."""
        with self._lock:
            found = self._kept.get(key)
        if found is None or self._clock.mono_ns() >= found.until_ns:
            return None
        return found

    def forget(self, key: Key) -> Memory | None:
        """As `find`, for the last time."""
        found = self.find(key)
        with self._lock:
            self._kept.pop(key, None)
        return found


class Dropping:
    """The files of macOS that one session has dropped."""

    def __init__(
        self, session: Session, gate: Gate, storage: Storage, dropped: Dropped
    ) -> None:
        """Count by `gate` and remember in `dropped`."""
        self._session = session
        self._gate = gate
        self._storage = storage
        self._dropped = dropped

    def find(self, place: Place) -> Attributes | None:
        """What the session may see of a file that is not there."""
        found = self._dropped.find(self._key(place)) if _drops(place) else None
        return None if found is None else found.attributes

    def concerns(self, act: Act, place: Place, found: Attributes | None) -> bool:
        """Whether the act is about a dropped file; then it is counted from here on.

        Args:
            act: Not begun.
            place: What it is about.
            found: What is really there: such a file is kept as others are.

        Raises:
            AuditUnavailableError: It cannot be counted, so it must not be answered.
        """
        if found is not None or not _drops(place):
            return False
        act.forgo()
        self._gate.glance(
            self._session.fields,
            act.operation,
            folder_path=str(place.path.parent),
            path=str(place.path),
            folder=place.folder,
            reason=REASON,
        )
        return True

    def changes(self, act: Act, place: Place, found: Attributes | None) -> bool:
        """Whether an act that changes a file is about a dropped one.

        Raises:
            NotFoundError: It is, and long forgotten.
        """
        concerned = self.concerns(act, place, found)
        if concerned and self.find(place) is None:
            raise _missing()
        return concerned

    def deletes(self, act: Act, place: Place, found: Attributes | None) -> bool:
        """Whether a delete is of a dropped file; then it is done.

        Raises:
            NotFoundError: It is, and long forgotten.
        """
        concerned = self.changes(act, place, found)
        if concerned:
            self._dropped.forget(self._key(place))
        return concerned

    def renames(
        self, act: Act, place: Place, target: Place, found: Attributes | None
    ) -> bool:
        """Whether a rename is of a dropped file; then it is done.

        Raises:
            NotFoundError: It is, and there is nothing to become a file.
        """
        if not self.changes(act, place, found):
            return False
        dropped = self._dropped.forget(self._key(place))
        if dropped is None or not _drops(target):
            raise _missing()
        size = dropped.attributes.size
        self._dropped.remember(self._key(target), size, dropped.content)
        return True

    def reopened(self, act: Act, place: Place) -> StoredFile:
        """What was dropped, as a staged file.

        Raises:
            NotFoundError: Long forgotten, or too long to be remembered.
        """
        found = self._dropped.find(self._key(place))
        if found is None or len(found.content) < found.attributes.size:
            raise _missing()
        file = self.opened(act, place)
        try:
            file.write_at(0, found.content)
        except BaseException:
            file.close()
            self.discard(act, place)
            raise
        return file

    def opened(self, act: Act, place: Place) -> StoredFile:
        """An empty staged file, counted in the quotas until it is discarded."""
        at = place.stored()
        return self._storage.stage(at.root.contract_id, act.id, to=at)

    def end(self, act: Act, place: Place, file: StoredFile) -> None:
        """It was written to its end."""
        size = file.attributes().size
        kept = size <= CONTENT_BYTES_MAX
        content = file.read_at(0, size) if kept else b""
        self.discard(act, place)
        self._dropped.remember(self._key(place), size, content)

    def discard(self, act: Act, place: Place) -> None:
        """Nobody needs the staged file any more."""
        contract_id = place.stored().root.contract_id
        self._storage.unstage(contract_id, act.id, quarantine=False)

    def _key(self, place: Place) -> Key:
        return self._session.actor.login_id, place.stored()


def _drops(place: Place) -> bool:
    dropping = place.rules.mac_files is MacFiles.DROP
    return dropping and place.location is not None and is_mac_file(place.path.name)


def _missing() -> NotFoundError:
    return NotFoundError("There is no such file or folder.")
