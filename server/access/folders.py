"""Administration of shared folders, their grants, and groups."""

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    Listing,
    contract_named,
    login_named,
    require,
)
from server.auth import records
from server.auth.accounts import parts
from server.auth.records import RowMap
from server.auth.tables import FOLDER, GRANT, GROUP, LOGIN, MEMBERSHIP
from server.db.engine import Connection
from server.model.errors import ExistsError, NotFoundError
from server.model.folder import USUAL, CaseRule, FolderRules, MacFiles
from server.model.operation import Operation, Right, format_rights
from server.model.path import VirtualPath


class Folders:
    """`kagikura folder …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(self, contract: str, name: str, rules: FolderRules = USUAL) -> Facts:
        """Add a shared folder; nobody may use it before a grant.

        Raises:
            PathRefusedError: Not a name that every client can hold.
            NotFoundError: No such contract.
            ExistsError: There is one of this name.
        """
        with self._bureau.change(Operation.ADMIN_FOLDER_ADD) as change:
            change.about(f"{contract}/{name}", contract)
            name, _ = _parse(name, deep=False)
            owner = contract_named(change.connection, contract)
            if records.find(
                change.connection, FOLDER, contract_id=owner["id"], name=name
            ):
                raise ExistsError(f"{contract!r} has a folder {name!r} already.")
            facts: Facts = {
                "id": records.new_id(),
                "contract": contract,
                "folder": name,
                **_shown(rules),
            }
            change.begin(after=facts)
            records.add(
                change.connection,
                FOLDER,
                id=facts["id"],
                contract_id=owner["id"],
                name=name,
                case_rule=str(rules.case),
                mac_files=str(rules.mac_files),
                added_us=change.now_us,
            )
        return facts

    def change(
        self,
        contract: str,
        name: str,
        *,
        case: CaseRule | None = None,
        mac_files: MacFiles | None = None,
    ) -> Facts:
        """Change how a shared folder keeps names; None leaves a rule as it is.

        What is there stays: two names that collide are both reached still.

        Raises:
            ValueError: Nothing is to be changed.
            NotFoundError: No such folder.
        """
        if case is None and mac_files is None:
            raise ValueError("say what is to be changed: --case or --mac-files")
        with self._bureau.change(Operation.ADMIN_FOLDER_CHANGE) as change:
            change.about(f"{contract}/{name}", contract)
            _, folder = _named(change.connection, contract, name)
            old = _rules(folder)
            new = FolderRules(
                case=case or old.case, mac_files=mac_files or old.mac_files
            )
            change.begin(before=_shown(old), after=_shown(new))
            records.change(
                change.connection,
                FOLDER,
                folder["id"],
                case_rule=str(new.case),
                mac_files=str(new.mac_files),
            )
        return {"contract": contract, "folder": folder["name"], **_shown(new)}

    def list(self, contract: str) -> list[Facts]:
        """A contract's shared folders with their grants.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owner = contract_named(connection, contract)
            where = {"contract_id": owner["id"]}
            subjects = {
                **{
                    x["id"]: x["name"]
                    for x in records.listed(connection, LOGIN, **where)
                },
                **{
                    x["id"]: f"@{x['name']}"
                    for x in records.listed(connection, GROUP, **where)
                },
            }
            found: list[Facts] = []
            for folder in records.listed(connection, FOLDER, **where):
                grants: Listing = [
                    {
                        "path": "/".join([folder["name"], *parts(grant["below"])]),
                        "to": subjects[grant["subject_id"]],
                        "rights": grant["rights"],
                    }
                    for grant in records.listed(
                        connection, GRANT, folder_id=folder["id"]
                    )
                    if grant["subject_id"] in subjects
                ]
                told: Facts = {
                    "folder": folder["name"],
                    "grants": grants,
                    "quota_bytes": folder["quota_bytes"],
                    "quota_files": folder["quota_files"],
                }
                found.append({**told, **_shown(_rules(folder))})
        return found

    def remove(self, contract: str, name: str) -> Facts:
        """Remove a shared folder and its grants; its files stay until `purge`.

        Raises:
            NotFoundError: No such folder.
        """
        with self._bureau.change(Operation.ADMIN_FOLDER_REMOVE) as change:
            change.about(f"{contract}/{name}", contract)
            _, folder = _named(change.connection, contract, name)
            change.begin(before={"folder": folder["name"], "id": folder["id"]})
            records.erase(change.connection, GRANT, folder_id=folder["id"])
            records.bury(change.connection, FOLDER, change.now_us, id=folder["id"])
        return {"contract": contract, "folder": folder["name"]}

    def grant(self, contract: str, path: str, to: str, rights: Right) -> Facts:
        """Set what a login or group may do in a folder, or in a part of it and below.

        Args:
            contract: Whose folder.
            path: `NAME` or `NAME/SUB…`.
            to: A login's name, or `@GROUP`.
            rights: The whole of it; none takes the grant away.

        Raises:
            PathRefusedError: Not a path that every client can hold.
            NotFoundError: No such folder, login or group.
        """
        with self._bureau.change(Operation.ADMIN_FOLDER_GRANT) as change:
            change.about(f"{contract}/{path} to {to}", contract)
            name, below = _parse(path, deep=True)
            owner, folder = _named(change.connection, contract, name)
            key = {
                "folder_id": folder["id"],
                "below": "/".join(below),
                "subject_id": _subject(change.connection, owner, to)["id"],
            }
            old = records.listed(change.connection, GRANT, **key)
            facts: Facts = {
                "contract": contract,
                "path": "/".join([name, *below]),
                "to": to,
                "rights": format_rights(rights),
            }
            before: Facts = {"rights": old[0]["rights"] if old else ""}
            change.begin(before=before, after=facts)
            records.erase(change.connection, GRANT, **key)
            if rights:
                records.add(
                    change.connection, GRANT, **key, rights=format_rights(rights)
                )
        return facts


