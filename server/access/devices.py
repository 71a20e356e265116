"""Administration of devices: one key, whatever protocol carries it."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from server.access.device_state import (
    device_named,
    full_name_of,
    lock_device,
    shown,
    unlock_device,
)
from server.access.issuing import (
    Issued,
    Offer,
    P12Encryption,
    Package,
    issue,
    read_offer,
    require_strength,
)
from server.access.kit.contents import System
from server.access.ledger import Change
from server.auth import keys, live, records
from server.auth.records import RowMap
from server.auth.snapshot import DeviceState
from server.auth.tables import (
    CONTRACT,
    DEVICE,
    DEVICE_USE,
    LOGIN,
    PENDING_KEY,
    UNLOCK_WINDOW,
)
from server.db.engine import Connection
from server.model.charset import Charset
from server.model.errors import ExistsError, NotFoundError, RefusedError
from server.model.event import Json
from server.model.identity import LoginKind
from server.model.operation import Operation, Stage

__all__ = ["Devices", "Issued", "Offer", "P12Encryption", "Package", "Particulars"]

NOTE_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What an administrator notes of a device; None leaves it as it is."""

    owner: str | None = None
    note: str | None = None
    valid_until_us: int | None = None
    charset: Charset | None = None
    """How it writes names over SFTP."""

    def values(self) -> RowMap:
        """The columns that change.

        Raises:
            ValueError: A text is too long or holds control characters.
        """
        for text in (self.owner or "", self.note or ""):
            if len(text) > NOTE_CHARACTERS_MAX or not all(map(str.isprintable, text)):
                raise ValueError(
                    f"owner and note are one line of at most {NOTE_CHARACTERS_MAX} "
                    "characters"
                )
        told = {
            "owner": self.owner,
            "note": self.note,
            "valid_until_us": self.valid_until_us,
            "charset": self.charset and str(self.charset),
        }
        return {name: value for name, value in told.items() if value is not None}


_UNCHANGED: Final = Particulars()
_NOTHING_MORE: Final[Mapping[str, Json]] = {}


class Devices:
    """`kagikura device …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(
        self,
        account: str,
        name: str,
        offer: Offer,
        particulars: Particulars = _UNCHANGED,
    ) -> tuple[Facts, Issued]:
        """Register a device, or add what is missing to a registered one.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            name: The device's name within the login.
            offer: What it is to be known by; may be empty for a registered one.
            particulars: Owner, note and end.

        Returns:
            The device, and what the client is to be given.

        Raises:
            ValueError: A name, key or text is not acceptable (`KeyRefusedError`).
            NotFoundError: No such login.
            ExistsError: The key is another device's, or the device has another key.
        """
        require(ITEM_NAME, name, "device")
        if offer == Offer() and particulars == Particulars():
            raise ValueError(_NOTHING)
        values = {**read_offer(offer), **particulars.values()}
        with self._bureau.change(Operation.ADMIN_DEVICE_ADD) as change:
            contract, login, old = _meant(change, account, name)
            if old is None and offer == Offer():
                raise NotFoundError(f"{login['name']!r} has no device {name!r}.")
            row = old or blank(change, login, name)
            new: RowMap = {**row, **values}
            _require_one_key(row, new)
            require_strength(login["kind"], new)
            issued = self._issue(offer, contract, login, new)
            facts = _keep(change, contract, login, old, new)
        return facts, issued

    def kit(
        self, account: str, name: str, system: System, *, secret: bool | None = None
    ) -> tuple[Facts, Issued]:
        """Prepare a person's device for a mapping kit; register it if it is new.

        A new one gets a key, which leaves the store with the kit. The key of one that
        is registered is with its owner, so its kit has settings alone.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            name: The device's name within the login.
            system: What it runs; for the record.
            secret: Make a device secret in the place of any other; None: for a new
                device alone.

        Returns:
            The device, and what the client is to be given.

        Raises:
            ValueError: The name is not acceptable.
            NotFoundError: No such login.
            RefusedError: The login is no person with files.
        """
        require(ITEM_NAME, name, "device")
        with self._bureau.change(Operation.ADMIN_DEVICE_KIT) as change:
            contract, login, old = _meant(change, account, name)
            if login["kind"] not in {LoginKind.USER, LoginKind.ADMIN}:
                raise RefusedError(_NO_PERSON, stage=Stage.LOGIN, rule="no_person")
            wanted = old is None if secret is None else secret
            offer = Offer(issue=None if old else Package.P12, secret=wanted)
            new = dict(old or blank(change, login, name))
            issued = self._issue(offer, contract, login, new)
            facts = _keep(change, contract, login, old, new, {"kit": str(system)})
        return facts, issued

    def list(self, contract: str | None = None) -> list[Facts]:
        """The devices of one contract, or of all.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owners = (
                [contract_named(connection, contract)]
                if contract
                else records.listed(connection, CONTRACT)
            )
            uses = records.by(connection, DEVICE_USE, "device_id")
            return [
                {
                    **shown(owner, login, device),
                    "last_used": moment(uses.get(device["id"], _NEVER)["last_us"]),
                }
                for owner in owners
                for login in records.listed(connection, LOGIN, contract_id=owner["id"])
                for device in records.listed(connection, DEVICE, login_id=login["id"])
            ]

    def show(self, account: str, name: str) -> Facts:
        """One device, with its public key, certificate, first and last use.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.read() as connection:
            contract, login, row = device_named(connection, account, name)
            used = records.find(connection, DEVICE_USE, device_id=row["id"])
        ssh_key = row["ssh_key"]
        return {
            **shown(contract, login, row),
            "first_use": _use(used, "first"),
            "last_use": _use(used, "last"),
            "id": row["id"],
            "fingerprint": keys.ssh_fingerprint(ssh_key) if ssh_key else "",
            "ssh_key": ssh_key,
            "certificate_pem": row["certificate"],
        }

    def lock(self, account: str, name: str) -> Facts:
        """Lock a lost device and cut its sessions.

        Returns:
            The device, `sessions_cut`, `cut_ms` and `workers_pending`.

        Raises:
            NotFoundError: There is none.
        """
        return lock_device(self._bureau, account, name)

    def unlock(self, account: str, name: str) -> Facts:
        """Let a locked device in again.

        Raises:
            NotFoundError: There is none.
        """
        return unlock_device(self._bureau, account, name)

    def remove(self, account: str, name: str) -> Facts:
        """Remove a device and cut its sessions.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.change(Operation.ADMIN_DEVICE_REMOVE) as change:
            change.about(f"{account}/{name}")
            contract, login, row = device_named(change.connection, account, name)
            change.about(full_name_of(contract, login, row), contract["name"])
            change.begin(before=shown(contract, login, row))
            records.erase(change.connection, UNLOCK_WINDOW, device_id=row["id"])
            records.bury(change.connection, DEVICE, change.now_us, id=row["id"])
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, device_id=row["id"]
        )
        return {"device": name, "login": login["name"], **cut}

    def _issue(
        self, offer: Offer, contract: RowMap, login: RowMap, row: RowMap
    ) -> Issued:
        authority = self._bureau.keys.device_authority(
            contract["id"], contract["device_ca"]
        )
        return issue(offer, authority, row, full_name_of(contract, login, row))


