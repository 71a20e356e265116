"""What acts left in stage and trash: asked by recovery and by the keeper's cleaning."""

import os
import stat
from typing import Final

from server.model.errors import LinkRefusedError, NotFolderError, NotFoundError
from server.storage.disk import NEVER_HANG, QUARANTINE, STAGE, TRASH, Disk, path_of
from server.storage.errors import translated
from server.storage.file import act_of
from server.storage.port import Location
from server.storage.tree import destroy

_DOOMED: Final = "~"
"""Behind the name of a folder in the trash that is being destroyed."""


class LocalLeftovers:
    """The `Leftovers` of recovery on a disk."""

    def __init__(self, disk: Disk) -> None:
        """Look at the disk's data folder."""
        self._disk = disk

    def staged(self, contract_id: str, act: str) -> bool:
        """Whether what the act staged is still there."""
        return self._is_there((contract_id, STAGE, act))

    def trashed(self, contract_id: str, act: str) -> bool:
        """Whether the act moved something to the trash."""
        return self._is_there((contract_id, TRASH, act))

    def second_name(self, contract_id: str, act: str) -> bool:
        """Whether what the act put in the trash is a file that stands elsewhere too."""
        path = (contract_id, TRASH, act)
        with translated(), self._disk.opened(path, os.O_PATH) as fd:
            status = os.fstat(fd)
            return stat.S_ISREG(status.st_mode) and status.st_nlink > 1

    def published_by(self, at: Location, act: str) -> bool:
        """Whether what is there now was moved into place by this act."""
        try:
            flags = os.O_RDONLY | NEVER_HANG
            with translated(), self._disk.opened(path_of(at), flags) as fd:
                return act_of(fd) == act
        except (NotFoundError, NotFolderError, LinkRefusedError):
            return False

    def discard(self, contract_id: str, act: str) -> None:
        """Remove what the act staged, a tree too."""
        self._destroy(contract_id, STAGE, act)

    def quarantine(self, contract_id: str, act: str) -> None:
        """Set aside what the act staged, for an admin to look at."""
        with (
            translated(),
            self._disk.special(contract_id, STAGE) as stage,
            self._disk.special(contract_id, QUARANTINE) as quarantine,
        ):
            self._disk.confined.rename_new(stage, act, quarantine, act)
            self._disk.flush(quarantine)

    def put_back(self, contract_id: str, act: str, at: Location) -> None:
        """Move what the act trashed back to where it was."""
        with (
            translated(),
            self._disk.special(contract_id, TRASH) as trash,
            self._disk.parent(at) as (folder, name),
        ):
            self._disk.confined.rename_new(trash, act, folder, name)
            self._disk.flush(folder)

    def contracts(self) -> list[str]:
        """The contract ids that have a folder here."""
        return self._names(())

    def staged_acts(self, contract_id: str) -> list[str]:
        """The acts that have something staged."""
        return self._names((contract_id, STAGE))

    def trashed_acts(self, contract_id: str) -> list[str]:
        """The acts that have something in the trash, half destroyed trees too."""
        names = self._names((contract_id, TRASH))
        return sorted({name.removesuffix(_DOOMED) for name in names})

    def purge(self, contract_id: str, act: str) -> None:
        """Destroy what an act put in the trash; there is no way back.

        A folder first gets a name under which nobody restores it half destroyed.
        """
        with translated(), self._disk.special(contract_id, TRASH) as trash:
            destroy(trash, act + _DOOMED)
            if _is_folder(trash, act):
                self._disk.confined.rename_new(trash, act, trash, act + _DOOMED)
                self._disk.flush(trash)
                destroy(trash, act + _DOOMED)
            else:
                destroy(trash, act)
            self._disk.flush(trash)

    def erase(self, contract_id: str) -> None:
        """Destroy all files of a contract, its trash and stage too."""
        with translated(), self._disk.opened((), os.O_RDONLY | os.O_DIRECTORY) as data:
            destroy(data, contract_id)
            self._disk.flush(data)

    def _destroy(self, contract_id: str, where: str, act: str) -> None:
        with translated(), self._disk.special(contract_id, where) as folder:
            destroy(folder, act)
            self._disk.flush(folder)

    def _is_there(self, parts: tuple[str, ...]) -> bool:
        try:
            with translated(), self._disk.opened(parts, os.O_PATH):
                return True
        except NotFoundError:
            return False

    def _names(self, parts: tuple[str, ...]) -> list[str]:
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY
            with translated(), self._disk.opened(parts, flags) as folder:
                return sorted(os.listdir(folder))  # noqa: PTH208 - by descriptor
        except NotFoundError:
            return []


def _is_folder(folder: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode)
