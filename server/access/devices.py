"""Administration of devices: one key, whatever protocol carries it."""

from dataclasses import dataclass
from enum import StrEnum, unique

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    contract_named,
    login_named,
    moment,
    require,
)
from server.access.ledger import Change
from server.auth import certificates, keys, records
from server.auth.records import RowMap
from server.auth.secret import hash_secret, new_device_secret, new_enrolment_code
from server.auth.snapshot import DeviceState
from server.auth.tables import CONTRACT, DEVICE, LOGIN, UNLOCK_WINDOW
from server.db.engine import Connection
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation


@unique
class Package(StrEnum):
    """How an issued certificate leaves the store."""

    P12 = "p12"
    """Certificate and key under a password that is shown once."""
    PEM = "pem"
    """Certificate and, where it was made here, the key, unencrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a device is to be known by, as it was handed in."""

    ssh_key: str = ""
    """A line of a `.pub` file."""
    certificate: str = ""
    """A client certificate, PEM, of an authority of the client's own."""
    issue: Package | None = None
    """Make a certificate, and a key for it unless the device has an SSH key."""
    secret: bool = False
    """Make a secret for `[webdav.secret]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a client is to be given; nothing of it is kept in clear."""

    file: bytes = b""
    """The `.p12` or `.pem` file."""
    file_password: str = ""
    secret: str = ""
    ssh_private_key: str = ""
    """The same key in OpenSSH's format, when it was made here."""


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
        *,
        valid_until_us: int | None = None,
    ) -> tuple[Facts, Issued]:
        """Register a device, or add what is missing to a registered one.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            name: The device's name within the login.
            offer: What it is to be known by.
            valid_until_us: When it ends; None: never, or as before.

        Returns:
            The device, and what the client is to be given.

        Raises:
            ValueError: A name or key that is not acceptable (`KeyRefusedError`).
            NotFoundError: No such login.
            ExistsError: The key is another device's, or the device has another key.
        """
        require(ITEM_NAME, name, "device")
        ssh_key, certificate, key_sha256 = _read(offer)
        with self._bureau.change(Operation.ADMIN_DEVICE_ADD) as change:
            change.about(f"{account}/{name}")
            contract, login = login_named(change.connection, account)
            full_name = f"{login['name']}@{contract['name']}/{name}"
            change.about(full_name, contract["name"])
            old = records.find(
                change.connection, DEVICE, login_id=login["id"], name=name
            )
            row = old or _blank(change, login, name)
            new: RowMap = {
                **row,
                "ssh_key": ssh_key or row["ssh_key"],
                "certificate": certificate or row["certificate"],
                "key_sha256": key_sha256 or row["key_sha256"],
                "valid_until_us": valid_until_us or row["valid_until_us"],
            }
            _require_one_key(row, new)
            issued = self._issue(offer, contract, new, full_name)
            _require_own_key(change.connection, new)
            facts = _shown(contract, login, new)
            change.begin(
                before=_shown(contract, login, old) if old else None, after=facts
            )
            if old:
                records.change(change.connection, DEVICE, new["id"], **new)
            else:
                records.add(change.connection, DEVICE, **new)
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
            return [
                _shown(owner, login, device)
                for owner in owners
                for login in records.listed(connection, LOGIN, contract_id=owner["id"])
                for device in records.listed(connection, DEVICE, login_id=login["id"])
            ]

    def show(self, account: str, name: str) -> Facts:
        """One device, with its public key and certificate.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.read() as connection:
            contract, login, row = _named(connection, account, name)
        return {
            **_shown(contract, login, row),
            "id": row["id"],
            "ssh_key": row["ssh_key"],
            "certificate_pem": row["certificate"],
        }

    def approve(self, account: str, name: str) -> Facts:
        """Let a pending device in.

        Raises:
            NotFoundError: There is none.
        """
        return self._set(
            Operation.ADMIN_DEVICE_APPROVE, account, name, DeviceState.ACTIVE
        )

    def lock(self, account: str, name: str) -> Facts:
        """Lock a lost device and cut its sessions.

        Returns:
            The device, `sessions_cut`, `cut_ms` and `workers_pending`.

        Raises:
            NotFoundError: There is none.
        """
        return self._set(Operation.ADMIN_DEVICE_LOCK, account, name, DeviceState.LOCKED)

    def unlock(self, account: str, name: str) -> Facts:
        """Let a locked device in again.

        Raises:
            NotFoundError: There is none.
        """
        return self._set(
            Operation.ADMIN_DEVICE_UNLOCK, account, name, DeviceState.ACTIVE
        )

    def remove(self, account: str, name: str) -> Facts:
        """Remove a device and cut its sessions.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.change(Operation.ADMIN_DEVICE_REMOVE) as change:
            change.about(f"{account}/{name}")
            contract, login, row = _named(change.connection, account, name)
            change.about(_full_name(contract, login, row), contract["name"])
            change.begin(before=_shown(contract, login, row))
            records.erase(change.connection, UNLOCK_WINDOW, device_id=row["id"])
            records.bury(change.connection, DEVICE, change.now_us, id=row["id"])
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, device_id=row["id"]
        )
        return {"device": name, "login": login["name"], **cut}

    def _set(
        self, operation: Operation, account: str, name: str, state: DeviceState
    ) -> Facts:
        with self._bureau.change(operation) as change:
            change.about(f"{account}/{name}")
            contract, login, row = _named(change.connection, account, name)
            change.about(_full_name(contract, login, row), contract["name"])
            facts = _shown(contract, login, {**row, "state": str(state)})
            change.begin(before=_shown(contract, login, row), after=facts)
            records.change(change.connection, DEVICE, row["id"], state=str(state))
            if state is DeviceState.LOCKED:
                records.erase(change.connection, UNLOCK_WINDOW, device_id=row["id"])
        if state is DeviceState.LOCKED:
            cut = self._bureau.wait_for_cut(
                change.revision, change.now_us, device_id=row["id"]
            )
            facts = {**facts, **cut}
        return facts

    def _issue(
        self, offer: Offer, contract: RowMap, row: RowMap, full_name: str
    ) -> Issued:
        """Make what was asked for and put its public half into `row`."""
        secret = ""
        if offer.secret:
            secret = new_device_secret()
            row["secret_hash"] = hash_secret(secret)
        if offer.issue is None:
            return Issued(secret=secret)
        authority = self._bureau.keys.device_authority(
            contract["id"], contract["device_ca"]
        )
        if row["key_sha256"]:
            return _issue_for_known_key(authority, offer.issue, row, full_name, secret)
        key = certificates.new_key()
        row["ssh_key"], row["key_sha256"] = keys.parse_ssh_key(
            certificates.ssh_public(key)
        )
        certificate = certificates.issue_device(authority, full_name, key.public_key())
        ssh_private_key = certificates.ssh_private(key)
        if offer.issue is Package.PEM:
            pem = certificates.key_pem(key) + certificates.certificate_pem(certificate)
            return Issued(
                file=pem.encode(), secret=secret, ssh_private_key=ssh_private_key
            )
        password = new_enrolment_code()
        packed = certificates.pack_pkcs12(
            authority, certificate, key, name=full_name, password=password
        )
        return Issued(
            file=packed,
            file_password=password,
            secret=secret,
            ssh_private_key=ssh_private_key,
        )


