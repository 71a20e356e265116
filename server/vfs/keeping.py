"""Keeping what a change in place destroys, before the first byte of it is gone.

Only what stood is kept: a write behind the end of a file destroys nothing, so resuming
an upload or appending to a log copies nothing.
"""

from collections.abc import Callable, Sequence

from server.audit.gate import Act
from server.storage.port import Attributes, Changes, Kept, Storage, StoredFile


def keeper(
    storage: Storage, act: Act, contract_id: str, *, copy_bytes_max: int
) -> Callable[[StoredFile], None]:
    """What puts a file's content in the trash for an act; the act's outcome tells how.

    Args:
        storage: Where the file lies.
        act: It has begun, and nothing of it is in the trash.
        contract_id: Whose trash.
        copy_bytes_max: A longer file is kept only where it can be cloned.
    """

    def keep(file: StoredFile) -> None:
        kept = storage.keep(contract_id, act.id, file, copy_bytes_max=copy_bytes_max)
        told = "too_long" if kept is Kept.NOT else str(kept)
        act.note(detail={"kept": told})

    return keep


class KeptFile:
    """A file that is changed where it stands; its old content is kept first.

    Not thread-safe: its handle calls it under a lock.
    """

    def __init__(self, file: StoredFile, keep: Callable[[StoredFile], None]) -> None:
        """Change `file`; `keep` is called once, before the first byte is lost."""
        self._file = file
        self._keep: Callable[[StoredFile], None] | None = keep

    @property
    def descriptor(self) -> int:
        """The open file's number in this process."""
        return self._file.descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; empty at the end."""
        return self._file.read_at(offset, length)

    def read_into(self, offset: int, places: Sequence[memoryview]) -> int:
        """Fill `places` one after the other from `offset`; how many bytes came."""
        return self._file.read_into(offset, places)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`; what is there is kept first."""
        if self._keep is not None:
            self._before(offset)
        self._file.write_at(offset, data)

    def copy_from(self, source: StoredFile, offset: int, to: int, length: int) -> int:
        """Copy a part of another file; what is there is kept first."""
        if self._keep is not None:
            self._before(to)
        return self._file.copy_from(source, offset, to, length)

    def attributes(self) -> Attributes:
        """What the file is now."""
        return self._file.attributes()

    def change(self, changes: Changes) -> None:
        """Set size, mode or times; what a shorter size cuts off is kept first."""
        if self._keep is not None and changes.size is not None:
            self._before(changes.size)
        self._file.change(changes)

    def expect(self, length: int) -> None:
        """Make room for a file that will be so long."""
        self._file.expect(length)

    def sync(self) -> None:
        """Bring content and size to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        self._file.close()

    def _before(self, offset: int) -> None:
        """Keep the file, unless all that stands lies before `offset`."""
        if self._keep is None or offset >= self._file.attributes().size:
            return
        self._keep(self._file)
        self._keep = None
