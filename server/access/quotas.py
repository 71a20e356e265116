"""Administration of quotas: what a contract, login or shared folder may hold."""

from dataclasses import dataclass

from server.access.bureau import Bureau, Facts, contract_named, login_named
from server.access.ledger import Change
from server.auth import records
from server.auth.records import RowMap
from server.auth.tables import CONTRACT, FOLDER, LOGIN
from server.model.errors import NotFoundError
from server.model.operation import Operation


@dataclass(frozen=True, slots=True)
class Limits:
    """What is to be set; None leaves a limit as it is, a negative number lifts it."""

    bytes: int | None = None
    files: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is to be set."""
        return self.bytes is not None or self.files is not None

    def over(self, row: RowMap) -> RowMap:
        """The columns as they will be."""
        asked = {"quota_bytes": self.bytes, "quota_files": self.files}
        return {
            name: row[name] if most is None else (most if most >= 0 else None)
            for name, most in asked.items()
        }


class Quotas:
    """`--quota-bytes`, `--quota-files` of `contract`, `login` and `folder change`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def of_contract(self, name: str, limits: Limits) -> Facts:
        """Limit all that a contract keeps, its trash too.

        Raises:
            ValueError: Nothing is to be changed.
            NotFoundError: There is none of this name.
        """
        _require(limits)
        with self._bureau.change(Operation.ADMIN_CONTRACT_CHANGE) as change:
            change.about(name, contract=name)
            row = contract_named(change.connection, name)
            facts = _begun(change, row, limits)
            records.change(change.connection, CONTRACT, row["id"], **facts)
        self._take_hold(change, row["id"])
        return {"contract": name, **facts}

    def of_login(self, account: str, limits: Limits) -> Facts:
        """Limit what stands in a login's own folder.

        Raises:
            ValueError: Nothing is to be changed.
            NotFoundError: There is none.
        """
        _require(limits)
        with self._bureau.change(Operation.ADMIN_LOGIN_CHANGE) as change:
            change.about(account)
            contract, row = login_named(change.connection, account)
            change.about(f"{row['name']}@{contract['name']}", contract["name"])
            facts = _begun(change, row, limits)
            records.change(change.connection, LOGIN, row["id"], **facts)
        self._take_hold(change, contract["id"])
        return {"login": row["name"], "contract": contract["name"], **facts}

    def of_folder(self, contract: str, name: str, limits: Limits) -> Facts:
        """Limit what stands in a shared folder.

        Raises:
            ValueError: Nothing is to be changed.
            NotFoundError: There is none.
        """
        _require(limits)
        with self._bureau.change(Operation.ADMIN_FOLDER_CHANGE) as change:
            change.about(f"{contract}/{name}", contract)
            owner = contract_named(change.connection, contract)
            where = {"contract_id": owner["id"], "name": name}
            row = records.find(change.connection, FOLDER, **where)
            if row is None:
                raise NotFoundError(f"{contract!r} has no folder {name!r}.")
            facts = _begun(change, row, limits)
            records.change(change.connection, FOLDER, row["id"], **facts)
        self._take_hold(change, owner["id"])
        return {"contract": contract, "folder": name, **facts}

    def _take_hold(self, change: Change, contract_id: str) -> None:
        """Wait until every process counts, then have it counted from the disk."""
        self._bureau.wait_for_cut(
            change.revision, change.now_us, contract_id=contract_id
        )
        self._bureau.recount(contract_id)


def _require(limits: Limits) -> None:
    if not limits:
        raise ValueError("say what is to be changed, --quota-bytes 20G for instance")


def _begun(change: Change, row: RowMap, limits: Limits) -> Facts:
    after: Facts = {**limits.over(row)}
    before: Facts = {name: row[name] for name in after}
    change.begin(before=before, after=after)
    return after
