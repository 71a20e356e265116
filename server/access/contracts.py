"""Administration of contracts."""

from server.access.bureau import SLUG, Bureau, Facts, contract_named, moment, require
from server.auth import records
from server.auth.certificates import certificate_pem, new_authority
from server.auth.records import RowMap
from server.auth.tables import CONTRACT, DEVICE, FOLDER, GROUP, LINE, LOGIN
from server.db.engine import Connection
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation

_PARTS = {"lines": LINE, "logins": LOGIN, "devices": DEVICE, "folders": FOLDER}


class Contracts:
    """`kagikura contract …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(self, name: str) -> Facts:
        """Add a contract with a device authority of its own.

        Raises:
            ValueError: Not a name for a contract.
            ExistsError: There is one.
        """
        require(SLUG, name, "contract")
        with self._bureau.change(Operation.ADMIN_CONTRACT_ADD) as change:
            change.about(name, contract=name)
            if records.find(change.connection, CONTRACT, name=name):
                raise ExistsError(f"There is a contract {name!r} already.")
            contract_id = records.new_id()
            facts: Facts = {"id": contract_id, "name": name}
            change.begin(after=facts)
            authority = new_authority(f"Kagikura devices of {name}")
            self._bureau.keys.keep_device_authority(contract_id, authority)
            records.add(
                change.connection,
                CONTRACT,
                id=contract_id,
                name=name,
                device_ca=certificate_pem(authority.certificate),
                added_us=change.now_us,
            )
        return facts

    def list(self) -> list[Facts]:
        """All contracts; a removed one stays listed until it is purged."""
        with self._bureau.read() as connection:
            living = [_shown(row) for row in records.listed(connection, CONTRACT)]
            removed = records.tombstones(connection, CONTRACT, purged_us=None)
            return living + [_shown(row) for row in removed]

    def show(self, name: str) -> Facts:
        """One contract, with how much it holds.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._bureau.read() as connection:
            row = contract_named(connection, name)
            facts = _shown(row)
            for word, table in _PARTS.items():
                facts[word] = records.count(connection, table, contract_id=row["id"])
        return facts

    def remove(self, name: str) -> Facts:
        """Remove a contract and cut its sessions; its files stay until `purge`.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._bureau.change(Operation.ADMIN_CONTRACT_REMOVE) as change:
            change.about(name, contract=name)
            row = contract_named(change.connection, name)
            change.begin(before=_shown(row))
            for table in (LINE, DEVICE, FOLDER, GROUP, LOGIN):
                records.bury(
                    change.connection, table, change.now_us, contract_id=row["id"]
                )
            records.bury(change.connection, CONTRACT, change.now_us, id=row["id"])
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, contract_id=row["id"]
        )
        return {"name": name, "id": row["id"], **cut}

    def change(self, name: str, *, retention_days: int) -> Facts:
        """Say how long a contract's records are kept.

        Args:
            name: Of the contract.
            retention_days: Days; `audit.retention_days` where that is longer, or 0.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._set(
            Operation.ADMIN_CONTRACT_CHANGE, name, retention_days=retention_days
        )

    def hold(self, name: str, reason: str) -> Facts:
        """Keep all records of a contract, however old, until `release`.

        Raises:
            ValueError: No reason is given.
            NotFoundError: There is none of this name.
        """
        if not reason.strip():
            raise ValueError("say why the records are held")
        now_us = self._bureau.clock.time_us()
        return self._set(
            Operation.ADMIN_CONTRACT_HOLD, name, hold=reason.strip(), hold_us=now_us
        )

    def release(self, name: str) -> Facts:
        """End a hold: the contract's records go when they are due.

        Raises:
            NotFoundError: There is none of this name, or it is not held.
        """
        return self._set(Operation.ADMIN_CONTRACT_RELEASE, name, hold="", hold_us=None)

    def _set(self, operation: Operation, name: str, **values: object) -> Facts:
        """Change a contract, living or removed: records outlive it."""
        with self._bureau.change(operation) as change:
            change.about(name, contract=name)
            row = _named(change.connection, name)
            if operation is Operation.ADMIN_CONTRACT_RELEASE and not row["hold"]:
                raise NotFoundError(f"Contract {name!r} is not held.")
            facts = _shown({**row, **values})
            change.begin(before=_shown(row), after=facts)
            records.change(change.connection, CONTRACT, row["id"], **values)
        return facts

    def purge(self, name: str) -> Facts:
        """Erase the files of removed contracts of this name, for good.

        Raises:
            NotFoundError: No removed contract of this name has files.
            ExistsError: A living contract has this name, and no removed one.
        """
        with self._bureau.change(Operation.ADMIN_CONTRACT_PURGE) as change:
            change.about(name, contract=name)
            found = records.tombstones(
                change.connection, CONTRACT, name=name, purged_us=None
            )
            if not found:
                if records.find(change.connection, CONTRACT, name=name):
                    raise ExistsError(f"Remove the contract {name!r} first.")
                raise NotFoundError(f"There is no removed contract {name!r}.")
            change.begin(before=[_shown(row) for row in found])
            for row in found:
                self._bureau.erase(row["id"])
                records.change(
                    change.connection, CONTRACT, row["id"], purged_us=change.now_us
                )
        return {"name": name, "purged": [row["id"] for row in found]}


def _named(connection: Connection, name: str) -> RowMap:
    """The living contract of a name, or the one that was removed last.

    Raises:
        NotFoundError: There never was one.
    """
    removed = records.tombstones(connection, CONTRACT, name=name)
    return records.find(connection, CONTRACT, name=name) or (
        removed[-1] if removed else contract_named(connection, name)
    )


def _shown(row: RowMap) -> Facts:
    return {
        "id": row["id"],
        "name": row["name"],
        "quota_bytes": row["quota_bytes"],
        "quota_files": row["quota_files"],
        "added": moment(row["added_us"]),
        "removed": moment(row["removed_us"]),
        "retention_days": row["retention_days"],
        "hold": row["hold"],
        "held": moment(row["hold_us"]),
    }
