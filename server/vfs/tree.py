"""The tree that a session sees: `/private` and `/shared/<name>`, with its rights.

Two folders are virtual, `/` and `/shared`: they can be listed, and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from server.auth.rights import leads_to_grant, rights_on_private, rights_on_shared
from server.auth.snapshot import Folder, Snapshot
from server.model.errors import NotFoundError, RightsRefusedError
from server.model.folder import USUAL, CaseRule, FolderRules
from server.model.identity import Actor
from server.model.operation import Right
from server.model.path import VirtualPath
from server.storage.port import Attributes, Location, Root

PRIVATE: Final = "private"
SHARED: Final = "shared"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads, and what the session may do there."""

    path: VirtualPath
    folder: str
    """`/private` or `/shared/<name>`; empty for the virtual folders."""
    location: Location | None
    """Where storage keeps it; None for the virtual folders."""
    rights: Right
    passable: bool
    """Whether a grant lies below, so that the way there may be listed."""
    rules: FolderRules = USUAL
    """How its folder keeps names."""

    def require(self, right: Right) -> None:
        """Return when the session has `right` here.

        Raises:
            RightsRefusedError: It has not.
        """
        if right in self.rights:
            return
        name = str(right.name).lower()
        raise RightsRefusedError(
            f"You have no right to {name} here. Ask the administrator for a grant.",
            rule=f"no_{name}",
        )

    def stored(self) -> Location:
        """Where storage keeps it.

        Raises:
            RightsRefusedError: It is a virtual folder.
        """
        if self.location is None:
            raise RightsRefusedError(
                "Files live in /private and in the folders of /shared.",
                rule="virtual_folder",
            )
        return self.location


class Tree:
    """Finds places for one actor over the newest accounts."""

    def __init__(
        self,
        actor: Actor,
        accounts: Callable[[], Snapshot],
        *,
        made_ns: int,
        private: FolderRules = USUAL,
    ) -> None:
        """See the tree as `actor`.

        Args:
            actor: Whose `/private` and grants count.
            accounts: The newest ones.
            made_ns: The time that virtual folders bear.
            private: How private folders keep names.
        """
        self._actor = actor
        self._accounts = accounts
        self._made_ns = made_ns
        self._own = Root(actor.contract_id, PRIVATE, actor.login_id)
        self._rules = private

    def place(self, path: VirtualPath) -> Place:
        """Where a path leads.

        Raises:
            NotFoundError: The first part is neither `private` nor `shared`.
            RightsRefusedError: No such shared folder, or no grant on it: the answer
                is the same.
        """
        parts = path.parts
        if not parts or parts == (SHARED,):
            return Place(path, "", None, Right.LIST, passable=True)
        if parts[0] == PRIVATE:
            return self._private(path)
        if parts[0] == SHARED:
            return self._shared(path)
        raise NotFoundError("There is no such folder; see /private and /shared.")

    def standing(self, place: Place, *rights: Right) -> Callable[[], None]:
        """A check that `place` grants `rights` still; cheap while no account changes.

        It raises what `place` and `Place.require` raise.
        """
        checked: Snapshot | None = None

        def check() -> None:
            nonlocal checked
            accounts = self._accounts()
            if accounts is checked:
                return
            found = self.place(place.path)
            for right in rights:
                found.require(right)
            if found.stored().root != place.stored().root:
                raise RightsRefusedError(
                    "This folder was removed; another has its name.", rule="no_folder"
                )
            checked = accounts

        return check

    def virtual_names(self, path: VirtualPath) -> Iterator[str]:
        """What a virtual folder holds for this actor."""
        if path.parts:
            accounts = self._accounts()
            for folder in accounts.folders_of(self._actor.contract_id):
                if leads_to_grant(accounts, self._actor.login_id, folder, ()):
                    yield folder.name
            return
        if rights_on_private(self._actor.kind):
            yield PRIVATE
        yield SHARED

    def virtual_attributes(self) -> Attributes:
        """What a virtual folder looks like."""
        made = self._made_ns
        return Attributes(
            is_folder=True,
            size=0,
            mode=0o555,
            mtime_ns=made,
            atime_ns=made,
            ctime_ns=made,
            inode=0,
        )

    def _private(self, path: VirtualPath) -> Place:
        actor = self._actor
        rights = rights_on_private(actor.kind)
        if not rights:
            raise RightsRefusedError(
                "This login has no files of its own.", rule="no_private"
            )
        rules = self._rules
        return Place(
            path,
            "/private",
            _location(self._own, path.parts[1:], rules),
            rights,
            passable=False,
            rules=rules,
        )

    def _shared(self, path: VirtualPath) -> Place:
        accounts = self._accounts()
        login = self._actor.login_id
        folder = self._folder(accounts, path.parts[1])
        inside = path.parts[2:]
        if folder is None or not leads_to_grant(accounts, login, folder, ()):
            raise RightsRefusedError(
                "There is no such shared folder, or you have no right to it.",
                rule="no_folder" if folder is None else "no_grant",
            )
        return Place(
            path,
            f"/{SHARED}/{folder.name}",
            _location(
                Root(folder.contract_id, SHARED, folder.id), inside, folder.rules
            ),
            rights_on_shared(accounts, login, folder, inside),
            passable=leads_to_grant(accounts, login, folder, inside),
            rules=folder.rules,
        )

    def _folder(self, accounts: Snapshot, name: str) -> Folder | None:
        folders = accounts.folders_of(self._actor.contract_id)
        return next((folder for folder in folders if folder.name == name), None)


def _location(root: Root, inside: tuple[str, ...], rules: FolderRules) -> Location:
    return Location(root, inside, collide=rules.case is CaseRule.COLLIDE)
