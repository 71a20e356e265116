"""A crash at every step of every act: the trail and the disk agree afterwards."""

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.model.operation import Operation
from server.storage.port import Changes
from server.vfs.entry import Disposition
from server.vfs.trash import Whose, Wish
from server.vfs.view import View
from tests.support.crash import killed_after
from tests.support.house import House, Record, open_house, read_records, recover
from tests.support.restoring import index, restoring

NEW = Disposition(create=True, truncate=True)
APPEND = Disposition(create=True, append=True)
CHANGE = Disposition()
OLD, FRESH = b"the old content", b"what is written now"
ASKED_NS = 1_000_000_000 * 10**9
STEPS_MAX = 200

Look = tuple[bytes | None, int, bool]
"""Content (None for a folder), permission bits, whether it bears the asked time."""
Disk = dict[str, Look]


def write(view: View, path: str, disposition: Disposition) -> None:
    file = view.open_write(path, disposition)
    file.write_at(0, FRESH[:8])
    file.write_at(8, FRESH[8:])
    file.close()


def upload(view: View, path: str) -> None:
    received = view.upload(path, length=len(FRESH))
    received.write(FRESH)
    received.commit()


def rename(view: View, path: str, target: str) -> None:
    view.rename(path, target, overwrite=True)


def copy(view: View, path: str, target: str) -> None:
    view.copy(path, target, overwrite=True)


def restore(house: House, path: str, to: str = "") -> None:
    with restoring(house) as (trash, _):
        whose = Whose(login="alice")
        trash.restore_path(path, None, whose, Wish(to, overwrite=True))


