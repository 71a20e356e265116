"""What the tree and the rights say of an act, without the act: for `kagikura why`.

The checks are those that a view makes before it touches the disk, taken from the same
functions; a test holds the answers of both equal. What depends on files that are there
is told as a remark.
"""

from dataclasses import dataclass
from typing import Final

from server.auth.snapshot import Snapshot
from server.model.errors import LinkRefusedError, PathRefusedError
from server.model.identity import Actor
from server.model.operation import Operation, Right, format_rights
from server.model.path import VirtualPath
from server.vfs.ground import require_movable, require_visible
from server.vfs.tree import Place, Tree

_NEEDED: Final = {
    Operation.READ: Right.READ,
    Operation.WRITE: Right.WRITE,
    Operation.DEPOSIT: Right.WRITE,
    Operation.MKDIR: Right.WRITE,
    Operation.RMDIR: Right.DELETE,
    Operation.DELETE: Right.DELETE,
    Operation.SETATTR: Right.WRITE,
    Operation.LOCK: Right.WRITE,
    Operation.UNLOCK: Right.WRITE,
}
_OF_FOLDERS: Final = frozenset({Operation.RMDIR, Operation.RENAME, Operation.COPY})
OPERATIONS: Final = (
    *_NEEDED,
    Operation.LIST,
    Operation.STAT,
    Operation.RENAME,
    Operation.COPY,
    Operation.SYMLINK,
)
"""What a view does with a path."""

_CHANGING: Final = frozenset({Operation.WRITE, Operation.SETATTR, Operation.DEPOSIT})


@dataclass(frozen=True, slots=True)
class Permission:
    """What is allowed where."""

    path: str
    rights: str
    """The login's rights there, as grants write them."""
    remark: str
    """What still depends on the files; often empty."""


def decide(
    actor: Actor,
    accounts: Snapshot,
    operation: Operation,
    raw: str,
    target_raw: str = "",
) -> Permission:
    """Whether `actor` may do `operation` at a path.

    Args:
        actor: Login, kind and contract count.
        accounts: At the moment of the question.
        operation: One of `OPERATIONS`.
        raw: The path as a client would send it.
        target_raw: Where a rename or copy leads.

    Raises:
        PathRefusedError: The spelling.
        RightsRefusedError: No grant, or a fixed folder.
        LinkRefusedError: Links are never made.
        NotFoundError: Outside `/private` and `/shared`.
    """
    tree = Tree(actor, lambda: accounts, made_ns=0)
    place = tree.place(VirtualPath.sent_by(actor, raw))
    if operation is Operation.LIST:
        if not place.passable:
            place.require(Right.LIST)
    elif operation is Operation.STAT:
        require_visible(place)
    elif operation is Operation.SYMLINK:
        raise LinkRefusedError
    elif operation in {Operation.RENAME, Operation.COPY}:
        _require_both(
            operation, place, tree.place(VirtualPath.sent_by(actor, target_raw))
        )
    else:
        if operation in _OF_FOLDERS:
            require_movable(place)
        place.require(_NEEDED[operation])
    return Permission(
        str(place.path), format_rights(place.rights), _remark(operation, place)
    )


def _require_both(operation: Operation, place: Place, target: Place) -> None:
    require_movable(place)
    if operation is Operation.COPY:
        place.require(Right.READ)
    else:
        place.require(Right.DELETE)
        if Right.READ in target.rights:
            place.require(Right.READ)
    if place.path.holds(target.path) or target.path.holds(place.path):
        raise PathRefusedError(
            "A file or folder cannot be put into itself.", rule="into_itself"
        )
    require_movable(target)
    target.require(Right.WRITE)


def _remark(operation: Operation, place: Place) -> str:
    if operation in _CHANGING and Right.READ not in place.rights:
        return "new files only: what is there already may not be changed (deposit_only)"
    return ""
