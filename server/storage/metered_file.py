"""An open file that is written within its quotas."""

from typing import Final

from server.model.quota import Usage
from server.storage import walk
from server.storage.file import LocalFile
from server.storage.meter import Meter
from server.storage.port import Changes, Root, StoredFile
from server.storage.scope import Account

_LOOK_BYTES: Final = 64 * 1024 * 1024
"""A file that no quota concerns looks for one again after so many bytes."""


class MeteredFile(LocalFile):
    """A file that is written within its quotas."""

    __slots__ = ("_account", "_meter", "_room", "_root")

    def __init__(self, file: LocalFile, meter: Meter, root: Root) -> None:
        """Take over an open file of `root`."""
        self._fd = file.give()  # it was looked at
        self._meter = meter
        self._root = root
        self._account: Account | None = None
        self._room = 0

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`, if its quotas allow it."""
        end = offset + len(data)
        if end > self._room:
            self._reserve(end, exact=False)
        super().write_at(offset, data)

    def copy_from(self, source: StoredFile, offset: int, to: int, length: int) -> int:
        """Copy up to `length` bytes of another file, if the quotas allow it."""
        there = max(min(length, source.attributes().size - offset), 0)
        if to + there > self._room:
            self._reserve(to + there, exact=False)
        return super().copy_from(source, offset, to, there)

    def expect(self, length: int) -> None:
        """Make room for a file that will be so long."""
        if length > self._room:
            self._reserve(length, exact=True)

    def change(self, changes: Changes) -> None:
        """Set size, mode or times; a new size is counted."""
        size = changes.size
        if size is None:
            super().change(changes)
            return
        before = self.attributes().size
        self._reserve(max(size, before), exact=True)
        super().change(changes)
        account = self._account
        if account is not None and not account.files and size < before:
            self._meter.shrink(account, size)
            self._room = size

    def counts_as(self, account: Account | None) -> None:
        """Count under another account from now on."""
        self._account = account
        self._room = 0

    def is_reserved(self, length: int) -> bool:
        """Whether that many bytes were asked for already; none are asked for late."""
        return 0 < length <= self._room

    def in_place(self) -> Account | None:
        """What it counts as when it is written where it stands."""
        scopes = self._meter.scopes(self._root)
        if not scopes:
            return None
        return Account(scopes, walk.inode_name(self.attributes()))

    def hold(self) -> None:
        """Count as written in place from now on, if a quota is set."""
        self._account = self.in_place()
        if self._account is not None:
            self._room = self._meter.hold(self._account, self.attributes().size)

    def close(self) -> None:
        """Give the descriptor back, and what was reserved in vain."""
        try:
            if self._fd >= 0:
                self._settle()
        finally:
            super().close()

    def _reserve(self, end: int, *, exact: bool) -> None:
        if self._account is None:
            self._look_again()
        account = self._account
        if account is None:
            self._room = end + _LOOK_BYTES
            return
        size = 0 if account.files else self.attributes().size
        self._room = self._meter.reserve(account, end, size=size, exact=exact)

    def _look_again(self) -> None:
        """Hold it if a quota was set since it was opened, and have all counted anew."""
        if self._meter.scopes(self._root):
            self._meter.distrust(self._root.contract_id, crashed=False)
            self.hold()

    def _settle(self) -> None:
        if self._account is None and self._room:
            self._look_again()
        if self._account is None:
            return
        account, self._account = self._account, None
        if account.files:
            return  # what is staged is settled when it is published or removed
        self._meter.settle(account, Usage(self.attributes().size))
