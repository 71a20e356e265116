"""The open files and folder listings of one SFTP channel."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from server.model.errors import HandleError, LimitError, ServerError
from server.sftp.wire import u32
from server.vfs.entry import Attributes
from server.vfs.handle import OpenFile

log = logging.getLogger(__name__)

_U32_MAX: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class FileHandle:
    """An open file, and the path it was opened by."""

    raw: str
    file: OpenFile


class Listing:
    """A folder being listed: streams, and takes back a name that did not fit."""

    def __init__(self, raw: str, found: Iterator[tuple[str, Attributes]]) -> None:
        """List what was `found` in the folder at `raw`."""
        self.raw = raw
        self._found = found
        self._kept: list[tuple[str, Attributes]] = []

    def __iter__(self) -> Iterator[tuple[str, Attributes]]:
        """What was not taken yet."""
        kept, self._kept = self._kept, []
        return chain(kept, self._found)

    def put_back(self, name: str, attributes: Attributes) -> None:
        """Let this be the next one again."""
        self._kept = [(name, attributes)]


class Handles:
    """Names for open things, never used twice in a channel's life."""

    def __init__(self, handles_max: int) -> None:
        """Hold at most `handles_max` at a time."""
        self._handles_max = handles_max
        self._open: dict[bytes, FileHandle | Listing] = {}
        self._made = 0

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def require_room(self) -> None:
        """Return when one more may be opened.

        Raises:
            LimitError: `sftp.handles_max` are open.
        """
        if len(self._open) >= self._handles_max or self._made >= _U32_MAX:
            raise LimitError(
                f"{len(self._open)} files and folders are open already; close some.",
                rule="sftp.handles_max",
            )

    def add(self, opened: FileHandle | Listing) -> bytes:
        """Keep it and name it; ask `require_room` before opening."""
        name = u32(self._made)
        self._made += 1
        self._open[name] = opened
        return name

    def find(self, name: memoryview) -> FileHandle | Listing:
        """What `name` stands for.

        Raises:
            HandleError: Closed, or never opened.
        """
        opened = self._open.get(bytes(name))
        if opened is None:
            raise HandleError("There is no such handle.")
        return opened

    def file(self, name: memoryview) -> OpenFile:
        """The open file of that name.

        Raises:
            HandleError: Closed, never opened, or a folder.
        """
        opened = self.find(name)
        if isinstance(opened, Listing):
            raise HandleError("The handle is a folder's.")
        return opened.file

    def listing(self, name: memoryview) -> Listing:
        """The folder being listed of that name.

        Raises:
            HandleError: Closed, never opened, or a file.
        """
        opened = self.find(name)
        if isinstance(opened, FileHandle):
            raise HandleError("The handle is a file's.")
        return opened

    def abort_all(self) -> None:
        """End uncleanly what is still open: the channel is gone."""
        left, self._open = self._open, {}
        for opened in left.values():
            if isinstance(opened, FileHandle):
                _abort(opened)

    def remove(self, name: memoryview) -> FileHandle | Listing:
        """Forget it: the name is free of it even when closing the file then fails.

        Raises:
            HandleError: Closed, or never opened.
        """
        opened = self.find(name)
        del self._open[bytes(name)]
        return opened


def _abort(opened: FileHandle) -> None:
    """One file's failure must not keep the others open."""
    try:
        opened.file.abort("connection_lost")
    except ServerError as error:
        log.warning("aborted file not on record", extra={"reason": error.reason})