def undo(house: House, operation: str, path: str) -> None:
    """Undo the last act of a kind on a path."""
    found = [
        r
        for r in house.records()
        if (r["operation"], r.get("path")) == (operation, path)
    ]
    with restoring(house) as (_, undoing):
        undoing.undo(found[-1]["id"], overwrite=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An act on a view, or one of an administrator on the house."""

    act: Callable[[View], None] | None = None
    admin: Callable[[House], None] | None = None
    login: str = "alice"
    in_place: str = ""
    """Where it writes in place, so that a part of it may stay."""
    mixes: bool = False
    """Whether it changes several attributes, which no file system does at once."""

    def do(self, house: House) -> None:
        if self.admin is not None:
            self.admin(house)
        if self.act is not None:
            self.act(house.view(self.login))


CASES = {
    "write new": Case(
        act=lambda v: write(v, "/private/new", NEW), in_place="private/l-alice/new"
    ),
    "write over": Case(
        act=lambda v: write(v, "/private/doc", NEW), in_place="private/l-alice/doc"
    ),
    "append": Case(
        act=lambda v: write(v, "/private/doc", APPEND), in_place="private/l-alice/doc"
    ),
    "change": Case(
        act=lambda v: write(v, "/private/doc", CHANGE), in_place="private/l-alice/doc"
    ),
    "upload new": Case(act=lambda v: upload(v, "/private/new")),
    "upload over": Case(act=lambda v: upload(v, "/private/doc")),
    "deposit": Case(act=lambda v: write(v, "/private/scan", NEW), login="mfp"),
    "mkdir": Case(act=lambda v: v.make_folder("/private/made")),
    "rmdir": Case(act=lambda v: v.remove_folder("/private/empty")),
    "delete": Case(act=lambda v: v.delete("/private/doc")),
    "delete tree": Case(act=lambda v: v.delete_tree("/private/tree")),
    "rename": Case(act=lambda v: rename(v, "/private/doc", "/private/tree/moved")),
    "rename a folder": Case(act=lambda v: rename(v, "/private/tree", "/private/new")),
    "rename over a file": Case(
        act=lambda v: rename(v, "/private/doc", "/private/other")
    ),
    "rename a file over a folder": Case(
        act=lambda v: rename(v, "/private/doc", "/private/full")
    ),
    "rename a folder over a folder": Case(
        act=lambda v: rename(v, "/private/tree", "/private/full")
    ),
    "rename a folder over a file": Case(
        act=lambda v: rename(v, "/private/tree", "/private/other")
    ),
    "copy": Case(act=lambda v: copy(v, "/private/doc", "/private/new")),
    "copy over a file": Case(act=lambda v: copy(v, "/private/doc", "/private/other")),
    "copy a tree": Case(act=lambda v: copy(v, "/private/tree", "/private/new")),
    "copy a tree over a tree": Case(
        act=lambda v: copy(v, "/private/tree", "/private/full")
    ),
    "set mode": Case(
        act=lambda v: v.set_attributes("/private/doc", Changes(mode=0o100440))
    ),
    "set times": Case(
        act=lambda v: v.set_attributes(
            "/private/doc", Changes(mtime_ns=ASKED_NS, atime_ns=ASKED_NS)
        )
    ),
    "set all": Case(
        act=lambda v: v.set_attributes(
            "/private/doc", Changes(size=99, mode=0o644, mtime_ns=ASKED_NS)
        ),
        mixes=True,
    ),
    "truncate": Case(act=lambda v: v.set_attributes("/private/doc", Changes(size=3))),
    "restore": Case(admin=lambda h: restore(h, "/private/gone")),
    "restore a tree": Case(admin=lambda h: restore(h, "/private/felled")),
    "restore over a file": Case(
        admin=lambda h: restore(h, "/private/gone", "/private/other")
    ),
    "restore over a folder": Case(
        admin=lambda h: restore(h, "/private/gone", "/private/full")
    ),
    "restore a tree over a tree": Case(
        admin=lambda h: restore(h, "/private/felled", "/private/full")
    ),
    "undo an upload": Case(admin=lambda h: undo(h, "write", "/private/twice")),
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with files and folders to act upon."""
    folder = tmp_path_factory.mktemp("furnished")
    with open_house(folder) as house:
        view = house.view()
        for path in ("/tree", "/tree/sub", "/full", "/empty", "/felled"):
            view.make_folder(f"/private{path}")
        for path in (
            *("/doc", "/other", "/tree/a", "/tree/sub/b", "/full/c"),
            *("/gone", "/felled/d", "/twice"),
        ):
            file = view.open_write(f"/private{path}", NEW)
            file.write_at(0, OLD + path.encode())
            file.close()
        view.delete("/private/gone")
        view.delete_tree("/private/felled")
        upload(view, "/private/twice")
        view.close()
        house.view("mfp").lookup("/private", Operation.STAT)
        index(house)
    return folder


@pytest.fixture
def stores(furnished: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Makes copies of the furnished store."""
    numbers = itertools.count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        shutil.copytree(furnished, folder)
        return folder

    yield make
    shutil.rmtree(tmp_path)


def looks(folder: Path) -> Disk:
    """What clients can see."""
    found: Disk = {}
    top = folder / "data" / "c"
    for path in (*top.rglob("private/**/*"), *top.rglob("shared/**/*")):
        status = path.stat()
        content = None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(top))] = (
            content,
            status.st_mode & 0o777,
            status.st_mtime_ns == ASKED_NS,
        )
    return found


def contents(folder: Path, *below: str) -> Counter[bytes]:
    """The contents of all files below these folders of the contract."""
    top = folder / "data" / "c"
    files = (path for name in below for path in (top / name).rglob("*"))
    return Counter(path.read_bytes() for path in files if path.is_file())


def names(folder: Path, special: str) -> set[str]:
    return {path.name for path in (folder / "data" / "c" / special).iterdir()}


def open_again(folder: Path) -> None:
    with open_house(folder) as house:
        recover(house)


def records(folder: Path) -> list[Record]:
    found = read_records(folder)
    return [record for record in found if not record["operation"].startswith("system.")]


def crash_states(
    case: Case, make: Callable[[], Path], act: Callable[[House], object] | None = None
) -> Iterator[tuple[int, Path]]:
    """The store as each number of the act's effects leaves it; the whole act last."""
    for step in range(STEPS_MAX):
        folder = make()
        killed = killed_after(step, folder, act or case.do)
        yield step, folder
        if not killed:
            return
    raise AssertionError("the act never ends")


def outcome_of(folder: Path, known: int) -> str:
    """How the act ended by the trail; empty when it never began.

    Raises:
        AssertionError: Not exactly one outcome.
    """
    new = records(folder)[known:]
    intents = [record for record in new if record["phase"] == "intent"]
    outcomes = [record for record in new if record["phase"] == "outcome"]
    assert [r["act"] for r in intents] == [r["act"] for r in outcomes]
    assert len(intents) <= 1
    return str(outcomes[0]["outcome"]) if outcomes else ""


def partial(before: Disk, found: Disk, path: str) -> bool:
    """Whether only `path` differs from before, by a part of what was written."""
    others = {key: look for key, look in found.items() if key != path}
    if others != {key: look for key, look in before.items() if key != path}:
        return False
    written = found[path][0] if path in found else None
    old = before[path][0] if path in before else None
    if written is None:
        return old is None
    bases, counts = (b"", old or b""), (0, 8, len(FRESH))
    appended = [base + FRESH[:count] for base in bases for count in counts]
    return written in appended + [
        FRESH[:count] + (old or b"")[count:] for count in counts
    ]


@dataclass(frozen=True, slots=True)
class Expected:
    """The store before an act and after it, and what must hold in between."""

    case: Case
    before: Disk
    after: Disk
    old: Counter[bytes]
    known: int
    """Records that the store had before the act."""
    trashed: set[str]
    """What the trash held."""

    def require(self, folder: Path, step: str) -> None:
        """Compare trail and disk, now that both are recovered."""
        found, told = looks(folder), outcome_of(folder, self.known)
        if told == "done":
            assert found == self.after, f"{step}: done, but not on the disk"
        elif self.case.in_place and told == "aborted":
            assert partial(self.before, found, self.case.in_place), step
        elif self.case.mixes and told == "aborted":
            assert found != self.after, f"{step}: aborted, but all of it was done"
        else:
            assert told in {"", "aborted"}, step
            assert found == self.before, f"{step}: {told!r}, but the disk has changed"
            assert names(folder, ".trash") == self.trashed, step
        assert names(folder, ".stage") == set(), f"{step}: staged leftovers"
        self._require_old(folder, step)

    def _require_old(self, folder: Path, step: str) -> None:
        """Nothing that was there is lost: it stands, or lies in the trash."""
        kept = contents(folder, "private", "shared", ".trash")
        for old in self.old:
            begun = any(content.startswith(old) for content in kept)
            assert begun, f"{step}: {old!r} is lost"


def expected(case: Case, furnished: Path, done: Path) -> Expected:
    """What a case is measured by; `done` is a copy of the store to do it in."""
    assert not killed_after(STEPS_MAX, done, case.do)
    before, after = looks(furnished), looks(done)
    assert after != before
    old = contents(furnished, "private", "shared", ".trash")
    known, trashed = len(records(furnished)), names(furnished, ".trash")
    return Expected(case, before, after, old, known, trashed)


@pytest.mark.parametrize("name", CASES)
def test_trail_and_disk_agree_after_a_crash_at_any_step(
    name: str, furnished: Path, stores: Callable[[], Path]
) -> None:
    """Done means done, aborted means that the old state stands; nothing is lost."""
    case = CASES[name]
    wanted = expected(case, furnished, stores())
    step = 0
    for step, folder in crash_states(case, stores):
        staged = names(folder, ".stage")
        open_again(folder)
        wanted.require(folder, f"{name}, step {step}")
        if name == "deposit":
            assert names(folder, ".quarantine") == staged, step
    assert step > 3


@pytest.mark.parametrize(
    "name",
    [
        "write over",
        "upload over",
        "rename over a file",
        "rename a folder over a folder",
        "restore over a file",
        "restore a tree over a tree",
    ],
)
def test_recovery_may_be_killed_at_any_step_too(
    name: str, furnished: Path, stores: Callable[[], Path]
) -> None:
    """Power fails twice: the second recovery ends what the first began."""
    case = CASES[name]
    wanted = expected(case, furnished, stores())
    for step, _ in crash_states(case, stores):

        def crashed(effects: int = step) -> Path:
            folder = stores()
            killed_after(effects, folder, case.do)
            return folder

        for again, folder in crash_states(case, crashed, recover):
            open_again(folder)
            wanted.require(folder, f"{name}, step {step}, recovery's step {again}")
