"""The store with quotas: every change of it is counted where one is set.

Where none is set nothing is asked but whether there is one.
"""

from collections.abc import Callable
from dataclasses import replace as with_fields
from typing import Final, TypeVar

from server.model.quota import Usage
from server.storage.disk import QUARANTINE, STAGE, Disk
from server.storage.file import LocalFile
from server.storage.leftovers import LocalLeftovers
from server.storage.local import LocalStorage
from server.storage.meter import Meter
from server.storage.metered_file import MeteredFile
from server.storage.port import (
    Kept,
    Location,
    Root,
    Space,
    StoredFile,
    trashed_at,
)
from server.storage.scope import Account, Scope

Made = TypeVar("Made")
_NONE: Final = Usage()
_ONE: Final = Usage(files=1)


class MeteredStorage(LocalStorage):
    """The `Storage` of the VFS on a disk, within quotas."""

    def __init__(self, disk: Disk, meter: Meter) -> None:
        """Serve the files below the disk's data folder, counted by `meter`."""
        super().__init__(disk)
        self._meter = meter
        self._staged: dict[str, tuple[Account, MeteredFile | None]] = {}

    def open(self, at: Location, *, write: bool) -> LocalFile:
        """Open a file that is there."""
        file = super().open(at, write=write)
        return self._metered(file, at.root) if write else file

    def create(self, at: Location) -> LocalFile:
        """Make a new, empty file."""
        made = self._adding(at.root, lambda: super(MeteredStorage, self).create(at))
        return self._metered(made, at.root)

    def make_folder(self, at: Location) -> None:
        """Make a folder."""
        self._adding(at.root, lambda: super(MeteredStorage, self).make_folder(at))

    def remove_folder(self, at: Location) -> None:
        """Remove an empty folder."""
        scopes = self._meter.scopes(at.root)
        with self._meter.acting(scopes):
            super().remove_folder(at)
            self._meter.correct(scopes, _NONE - _ONE)

    def stage(
        self,
        contract_id: str,
        act: str,
        *,
        to: Location | None = None,
        marked: bool = True,
    ) -> LocalFile:
        """Make the staged file of an act."""
        file = super().stage(contract_id, act, marked=marked)
        if to is None:
            return file
        metered = MeteredFile(file, self._meter, to.root)
        if scopes := self._meter.scopes(to.root):
            account = Account(scopes, act, files=1, replaces=to)
            metered.counts_as(account)
            self._staged[act] = account, metered
        return metered

    def copy(self, at: Location, act: str, *, deep: bool, to: Location) -> int:
        """Copy a file or folder to the stage, if it fits."""
        scopes = self._meter.scopes(to.root)
        if not scopes:
            return super().copy(at, act, deep=deep, to=to)
        need = self._meter.measure(at) if deep else _ONE
        account = Account(scopes, act, files=need.files, replaces=to)
        self._staged[act] = account, None
        self._meter.reserve(account, need.bytes, size=0, exact=True)
        copied = super().copy(at, act, deep=deep, to=to)
        made = self._meter.measure(_staged_at(to.root.contract_id, act))
        account.files = made.files  # the source may have grown meanwhile
        self._meter.reserve(account, made.bytes, size=0, exact=True)
        return copied

    def publish(
        self, act: str, at: Location, *, replace: bool, file: StoredFile | None = None
    ) -> None:
        """Move what an act staged into place; a replaced file goes to the trash."""
        if act not in self._staged:
            super().publish(act, at, replace=replace, file=file)
            if self._meter.scopes(at.root):
                # A quota was set while it was staged.
                self._meter.distrust(at.root.contract_id, crashed=False)
            return
        account, staged = self._staged[act]
        with self._meter.acting(account.scopes):
            made = self._publishing(act, at, replace=replace)
            super().publish(act, at, replace=replace, file=file)
            # An empty file is put in place to be written there.
            goes_on = staged.in_place() if staged and not made.bytes else None
            replaced = trashed_at(at.root.contract_id, act) if replace else None
            self._meter.settle(account, made, replaced=replaced, becomes=goes_on)
            del self._staged[act]
        if staged is not None:
            staged.counts_as(goes_on)

    def _publishing(self, act: str, at: Location, *, replace: bool) -> Usage:
        """What is staged, with room for it even if it replaces less than it hoped."""
        account, staged = self._staged[act]
        if staged is None:
            made = self._meter.measure(_staged_at(at.root.contract_id, act))
        else:
            made = Usage(staged.attributes().size, 1)
        hoped = account.credit != _NONE
        if hoped:
            account.credit = self._meter.measure(at) if replace else _NONE
            account.replaces = None
        if hoped or staged is None or not staged.is_reserved(made.bytes):
            self._meter.reserve(account, made.bytes, size=0, exact=True, acting=True)
        return made

    def unstage(self, contract_id: str, act: str, *, quarantine: bool) -> None:
        """Remove what an act staged, or set it aside for an admin."""
        if act not in self._staged:
            super().unstage(contract_id, act, quarantine=quarantine)
            return
        account, _ = self._staged.pop(act)
        with self._meter.acting(account.scopes):
            staged = _staged_at(contract_id, act)
            kept = self._meter.measure(staged) if quarantine else _NONE
            super().unstage(contract_id, act, quarantine=quarantine)
            self._meter.settle(account, _NONE, kept=kept)

    def trash(self, act: str, at: Location) -> None:
        """Move a file or a whole tree to the trash."""
        scopes = self._meter.scopes(at.root)
        with self._meter.acting(scopes):
            super().trash(act, at)
            self._meter.take_out(_own(scopes), trashed_at(at.root.contract_id, act))

    def rename(self, act: str, at: Location, to: Location, *, replace: bool) -> None:
        """Move a file or tree; what it replaces goes to the trash."""
        scopes = self._meter.scopes(to.root)
        left = () if at.root == to.root else _own(self._meter.scopes(at.root))
        with self._meter.acting((*scopes, *left)):
            if at.root == to.root:
                super().rename(act, at, to, replace=replace)
                if replace:
                    gone = trashed_at(to.root.contract_id, act)
                    self._meter.take_out(_own(scopes), gone)
                return
            self._meter.require_unwritten((*scopes, *left), at)
            self._arriving(
                scopes,
                at,
                (act, to),
                lambda: super(MeteredStorage, self).rename(
                    act, at, to, replace=replace
                ),
            )
            self._meter.take_out(left, to)

    def restore(self, at: Location, act: str, to: Location, *, replace: bool) -> None:
        """Move something out of the trash; what it replaces goes there for `act`."""
        scopes = self._meter.scopes(to.root)
        with self._meter.acting(scopes):
            self._arriving(
                scopes,
                at,
                (act, to),
                lambda: super(MeteredStorage, self).restore(
                    at, act, to, replace=replace
                ),
            )

    def keep(
        self, contract_id: str, act: str, file: StoredFile, *, copy_bytes_max: int
    ) -> Kept:
        """Put the content of an open file in the trash, if the contract has room."""
        scopes = self._meter.scopes(Root(contract_id, "", ""))
        with self._meter.acting(scopes):
            size = Usage(file.attributes().size, 1) if scopes else _NONE
            self._meter.add(scopes, size)
            kept = Kept.NOT
            try:
                kept = super().keep(
                    contract_id, act, file, copy_bytes_max=copy_bytes_max
                )
            finally:
                if kept is Kept.NOT:
                    self._meter.correct(scopes, _NONE - size)
        return kept

    def space(self, root: Root) -> Space:
        """Room where a root lies: that of its narrowest quota."""
        found = super().space(root)
        for scope in self._meter.scopes(root):
            found = _within(found, scope, self._meter.used(scope))
        return found

    def _adding(self, root: Root, make: Callable[[], Made]) -> Made:
        """Make one file or folder, if one more may be there."""
        scopes = self._meter.scopes(root)
        with self._meter.acting(scopes):
            self._meter.add(scopes, _ONE)
            try:
                return make()
            except BaseException:
                self._meter.correct(scopes, _NONE - _ONE)
                raise

    def _arriving(
        self,
        scopes: tuple[Scope, ...],
        at: Location,
        act_to: tuple[str, Location],
        move: Callable[[], None],
    ) -> None:
        """Move something to another root, if it fits there; the contract keeps it."""
        own, (act, to) = _own(scopes), act_to
        if not own:
            move()
            return
        coming = self._meter.measure(at)
        account = Account(own, act, files=coming.files, replaces=to)
        self._meter.reserve(account, coming.bytes, size=0, exact=True, acting=True)
        try:
            move()
        except BaseException:
            self._meter.settle(account, _NONE)
            raise
        replaced = trashed_at(to.root.contract_id, act)
        self._meter.settle(account, self._meter.measure(to), replaced=replaced)

    def _metered(self, file: LocalFile, root: Root) -> LocalFile:
        """The file, held from the start: it may be moved before it is written."""
        metered = MeteredFile(file, self._meter, root)
        try:
            metered.hold()
        except BaseException:
            metered.close()
            raise
        return metered


