"""Which rights a login has where: a pure decision over a snapshot."""

from collections.abc import Iterable

from server.auth.snapshot import Folder, Grant, Snapshot
from server.model.identity import LoginKind
from server.model.operation import Right

_ALL = Right.LIST | Right.READ | Right.WRITE | Right.DELETE
_OWN = {
    LoginKind.ADMIN: _ALL,
    LoginKind.USER: _ALL,
    LoginKind.AUDITOR: Right(0),
    LoginKind.INTAKE: Right.LIST | Right.WRITE,
}


def rights_on_private(kind: LoginKind | None) -> Right:
    """A login's rights on its own `/private`; an intake login deposits only."""
    return _OWN[kind] if kind is not None else Right(0)


def rights_on_shared(
    snapshot: Snapshot, login_id: str, folder: Folder, inside: tuple[str, ...]
) -> Right:
    """The union of all grants that reach a path of a shared folder.

    Args:
        snapshot: The accounts.
        login_id: Who asks.
        folder: A folder of the login's own contract.
        inside: The path inside the folder; empty for the folder itself.
    """
    rights = Right(0)
    for grant in _grants(snapshot, login_id, folder):
        if inside[: len(grant.below)] == grant.below:
            rights |= grant.rights
    return rights


def leads_to_grant(
    snapshot: Snapshot, login_id: str, folder: Folder, inside: tuple[str, ...]
) -> bool:
    """Whether a grant lies at this path or deeper, so that it must be passable."""
    return any(
        grant.below[: len(inside)] == inside
        for grant in _grants(snapshot, login_id, folder)
    )


def _grants(snapshot: Snapshot, login_id: str, folder: Folder) -> Iterable[Grant]:
    login = snapshot.login(login_id)
    if login is None or login.contract_id != folder.contract_id:
        return
    subjects = snapshot.subjects(login_id)
    for grant in snapshot.grants_on(folder.id):
        if grant.subject_id in subjects and grant.rights:
            yield grant
