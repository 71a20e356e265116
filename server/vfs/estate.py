"""The places of all contracts, as an administrator at the command line names them."""

from typing import Final

from server.auth.snapshot import Folder, Login, Snapshot
from server.model.errors import NotFoundError
from server.model.operation import Right
from server.model.path import VirtualPath
from server.storage.port import Location, Root
from server.vfs.tree import PRIVATE, SHARED, Place

_ALL: Final = Right.LIST | Right.READ | Right.WRITE | Right.DELETE


class Estate:
    """Finds places over one state of the accounts."""

    def __init__(self, accounts: Snapshot) -> None:
        """Know these accounts."""
        self._accounts = accounts

    def place(self, at: Location) -> Place:
        """The place that lies there.

        Raises:
            NotFoundError: Its login or shared folder was removed.
        """
        root = at.root
        if root.area == PRIVATE:
            if self._accounts.login(root.id) is None:
                raise NotFoundError("The login whose folder it was has been removed.")
            top: tuple[str, ...] = (PRIVATE,)
        else:
            top = (SHARED, self._folder(root).name)
        return Place(
            VirtualPath((*top, *at.parts)),
            "/" + "/".join(top),
            at,
            _ALL,
            passable=True,
        )

    def named(self, raw: str, contract_id: str, login_id: str) -> Place:
        """The place that a path means.

        Args:
            raw: `/private/…` or `/shared/NAME/…`.
            contract_id: Whose.
            login_id: Whose `/private`; empty when nobody's is meant.

        Raises:
            PathRefusedError: The spelling.
            NotFoundError: There is no such folder, or it has to be said whose.
        """
        parts = VirtualPath.parse(raw).parts
        if parts[:1] == (PRIVATE,):
            if not login_id:
                raise NotFoundError("Say whose /private is meant: --login LOGIN.")
            login = self._accounts.login(login_id)
            if login is not None and login.contract_id != contract_id:
                raise NotFoundError(f"{login.name} is a login of another contract.")
            return self.place(Location(Root(contract_id, PRIVATE, login_id), parts[1:]))
        for folder in self._accounts.folders_of(contract_id):
            if parts[:2] == (SHARED, folder.name):
                root = Root(contract_id, SHARED, folder.id)
                return self.place(Location(root, parts[2:]))
        raise NotFoundError(f"{raw} lies in no folder of this contract.")

    def contract_name(self, contract_id: str) -> str:
        """A contract's name; its id when it was removed."""
        found = self._accounts.contract(contract_id)
        return contract_id if found is None else found.name

    def owner(self, root: Root) -> str:
        """Whose private folder it is; empty for a shared one."""
        if root.area != PRIVATE:
            return ""
        login = self._accounts.login(root.id)
        return "" if login is None else login.name

    def login(self, account: str, contract: str) -> Login:
        """The login that `alice`, or `alice@contract`, means.

        Args:
            account: A login's name, with or without its contract.
            contract: The contract where `account` names none; empty: any.

        Raises:
            NotFoundError: There is none, or more than one.
        """
        name, _, named = account.partition("@")
        contract_id = self.contract_id(named or contract)
        found = [
            login
            for login in self._accounts.logins
            if login.name == name and login.contract_id == contract_id
        ]
        if len(found) != 1:
            raise NotFoundError(f"There is no login {account!r}.")
        return found[0]

    def contract_id(self, name: str) -> str:
        """A contract's id; the name may be left out where there is one contract.

        Raises:
            NotFoundError: There is none of this name, or it has to be named.
        """
        every = self._accounts.contracts
        found = [c for c in every if c.name == name or (not name and len(every) == 1)]
        if len(found) != 1:
            raise NotFoundError(
                f"There is no contract {name!r}."
                if name
                else "There are several contracts: say which, --contract NAME."
            )
        return found[0].id

    def _folder(self, root: Root) -> Folder:
        for folder in self._accounts.folders_of(root.contract_id):
            if folder.id == root.id:
                return folder
        raise NotFoundError("The shared folder that it lay in has been removed.")
