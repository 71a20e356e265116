"""Keys that wait for approval, and approving them: `kagikura device approve`."""

from typing import Final

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    contract_named,
    login_named,
    moment,
    require,
)
from server.access.device_state import shown
from server.access.devices import blank, require_own_key
from server.access.issuing import require_strength
from server.access.ledger import Change
from server.access.pending import DAY_US
from server.auth import keys, records
from server.auth.pending import pending_of
from server.auth.records import RowMap
from server.auth.snapshot import DeviceState
from server.auth.tables import CONTRACT, DEVICE, LOGIN, PENDING_KEY
from server.db.engine import Connection
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation

_PREFIX: Final = "pending-"
_LABEL_CHARACTERS: Final = 8


class Approval:
    """`kagikura device list --pending` and `kagikura device approve`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def waiting(self, contract: str | None = None) -> list[Facts]:
        """The keys that right passwords came with and that are nobody's yet.

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
                _shown(owner, login, row)
                for owner in owners
                for login in records.listed(connection, LOGIN, contract_id=owner["id"])
                for row in self._keys_of(connection, login)
            ]

    def approve(self, account: str, key: str, name: str = "") -> Facts:
        """Make a device of a pending key.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            key: Its label in the list, or the beginning of its fingerprint.
            name: The device's name; empty: the label.

        Raises:
            ValueError: The name is not acceptable, or the key too weak.
            NotFoundError: No such login, or no such key of it.
            ExistsError: The key is a device's already, or the name is taken.
        """
        with self._bureau.change(Operation.ADMIN_DEVICE_APPROVE) as change:
            change.about(f"{account}/{name or key}")
            contract, login = login_named(change.connection, account)
            row = self._one(change.connection, login, key)
            wanted = require(ITEM_NAME, name or _label(row), "device")
            change.about(
                f"{login['name']}@{contract['name']}/{wanted}", contract["name"]
            )
            return self._make(change, contract, login, (wanted, row))

    def _make(
        self,
        change: Change,
        contract: RowMap,
        login: RowMap,
        approved: tuple[str, RowMap],
    ) -> Facts:
        name, row = approved
        if records.find(change.connection, DEVICE, login_id=login["id"], name=name):
            raise ExistsError(f"{login['name']!r} has a device {name!r} already.")
        device: RowMap = {
            **blank(change, login, name),
            "ssh_key": row["ssh_key"],
            "key_sha256": row["key_sha256"],
            "weak_key": row["weak_key"],
            "state": str(DeviceState.ACTIVE),
        }
        require_own_key(change.connection, device)
        require_strength(login["kind"], device)
        facts = shown(contract, login, device)
        change.begin(after=facts)
        records.add(change.connection, DEVICE, **device)
        records.erase(
            change.connection,
            PENDING_KEY,
            login_id=login["id"],
            key_sha256=row["key_sha256"],
        )
        return facts

    def _one(self, connection: Connection, login: RowMap, key: str) -> RowMap:
        found = [
            row
            for row in self._keys_of(connection, login)
            if _label(row) == key
            or row["key_sha256"].startswith(key.removeprefix(_PREFIX).lower())
            or (row["ssh_key"] and keys.ssh_fingerprint(row["ssh_key"]) == key)
        ]
        if len(key.removeprefix(_PREFIX)) < _LABEL_CHARACTERS or not found:
            raise NotFoundError(
                f"{login['name']!r} has no pending key {key!r}; see `kagikura device "
                "list --pending`."
            )
        if len(found) > 1:
            raise ExistsError(f"{key!r} is the beginning of several keys: write more.")
        return found[0]

    def _keys_of(self, connection: Connection, login: RowMap) -> list[RowMap]:
        now_us = self._bureau.clock.time_us()
        since_us = now_us - self._bureau.settings.pending_days * DAY_US
        return pending_of(connection, login["id"], since_us)


def _label(row: RowMap) -> str:
    return f"{_PREFIX}{row['key_sha256'][:_LABEL_CHARACTERS]}"


def _shown(contract: RowMap, login: RowMap, row: RowMap) -> Facts:
    ssh_key = row["ssh_key"]
    return {
        "login": login["name"],
        "contract": contract["name"],
        "key": _label(row),
        "fingerprint": keys.ssh_fingerprint(ssh_key) if ssh_key else "",
        "key_sha256": row["key_sha256"],
        "subject": row["subject"],
        "proved": row["proved"],
        "weak_key": row["weak_key"],
        "line": row["line"],
        "source": row["source"],
        "protocol": row["protocol"],
        "client": row["client"],
        "first": moment(row["first_us"]),
        "last": moment(row["last_us"]),
        "tries": row["tries"],
        "ssh_key": ssh_key,
    }