class Groups:
    """`kagikura group …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(self, contract: str, name: str) -> Facts:
        """Add a group.

        Raises:
            ValueError: Not a name for a group.
            NotFoundError: No such contract.
            ExistsError: There is one of this name.
        """
        require(ITEM_NAME, name, "group")
        with self._bureau.change(Operation.ADMIN_GROUP_ADD) as change:
            change.about(f"{contract}/@{name}", contract)
            owner = contract_named(change.connection, contract)
            if records.find(
                change.connection, GROUP, contract_id=owner["id"], name=name
            ):
                raise ExistsError(f"{contract!r} has a group {name!r} already.")
            facts: Facts = {"contract": contract, "group": name}
            change.begin(after=facts)
            records.add(
                change.connection,
                GROUP,
                id=records.new_id(),
                contract_id=owner["id"],
                name=name,
                added_us=change.now_us,
            )
        return facts

    def list(self, contract: str) -> list[Facts]:
        """A contract's groups with their members.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owner = contract_named(connection, contract)
            where = {"contract_id": owner["id"]}
            names = {
                x["id"]: x["name"] for x in records.listed(connection, LOGIN, **where)
            }
            found: list[Facts] = []
            for group in records.listed(connection, GROUP, **where):
                rows = records.listed(connection, MEMBERSHIP, group_id=group["id"])
                members: Listing = sorted(
                    names[row["login_id"]] for row in rows if row["login_id"] in names
                )
                found.append({"group": group["name"], "members": members})
        return found

    def remove(self, contract: str, name: str) -> Facts:
        """Remove a group with what was granted to it.

        Raises:
            NotFoundError: No such group.
        """
        with self._bureau.change(Operation.ADMIN_GROUP_REMOVE) as change:
            change.about(f"{contract}/@{name}", contract)
            owner = contract_named(change.connection, contract)
            group = _subject(change.connection, owner, f"@{name}")
            change.begin(before={"contract": contract, "group": name})
            records.erase(change.connection, GRANT, subject_id=group["id"])
            records.erase(change.connection, MEMBERSHIP, group_id=group["id"])
            records.bury(change.connection, GROUP, change.now_us, id=group["id"])
        return {"contract": contract, "group": name}

    def join(self, contract: str, name: str, login: str) -> Facts:
        """Make a login a member.

        Raises:
            NotFoundError: No such group or login.
        """
        return self._member(Operation.ADMIN_GROUP_JOIN, contract, name, login)

    def leave(self, contract: str, name: str, login: str) -> Facts:
        """End a login's membership.

        Raises:
            NotFoundError: No such group or login.
        """
        return self._member(Operation.ADMIN_GROUP_LEAVE, contract, name, login)

    def _member(
        self, operation: Operation, contract: str, name: str, login: str
    ) -> Facts:
        with self._bureau.change(operation) as change:
            change.about(f"{contract}/@{name} {login}", contract)
            owner = contract_named(change.connection, contract)
            group = _subject(change.connection, owner, f"@{name}")
            member = _subject(change.connection, owner, login)
            facts: Facts = {"contract": contract, "group": name, "login": login}
            change.begin(after=facts)
            key = {"group_id": group["id"], "login_id": member["id"]}
            records.erase(change.connection, MEMBERSHIP, **key)
            if operation is Operation.ADMIN_GROUP_JOIN:
                records.add(change.connection, MEMBERSHIP, **key)
        return facts


def _rules(row: RowMap) -> FolderRules:
    return FolderRules(
        case=CaseRule(row["case_rule"]), mac_files=MacFiles(row["mac_files"])
    )


def _shown(rules: FolderRules) -> Facts:
    return {"case": str(rules.case), "mac_files": str(rules.mac_files)}


def _parse(path: str, *, deep: bool) -> tuple[str, tuple[str, ...]]:
    """Name and inner path of `NAME/SUB…`, by the rules that clients' paths obey."""
    found = VirtualPath.parse(f"/{path}").parts
    if not found or (len(found) > 1 and not deep):
        raise NotFoundError(f"{path!r} does not name a shared folder.")
    return found[0], found[1:]


def _named(connection: Connection, contract: str, name: str) -> tuple[RowMap, RowMap]:
    owner = contract_named(connection, contract)
    name, _ = _parse(name, deep=False)
    folder = records.find(connection, FOLDER, contract_id=owner["id"], name=name)
    if folder is None:
        raise NotFoundError(f"{contract!r} has no folder {name!r}.")
    return owner, folder


def _subject(connection: Connection, contract: RowMap, name: str) -> RowMap:
    if not name.startswith("@"):
        return login_named(connection, f"{name.partition('@')[0]}@{contract['name']}")[
            1
        ]
    group = records.find(connection, GROUP, contract_id=contract["id"], name=name[1:])
    if group is None:
        raise NotFoundError(f"{contract['name']!r} has no group {name!r}.")
    return group