class MeteredLeftovers(LocalLeftovers):
    """The trash's end, counted."""

    def __init__(self, disk: Disk, meter: Meter) -> None:
        """Look at the disk's data folder, counted by `meter`."""
        super().__init__(disk)
        self._meter = meter

    def quarantine(self, contract_id: str, act: str) -> None:
        """Set aside what an act staged, for an admin to look at."""
        scopes = self._meter.scopes(Root(contract_id, "", ""))
        with self._meter.acting(scopes):
            super().quarantine(contract_id, act)
            where = Location(Root(contract_id, QUARANTINE, act))
            self._meter.correct(scopes, self._meter.measure(where))

    def purge(self, contract_id: str, act: str) -> None:
        """Destroy what an act put in the trash; there is no way back."""
        scopes = self._meter.scopes(Root(contract_id, "", ""))
        with self._meter.acting(scopes):
            gone = (
                self._meter.measure(trashed_at(contract_id, act)) if scopes else _NONE
            )
            super().purge(contract_id, act)
            self._meter.correct(scopes, _NONE - gone)


def _own(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Those of a login or shared folder, without the contract's."""
    return tuple(scope for scope in scopes if scope.root is not None)


def _staged_at(contract_id: str, act: str) -> Location:
    return Location(Root(contract_id, STAGE, act))


def _within(space: Space, scope: Scope, used: Usage) -> Space:
    """The room that a quota leaves of the file system's."""
    quota, block = scope.quota, space.block_bytes
    if quota.bytes is not None:
        left = min(max(quota.bytes - used.bytes, 0) // block, space.blocks_free)
        space = with_fields(
            space, blocks=-(-used.bytes // block) + left, blocks_free=left
        )
    if quota.files is not None:
        left = min(max(quota.files - used.files, 0), space.files_free)
        space = with_fields(space, files=used.files + left, files_free=left)
    return space
