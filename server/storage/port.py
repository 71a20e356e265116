"""What the VFS asks of a store of files; it belongs to the VFS, not to a disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final, NamedTuple, Protocol

TRASH: Final = ".trash"
"""The area of a root that an act made by destroying something; its id is the act's."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder with an id of its own: `/private` of a login, or a shared folder.

    The ids are never reused, so that a new `alice` never meets the old one's files.
    """

    contract_id: str
    area: str
    """`private` or `shared`."""
    id: str

    def __str__(self) -> str:
        """The form kept in records, `contract/area/id`."""
        return f"{self.contract_id}/{self.area}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Root":
        """Read what `str` wrote.

        Raises:
            ValueError: Not three parts.
        """
        contract_id, area, identifier = text.split("/")
        return cls(contract_id, area, identifier)


@dataclass(frozen=True, slots=True)
class Location:
    """A place below a root; `parts` come from a parsed `VirtualPath`."""

    root: Root
    parts: tuple[str, ...] = ()
    collide: bool = field(default=False, compare=False)
    """Whether a new name must differ from its neighbours in more than case or width."""


class Attributes(NamedTuple):
    """What the disk says of a file or folder. Times in nanoseconds since 1970.

    A tuple, because a listing makes ten thousand of them.
    """

    is_folder: bool
    size: int
    mode: int
    """Permission bits only."""
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    inode: int


Batch = list[tuple[str, Attributes]]
"""Some of the names in a folder, and what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Attributes to set; None leaves one alone."""

    size: int | None = None
    mode: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is to be set."""
        return self != Changes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Room on the file system, in blocks of `block_bytes`."""

    block_bytes: int
    blocks: int
    blocks_free: int
    files: int
    files_free: int
    name_bytes_max: int


@unique
class Kept(StrEnum):
    """How the old content of a file that is changed where it stands was kept."""

    CLONED = "clone"
    """It shares its blocks with the file until they are changed."""
    COPIED = "copy"
    NOT = "no"
    """It is too long to be copied, and this file system makes no clones."""


def trashed_at(contract_id: str, act: str, inside: tuple[str, ...] = ()) -> Location:
    """Where the trash keeps what an act destroyed, or a part of it."""
    return Location(Root(contract_id, TRASH, act), inside)


def kept_mode(mode: int, *, is_folder: bool) -> int:
    """The permission bits that a file or folder gets when `mode` is asked for.

    Set-user-id, set-group-id and sticky bits are dropped, and the owner (the daemon)
    keeps its own rights, or the file would be lost to us.
    """
    own = 0o700 if is_folder else 0o600
    return mode & 0o777 | own


class StoredFile(Protocol):
    """An open file. Offsets and lengths in bytes; every method raises `ServerError`."""

    @property
    def descriptor(self) -> int:
        """The open file's number in this process."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; empty at the end."""
        ...

    def read_into(self, offset: int, places: Sequence[memoryview]) -> int:
        """Fill `places` one after the other from `offset`; how many bytes came."""
        ...

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`."""
        ...

    def copy_from(self, source: "StoredFile", offset: int, to: int, length: int) -> int:
        """Copy up to `length` bytes of another file; how many came, 0 at its end."""
        ...

    def attributes(self) -> Attributes:
        """What the file is now."""
        ...

    def change(self, changes: Changes) -> None:
        """Set size, mode or times."""
        ...

    def expect(self, length: int) -> None:
        """Make room for a file that will be `length` bytes long, where that is kept."""
        ...

    def sync(self) -> None:
        """Bring content and size to the disk."""
        ...

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        ...


class Storage(Protocol):
    """Files below roots, staged files and the trash, both named by an act's id.

    Every method raises a `ServerError` that fits the cause.
    """

    def prepare(self, root: Root) -> None:
        """Make the folders that a root needs, if they are missing."""
        ...

    def attributes(self, at: Location) -> Attributes:
        """What is there; `NotFoundError` when nothing is."""
        ...

    def require_distinct(self, at: Location, moved: Location | None = None) -> None:
        """Return when nothing stands beside `at` with its name in other letters.

        All that makes a name asks again, with the folder to itself. `moved` is left
        out of it: it bears that name no longer afterwards.
        """
        ...

    def scan(self, at: Location) -> Iterator[tuple[str, Attributes]]:
        """The folder's files and folders; links and special files are left out."""
        ...

    def batches(self, at: Location) -> Iterator[Batch]:
        """As `scan`, some hundred at a time."""
        ...

    def open(self, at: Location, *, write: bool) -> StoredFile:
        """Open a file that is there."""
        ...

    def create(self, at: Location) -> StoredFile:
        """Make a new, empty file; `ExistsError` when something is there."""
        ...

    def stage(
        self,
        contract_id: str,
        act: str,
        *,
        to: Location | None = None,
        marked: bool = True,
    ) -> StoredFile:
        """Make the staged file of an act; `to` is where it shall stand in the end.

        It is `marked` with the act's id where recovery asks who published it.
        """
        ...

    def publish(
        self, act: str, at: Location, *, replace: bool, file: StoredFile | None = None
    ) -> None:
        """Move what an act staged into place; a replaced file goes to the trash.

        `file` is the staged file, if it is one that is open; its content is on the
        disk already, where that is asked for.
        """
        ...

    def make_folder(self, at: Location) -> None:
        """Make a folder."""
        ...

    def remove_folder(self, at: Location) -> None:
        """Remove an empty folder."""
        ...

    def trash(self, act: str, at: Location) -> None:
        """Move a file or a whole tree to the trash."""
        ...

    def rename(self, act: str, at: Location, to: Location, *, replace: bool) -> None:
        """Move a file or tree; what it replaces goes to the trash."""
        ...

    def keep(
        self, contract_id: str, act: str, file: StoredFile, *, copy_bytes_max: int
    ) -> Kept:
        """Put the content of an open file in the trash, as a clone or a copy."""
        ...

    def restore(self, at: Location, act: str, to: Location, *, replace: bool) -> None:
        """Move something out of the trash; what it replaces goes there for `act`.

        `at` is a place that `trashed_at` makes.
        """
        ...

    def change(self, at: Location, changes: Changes) -> None:
        """Set attributes of a file or folder."""
        ...

    def copy(self, at: Location, act: str, *, deep: bool, to: Location) -> int:
        """Copy a file, or a folder with (`deep`) all below it, to the act's stage.

        `to` is where the copy shall stand in the end.

        Returns the bytes copied.
        """
        ...

    def unstage(self, contract_id: str, act: str, *, quarantine: bool) -> None:
        """Remove what an act staged, or set it aside for an admin."""
        ...

    def space(self, root: Root) -> Space:
        """Room where this root lies."""
        ...


class Leftovers(Protocol):
    """What recovery asks about an act that a crash cut."""

    def staged(self, contract_id: str, act: str) -> bool:
        """Whether the act's staged file is still there."""
        ...

    def trashed(self, contract_id: str, act: str) -> bool:
        """Whether the act moved something to the trash."""
        ...

    def second_name(self, contract_id: str, act: str) -> bool:
        """Whether what the act put in the trash is a file that stands elsewhere too."""
        ...

    def published_by(self, at: Location, act: str) -> bool:
        """Whether what is there now was moved into place by this act."""
        ...

    def discard(self, contract_id: str, act: str) -> None:
        """Remove what the act staged."""
        ...

    def quarantine(self, contract_id: str, act: str) -> None:
        """Set aside what the act staged, for an admin to look at."""
        ...

    def put_back(self, contract_id: str, act: str, at: Location) -> None:
        """Move what the act trashed back to where it was."""
        ...

    def purge(self, contract_id: str, act: str) -> None:
        """Destroy what the act put in the trash; there is no way back."""
        ...
