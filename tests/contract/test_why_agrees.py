"""`kagikura why` answers as the view itself does, for every login, path and act."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest

from server.model.errors import (
    LinkRefusedError,
    NotFoundError,
    PathRefusedError,
    RefusedError,
    ServerError,
)
from server.model.lock import Scope
from server.model.operation import Operation
from server.storage.port import Changes
from server.vfs.decision import OPERATIONS, decide
from server.vfs.entry import Disposition
from server.vfs.guard import NO_TOKENS
from server.vfs.locking import Wanted
from server.vfs.view import View
from tests.support.house import ACCOUNTS, House, open_house

NEW = Disposition(create=True, exclusive=True)
TARGET = "/shared/team/in/target"
PATHS = (
    "/", "/private", "/private/x", "/private/sub/x", "/shared", "/shared/team",
    "/shared/team/x", "/shared/team/in", "/shared/team/in/x", "/shared/team/out/x",
    "/shared/hidden", "/shared/hidden/x", "/shared/none/x", "/elsewhere/x",
    "relative", "/private/con", "/private/a\x01", "/private/../x",
)  # fmt: skip


def _locked(view: View, path: str) -> None:
    lock, _ = view.locks.take(path, Wanted(scope=Scope.SHARED, deep=False), NO_TOKENS)
    view.locks.release(path, lock.token)


ACTS: dict[Operation, Callable[[View, str], object]] = {
    Operation.READ: lambda view, path: view.open_read(path),
    Operation.WRITE: lambda view, path: view.open_write(path, NEW).close(),
    Operation.DEPOSIT: lambda view, path: view.open_write(path, NEW).close(),
    Operation.LIST: lambda view, path: list(view.list(path)),
    Operation.STAT: lambda view, path: view.stat(path),
    Operation.MKDIR: lambda view, path: view.make_folder(path),
    Operation.RMDIR: lambda view, path: view.remove_folder(path),
    Operation.DELETE: lambda view, path: view.delete(path),
    Operation.SETATTR: lambda view, path: view.set_attributes(path, Changes(mode=420)),
    Operation.RENAME: lambda view, path: view.rename(path, TARGET, overwrite=False),
    Operation.COPY: lambda view, path: view.copy(path, TARGET, overwrite=False),
    Operation.LOCK: _locked,
    Operation.UNLOCK: lambda view, path: view.locks.release(path, "none"),
    Operation.SYMLINK: lambda view, path: view.refuse(
        Operation.SYMLINK, path, LinkRefusedError()
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("why")) as house:
        house.view().make_folder("/shared/team/in")
        house.view().make_folder("/shared/team/in/kept")  # or an rmdir takes it away
        yield house


def _told(view: View, operation: Operation, path: str, target: str = "") -> str:
    actor = view.session.actor
    return _answered(partial(decide, actor, ACCOUNTS, operation, path, target))


def _answered(act: Callable[[], object]) -> str:
    """The refusal's rule; empty when allowed, or when only the files say no."""
    try:
        act()
    except RefusedError as error:
        # Only files that are there already refuse so; the remark tells it.
        return "" if error.rule == "deposit_only" else f"{error.stage} {error.rule}"
    except NotFoundError as error:
        return "outside" if "/private and /shared" in str(error) else ""
    except ServerError:
        return ""
    return ""


def test_every_act_of_a_view_can_be_asked_about() -> None:
    """An operation that is added must be explained too."""
    assert set(ACTS) == set(OPERATIONS)


@pytest.mark.parametrize("login", ["alice", "bob", "mfp", "eve"])
@pytest.mark.parametrize("operation", list(ACTS))
def test_the_explanation_is_the_decision(
    house: House, login: str, operation: Operation
) -> None:
    """Paths that exist, that do not, that are fixed, foreign or misspelt."""
    target = TARGET if operation in {Operation.RENAME, Operation.COPY} else ""
    for path in PATHS:
        view = house.view(login)
        told = _told(view, operation, path, target)
        done = _answered(partial(ACTS[operation], view, path))
        view.close()

        assert (path, told) == (path, done)


def test_the_paths_hold_every_kind_of_answer(house: House) -> None:
    """Or the comparison above would compare nothing."""
    found = {
        _told(house.view(login), Operation.WRITE, path)
        for login, path in product(["alice", "bob", "eve"], PATHS)
    }

    assert found >= {"", "outside", "path dots", "rights no_write", "rights no_grant"}
    with pytest.raises(PathRefusedError):
        decide(house.view().session.actor, ACCOUNTS, Operation.READ, "x")
