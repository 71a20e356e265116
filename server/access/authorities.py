"""Authorities of an office's own that sign its devices' certificates."""

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    contract_named,
    moment,
    require,
)
from server.auth import certificates, records
from server.auth.records import RowMap
from server.auth.tables import CONTRACT, DEVICE_CA
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation


class Authorities:
    """`kagikura device ca …`.

    A handshake takes what a registered authority signed; that proves a key, no more.
    Which device it is, and whether it may come in, the device's record says: a key that
    is not registered shows up as pending.
    """

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(self, contract: str, name: str, certificate: str) -> Facts:
        """Trust an authority for the certificates of a contract's devices.

        Args:
            contract: Whose devices.
            name: A name for it, within the contract.
            certificate: PEM.

        Raises:
            ValueError: No authority's certificate (`KeyRefusedError`), or a bad name.
            NotFoundError: No such contract.
            ExistsError: The contract has an authority of this name.
        """
        require(ITEM_NAME, name, "certificate authority")
        pem = certificates.parse_authority(certificate)
        with self._bureau.change(Operation.ADMIN_DEVICE_CA_ADD) as change:
            change.about(f"{contract}/{name}", contract=contract)
            owner = contract_named(change.connection, contract)
            where = {"contract_id": owner["id"], "name": name}
            if records.find(change.connection, DEVICE_CA, **where):
                raise ExistsError(f"{contract!r} has an authority {name!r} already.")
            row: RowMap = {
                "id": records.new_id(),
                **where,
                "certificate": pem,
                "added_us": change.now_us,
            }
            facts = _shown(owner, row)
            change.begin(after=facts)
            records.add(change.connection, DEVICE_CA, **row)
        return facts

    def list(self, contract: str | None = None) -> list[Facts]:
        """The authorities of one contract, or of all.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owners = (
                [contract_named(connection, contract)]
                if contract
                else records.listed(connection, CONTRACT)
            )
            return [
                _shown(owner, row)
                for owner in owners
                for row in records.listed(
                    connection, DEVICE_CA, contract_id=owner["id"]
                )
            ]

    def remove(self, contract: str, name: str) -> Facts:
        """Trust an authority no more; its devices stay registered.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.change(Operation.ADMIN_DEVICE_CA_REMOVE) as change:
            change.about(f"{contract}/{name}", contract=contract)
            owner = contract_named(change.connection, contract)
            row = records.find(
                change.connection, DEVICE_CA, contract_id=owner["id"], name=name
            )
            if row is None:
                raise NotFoundError(f"{contract!r} has no authority {name!r}.")
            facts = _shown(owner, row)
            change.begin(before=facts)
            records.bury(change.connection, DEVICE_CA, change.now_us, id=row["id"])
        return facts


def _shown(contract: RowMap, row: RowMap) -> Facts:
    return {
        "contract": contract["name"],
        "name": row["name"],
        **certificates.described(row["certificate"]),
        "added": moment(row["added_us"]),
    }