def _meant(
    change: Change, account: str, name: str
) -> tuple[RowMap, RowMap, RowMap | None]:
    """The contract and login that a change is about, and the device if there is one."""
    change.about(f"{account}/{name}")
    contract, login = login_named(change.connection, account)
    change.about(f"{login['name']}@{contract['name']}/{name}", contract["name"])
    old = records.find(change.connection, DEVICE, login_id=login["id"], name=name)
    return contract, login, old


def _keep(
    change: Change,
    contract: RowMap,
    login: RowMap,
    old: RowMap | None,
    new: RowMap,
    told: Mapping[str, Json] = _NOTHING_MORE,
) -> Facts:
    """Write a device that is new or has changed; `told` goes into the record too."""
    require_own_key(change.connection, new)
    facts = shown(contract, login, new)
    before = shown(contract, login, old) if old else None
    change.begin(before=before, after={**facts, **told})
    if old:
        records.change(change.connection, DEVICE, new["id"], **new)
        if old["secret_hash"] not in {None, new["secret_hash"]}:
            live.ask_cut_of_device(change.connection, new["id"], change.now_us)
    else:
        records.add(change.connection, DEVICE, **new)
    records.erase(
        change.connection,
        PENDING_KEY,
        login_id=login["id"],
        key_sha256=new["key_sha256"],
    )
    return facts


def _require_one_key(row: RowMap, new: RowMap) -> None:
    if row["key_sha256"] and row["key_sha256"] != new["key_sha256"]:
        raise ExistsError(
            f"The device {row['name']!r} has another key: add this one under another "
            "device name, or remove the device first."
        )


def require_own_key(connection: Connection, row: RowMap) -> None:
    """Refuse a key that is another device's.

    Raises:
        ExistsError: It is.
    """
    if not row["key_sha256"]:
        return
    other = records.find(
        connection,
        DEVICE,
        contract_id=row["contract_id"],
        key_sha256=row["key_sha256"],
    )
    if other is not None and other["id"] != row["id"]:
        raise ExistsError(
            f"This key is already that of the device {other['name']!r}; a key stands "
            "for one device of one login."
        )


def blank(change: Change, login: RowMap, name: str) -> RowMap:
    return {
        "id": records.new_id(),
        "contract_id": login["contract_id"],
        "login_id": login["id"],
        "name": name,
        "state": str(DeviceState.ACTIVE),
        "ssh_key": "",
        "key_sha256": "",
        "certificate": "",
        "secret_hash": None,
        "valid_until_us": None,
        "owner": "",
        "note": "",
        "weak_key": False,
        "charset": str(Charset.UTF8),
        "added_us": change.now_us,
    }


def _use(row: RowMap | None, when: str) -> Facts | None:
    """The first or the last use of a device."""
    if row is None:
        return None
    told: Facts = {"time": moment(row[f"{when}_us"])}
    for what in ("line", "source", "protocol", "client"):
        told[what] = row[f"{when}_{what}"]
    return told


_NEVER: Final[RowMap] = {"last_us": None}
_NO_PERSON: Final = "A kit maps a drive for a person; this login is none with files."
_NOTHING: Final = (
    "say what the device is known by: an SSH key, a certificate, an issued certificate "
    "or a secret"
)
