"""Files on a POSIX file system, reached from one directory descriptor.

    data_dir/<contract id>/private/<login id>/...   a login's own folder
    data_dir/<contract id>/shared/<folder id>/...   a shared folder
    data_dir/<contract id>/.stage/<act>             not yet published
    data_dir/<contract id>/.trash/<act>             replaced or deleted by that act
    data_dir/<contract id>/.quarantine/<act>        a deposit that was cut

A replaced file gets a second name in the trash (`link(2)`) before `rename(2)` puts
the new one over it, so that at each moment the old or the new one stands under the
name, and the old one is never lost.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from server.storage.disk import (
    FILE_MODE,
    NEVER_HANG,
    QUARANTINE,
    STAGE,
    TRASH,
    Disk,
    Held,
    path_of,
    require_distinct,
)
from server.storage.errors import translated
from server.storage.file import (
    LocalFile,
    attributes_of,
    batches,
    change_descriptor,
    require_kept_kind,
    set_act,
)
from server.storage.keeping import keep_content
from server.storage.port import (
    Attributes,
    Batch,
    Changes,
    Kept,
    Location,
    Root,
    Space,
    StoredFile,
)
from server.storage.tree import copy_tree, destroy

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


class LocalStorage:
    """The `Storage` of the VFS on a disk."""

    def __init__(self, disk: Disk) -> None:
        """Serve the files below the disk's data folder."""
        self._disk = disk
        self._prepared: set[Root] = set()

    def prepare(self, root: Root) -> None:
        """Make the folders that a root needs, if they are missing."""
        if root in self._prepared:
            return
        with translated():
            self._disk.make((root.contract_id,))
            for name in (STAGE, TRASH, QUARANTINE, root.area):
                self._disk.make((root.contract_id, name))
            self._disk.make((root.contract_id, root.area, root.id))
        self._prepared.add(root)

    def attributes(self, at: Location) -> Attributes:
        """What is there; `NotFoundError` when nothing is."""
        with translated(), self._disk.opened(path_of(at), os.O_PATH) as fd:
            status = os.fstat(fd)
            require_kept_kind(status)
            return attributes_of(status)

    def require_distinct(self, at: Location, moved: Location | None = None) -> None:
        """Return when nothing stands beside `at` with its name in other letters."""
        if not at.collide or not at.parts:
            return
        with translated(), self._disk.parent(at) as (folder, name):
            if moved is None or not moved.parts:
                require_distinct(folder, name, None)
                return
            with self._disk.parent(moved) as source:
                require_distinct(folder, name, source)

    def scan(self, at: Location) -> Iterator[tuple[str, Attributes]]:
        """The folder's files and folders; links and special files are left out."""
        return chain.from_iterable(self.batches(at))

    def batches(self, at: Location) -> Iterator[Batch]:
        """As `scan`, some hundred at a time."""
        with translated():
            fd = self._disk.open(path_of(at), os.O_RDONLY | os.O_DIRECTORY)
        return batches(fd)

    def open(self, at: Location, *, write: bool) -> LocalFile:
        """Open a file that is there."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | NEVER_HANG
        with translated():
            return LocalFile(self._disk.open(path_of(at), flags))

    def create(self, at: Location) -> LocalFile:
        """Make a new, empty file; `ExistsError` when something is there."""
        with translated(), self._disk.naming(at) as (folder, name):
            fd = self._disk.confined.open(folder, (name,), _NEW, FILE_MODE)
            file = LocalFile(fd)
            self._disk.flush(folder)
            return file

    def stage(
        self,
        contract_id: str,
        act: str,
        *,
        to: Location | None = None,
        marked: bool = True,
    ) -> LocalFile:
        """Make the staged file of an act.

        A `marked` one bears the act's id as an extended attribute, by which recovery
        knows whose it is (docs/adr/0006).
        """
        del to  # only what counts wants to know
        with translated():
            fd = self._disk.open((contract_id, STAGE, act), _NEW, FILE_MODE)
            file = LocalFile(fd)
            try:
                if marked:
                    set_act(fd, act)
            except BaseException:
                file.close()
                raise
            return file

    def publish(
        self, act: str, at: Location, *, replace: bool, file: StoredFile | None = None
    ) -> None:
        """Move what an act staged into place; a replaced file goes to the trash.

        A file that `stage` made bears its mark if it needs one, and its content was
        brought to the disk as the settings ask; what was copied to the stage is marked
        now.
        """
        with (
            translated(),
            self._disk.special(at.root.contract_id, STAGE) as stage,
        ):
            if file is None:
                fd = self._disk.confined.open(stage, (act,), os.O_RDONLY | NEVER_HANG)
                with Held(fd, fd):
                    set_act(fd, act)
                    self._disk.flush(fd)
            self._move(act, (stage, act), at, replace=replace)

    def make_folder(self, at: Location) -> None:
        """Make a folder."""
        with translated(), self._disk.naming(at) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)
            self._disk.flush(folder)

    def remove_folder(self, at: Location) -> None:
        """Remove an empty folder."""
        with translated(), self._disk.parent(at) as (folder, name):
            os.rmdir(name, dir_fd=folder)
            self._disk.flush(folder)

    def trash(self, act: str, at: Location) -> None:
        """Move a file or a whole tree to the trash."""
        with (
            translated(),
            self._disk.special(at.root.contract_id, TRASH) as trash,
            self._disk.claimed(at) as (folder, name),
        ):
            self._disk.confined.rename_new(folder, name, trash, act)
            self._disk.flush(trash)
            self._disk.flush(folder)

    def rename(self, act: str, at: Location, to: Location, *, replace: bool) -> None:
        """Move a file or tree; what it replaces goes to the trash."""
        with (
            translated(),
            self._disk.parent(at) as (folder, name),
        ):
            self._move(act, (folder, name), to, replace=replace)
            self._disk.flush(folder)

    def keep(
        self, contract_id: str, act: str, file: StoredFile, *, copy_bytes_max: int
    ) -> Kept:
        """Put the content of an open file in the trash, as a clone or a copy."""
        with (
            translated(),
            self._disk.special(contract_id, STAGE) as stage,
            self._disk.special(contract_id, TRASH) as trash,
        ):
            return keep_content(
                self._disk,
                file.descriptor,
                (stage, trash),
                act,
                copy_bytes_max=copy_bytes_max,
            )

    def restore(self, at: Location, act: str, to: Location, *, replace: bool) -> None:
        """Move something out of the trash; what it replaces goes there for `act`."""
        *around, name = path_of(at)
        with (
            translated(),
            self._disk.opened(tuple(around), os.O_RDONLY | os.O_DIRECTORY) as folder,
        ):
            self._move(act, (folder, name), to, replace=replace)
            self._disk.flush(folder)

    def change(self, at: Location, changes: Changes) -> None:
        """Set attributes of a file or folder."""
        # A new size needs a descriptor for writing, which a folder refuses (EISDIR).
        access = os.O_RDONLY if changes.size is None else os.O_RDWR
        with translated(), self._disk.opened(path_of(at), access | NEVER_HANG) as fd:
            require_kept_kind(os.fstat(fd))
            change_descriptor(fd, changes)
            if changes.size is not None:
                self._disk.flush(fd)

    def copy(self, at: Location, act: str, *, deep: bool, to: Location) -> int:
        """Copy a file, or a folder with (`deep`) all below it, to the stage."""
        del to  # only what counts wants to know
        with (
            translated(),
            self._disk.special(at.root.contract_id, STAGE) as stage,
            self._disk.opened(path_of(at), os.O_RDONLY | NEVER_HANG) as source,
        ):
            return copy_tree(source, stage, act, deep=deep, flush=self._disk.flush)

    def unstage(self, contract_id: str, act: str, *, quarantine: bool) -> None:
        """Remove what an act staged, or set it aside for an admin."""
        with translated(), self._disk.special(contract_id, STAGE) as stage:
            if not quarantine:
                destroy(stage, act)
                return
            with self._disk.special(contract_id, QUARANTINE) as folder:
                self._disk.confined.rename_new(stage, act, folder, act)
                self._disk.flush(folder)

    def space(self, root: Root) -> Space:
        """Room on the file system where this root lies."""
        with (
            translated(),
            self._disk.opened(path_of(Location(root)), os.O_PATH) as fd,
        ):
            found = os.fstatvfs(fd)
        return Space(
            block_bytes=found.f_frsize,
            blocks=found.f_blocks,
            blocks_free=found.f_bavail,
            files=found.f_files,
            files_free=found.f_favail,
            name_bytes_max=found.f_namemax,
        )

    def _move(
        self, act: str, source: tuple[int, str], to: Location, *, replace: bool
    ) -> None:
        """Move something to a name, which is durable then."""
        with self._disk.naming(to, source) as target:
            there = _kind(*target) if replace else 0
            if there:
                with self._disk.special(to.root.contract_id, TRASH) as trash:
                    if stat.S_ISDIR(there) or stat.S_ISDIR(_kind(*source)):
                        with self._moved_aside(act, target, trash):
                            self._disk.confined.rename_new(*source, *target)
                    else:
                        self._put_over(act, source, target, trash)
            else:
                self._disk.confined.rename_new(*source, *target)
            self._disk.flush_free(target[0])

    def _put_over(
        self, act: str, source: tuple[int, str], target: tuple[int, str], trash: int
    ) -> None:
        """A file over a file, which has a second name in the trash before."""
        (folder, name), (to_folder, to_name) = source, target
        os.link(
            to_name, act, src_dir_fd=to_folder, dst_dir_fd=trash, follow_symlinks=False
        )
        try:
            self._disk.flush(trash)
            os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
        except OSError:
            os.unlink(act, dir_fd=trash)
            raise

    @contextmanager
    def _moved_aside(self, act: str, at: tuple[int, str], trash: int) -> Iterator[None]:
        """In the trash, or back in its place when the block puts nothing there.

        A folder has one name only, so it cannot be kept by a second one. A crash
        within the block is mended by recovery, which puts it back.
        """
        folder, name = at
        self._disk.confined.rename_new(folder, name, trash, act)
        try:
            self._disk.flush(trash)
            yield
        except OSError:
            self._disk.confined.rename_new(trash, act, folder, name)
            raise


def _kind(folder: int, name: str) -> int:
    """The mode of what has this name, its kind included; 0 when nothing has."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0
