"""Which quotas hold where, by the newest accounts."""

from collections.abc import Callable, Iterator

from server.auth.snapshot import Snapshot
from server.storage.port import Root
from server.storage.scope import Scope
from server.vfs.tree import PRIVATE, SHARED


class Quotas:
    """Finds the scopes of a root; cheap while no account changes. Thread-safe."""

    def __init__(self, accounts: Callable[[], Snapshot]) -> None:
        """Ask `accounts` for the newest state."""
        self._accounts = accounts
        self._known: tuple[Snapshot, dict[tuple[str, str], Scope]] | None = None

    def scopes(self, root: Root) -> tuple[Scope, ...]:
        """Those with a quota that a root lies in; the root's own first."""
        found = self._scopes()
        if not found:
            return ()
        own = found.get((root.contract_id, f"{root.area}-{root.id}"))
        whole = found.get((root.contract_id, ""))
        return tuple(scope for scope in (own, whole) if scope is not None)

    def all(self) -> list[Scope]:
        """Every scope with a quota."""
        return list(self._scopes().values())

    def _scopes(self) -> dict[tuple[str, str], Scope]:
        accounts, known = self._accounts(), self._known
        if known is None or known[0] is not accounts:
            found = {
                (scope.contract_id, scope.key[1] if scope.root else ""): scope
                for scope in every_scope(accounts)
                if scope.quota
            }
            self._known = known = accounts, found
        return known[1]


def every_scope(accounts: Snapshot) -> Iterator[Scope]:
    """What a quota can be set on, whether one is set or not."""
    names = {contract.id: contract.name for contract in accounts.contracts}
    for contract in accounts.contracts:
        yield Scope(contract.id, None, "the contract", contract.name, contract.quota)
    for login in accounts.logins:
        root = Root(login.contract_id, PRIVATE, login.id)
        title = f"{login.name}@{names.get(login.contract_id, '')}"
        yield Scope(login.contract_id, root, f"/{PRIVATE}", title, login.quota)
    for contract in accounts.contracts:
        for folder in accounts.folders_of(contract.id):
            root = Root(contract.id, SHARED, folder.id)
            label, title = f"/{SHARED}/{folder.name}", f"{contract.name}/{folder.name}"
            yield Scope(contract.id, root, label, title, folder.quota)