def _issue_for_known_key(
    authority: certificates.Authority,
    package: Package,
    row: RowMap,
    full_name: str,
    secret: str,
) -> Issued:
    """A certificate for an SSH key whose private half stays with its owner."""
    if not row["ssh_key"] or package is Package.P12:
        raise ExistsError(
            "This device's private key is not here, so no .p12 can be made: ask for a "
            ".pem (the certificate alone, to be used with the device's own key), or "
            "take another device name and let a new key be made."
        )
    key = certificates.public_key_of(row["ssh_key"])
    certificate = certificates.issue_device(authority, full_name, key)
    return Issued(
        file=certificates.certificate_pem(certificate).encode(), secret=secret
    )


def _read(offer: Offer) -> tuple[str, str, str]:
    """The SSH key, the certificate, and the one key that both are of.

    Raises:
        ValueError: Nothing is offered, or two keys (`KeyRefusedError`).
    """
    if not (offer.ssh_key or offer.certificate or offer.issue or offer.secret):
        raise ValueError(
            "say what the device is known by: an SSH key, a certificate, an issued "
            "certificate or a secret"
        )
    ssh_key, key_sha256 = "", ""
    if offer.ssh_key:
        ssh_key, key_sha256 = keys.parse_ssh_key(offer.ssh_key)
    if not offer.certificate:
        return ssh_key, "", key_sha256
    certificate, certified = keys.parse_certificate(offer.certificate)
    if key_sha256 and certified != key_sha256:
        raise keys.KeyRefusedError(
            "SSH key and certificate are of two keys: give each its own device name"
        )
    return ssh_key, certificate, certified


def _require_one_key(row: RowMap, new: RowMap) -> None:
    if row["key_sha256"] and row["key_sha256"] != new["key_sha256"]:
        raise ExistsError(
            f"The device {row['name']!r} has another key: add this one under another "
            "device name, or remove the device first."
        )


def _require_own_key(connection: Connection, row: RowMap) -> None:
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


def _named(
    connection: Connection, account: str, name: str
) -> tuple[RowMap, RowMap, RowMap]:
    contract, login = login_named(connection, account)
    row = records.find(connection, DEVICE, login_id=login["id"], name=name)
    if row is None:
        raise NotFoundError(f"{login['name']!r} has no device {name!r}.")
    return contract, login, row


def _blank(change: Change, login: RowMap, name: str) -> RowMap:
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
        "added_us": change.now_us,
    }


def _full_name(contract: RowMap, login: RowMap, row: RowMap) -> str:
    return f"{login['name']}@{contract['name']}/{row['name']}"


def _shown(contract: RowMap, login: RowMap, row: RowMap) -> Facts:
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
        "valid_until": moment(row["valid_until_us"]),
        "added": moment(row["added_us"]),
    }
