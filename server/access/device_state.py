"""A device's row: finding it, showing it, and locking it.

Locking is apart from the rest of the administration because two may do it: an
administrator, and the person whose device it is.
"""

from collections.abc import Callable

from server.access.bureau import WAIT_S_MAX, Clerk, Facts, login_named, moment
from server.access.ledger import Change
from server.auth import records
from server.auth.records import RowMap
from server.auth.snapshot import DeviceState
from server.auth.tables import DEVICE, UNLOCK_WINDOW
from server.db.engine import Connection
from server.model.errors import NotFoundError
from server.model.operation import Operation

Permit = Callable[[RowMap], None]
"""Raises `RefusedError` unless this login's devices may be locked by the actor."""


def lock_device(
    clerk: Clerk,
    account: str,
    name: str,
    *,
    permit: Permit = lambda _login: None,
    wait_s: float = WAIT_S_MAX,
) -> Facts:
    """Lock a device, close its unlock windows and wait until its sessions are cut.

    Args:
        clerk: On whose behalf.
        account: `alice@contract`, or `alice` where there is one contract.
        name: The device's name within the login.
        permit: Whether the actor may.
        wait_s: How long to wait for the processes at most.

    Returns:
        The device, `sessions_cut`, `cut_ms` and `workers_pending`.

    Raises:
        NotFoundError: There is none.
        RefusedError: As `permit` says; recorded.
        UnavailableError: The accounts or the trail cannot be written.
    """
    with clerk.change(Operation.ADMIN_DEVICE_LOCK) as change:
        device_id, facts = _set(change, account, name, DeviceState.LOCKED, permit)
        records.erase(change.connection, UNLOCK_WINDOW, device_id=device_id)
    cut = clerk.wait_for_cut(
        change.revision, change.now_us, wait_s=wait_s, device_id=device_id
    )
    return {**facts, **cut}


def unlock_device(clerk: Clerk, account: str, name: str) -> Facts:
    """Let a locked device in again.

    Raises:
        NotFoundError: There is none.
    """
    with clerk.change(Operation.ADMIN_DEVICE_UNLOCK) as change:
        return _set(change, account, name, DeviceState.ACTIVE)[1]


def _set(
    change: Change,
    account: str,
    name: str,
    state: DeviceState,
    permit: Permit = lambda _login: None,
) -> tuple[str, Facts]:
    """Put a device into a state; its id, and the device as it is then."""
    change.about(f"{account}/{name}")
    contract, login, row = device_named(change.connection, account, name, permit)
    change.about(full_name_of(contract, login, row), contract["name"])
    facts = shown(contract, login, {**row, "state": str(state)})
    change.begin(before=shown(contract, login, row), after=facts)
    records.change(change.connection, DEVICE, row["id"], state=str(state))
    return row["id"], facts


def device_named(
    connection: Connection,
    account: str,
    name: str,
    permit: Permit = lambda _login: None,
) -> tuple[RowMap, RowMap, RowMap]:
    """A living device with its contract and login.

    Raises:
        NotFoundError: There is none.
        RefusedError: As `permit` says.
    """
    contract, login = login_named(connection, account)
    permit(login)
    row = records.find(connection, DEVICE, login_id=login["id"], name=name)
    if row is None:
        raise NotFoundError(f"{login['name']!r} has no device {name!r}.")
    return contract, login, row


def full_name_of(contract: RowMap, login: RowMap, row: RowMap) -> str:
    """As records name a device: `alice@contract/laptop`."""
    return f"{login['name']}@{contract['name']}/{row['name']}"


def shown(contract: RowMap, login: RowMap, row: RowMap) -> Facts:
    """A device without its secret."""
    return {
        "device": row["name"],
        "login": login["name"],
        "contract": contract["name"],
        "state": row["state"],
        "key_sha256": row["key_sha256"],
        "ssh": bool(row["ssh_key"]),
        "pinned_certificate": bool(row["certificate"]),
        "secret": "set" if row["secret_hash"] else "none",
        "owner": row["owner"],
        "note": row["note"],
        "weak_key": row["weak_key"],
        "charset": row["charset"],
        "valid_until": moment(row["valid_until_us"]),
        "added": moment(row["added_us"]),
    }
