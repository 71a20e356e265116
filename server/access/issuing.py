"""What a device is known by, and what a client is given to be known by it."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from server.auth import certificates, keys
from server.auth.certificates import Authority
from server.auth.records import RowMap
from server.auth.secret import hash_secret, new_device_secret, new_enrolment_code
from server.model.errors import ExistsError, RefusedError
from server.model.identity import LoginKind
from server.model.operation import Stage


@unique
class Package(StrEnum):
    """How an issued certificate leaves the store."""

    P12 = "p12"
    """Certificate and key under a password that is shown once."""
    PEM = "pem"
    """Certificate and, where it was made here, the key, unencrypted."""


@unique
class P12Encryption(StrEnum):
    """Who has to open a `.p12`."""

    COMPATIBLE = "compatible"
    """Everyone: 3DES, for older Windows, macOS and phones too."""
    MODERN = "modern"
    """AES-256: Windows from 10 (1709), macOS from 15, OpenSSL, Firefox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a device is to be known by, as it was handed in."""

    ssh_key: str = ""
    """A line of a `.pub` file."""
    certificate: str = ""
    """A client certificate, PEM, of an authority of the client's own."""
    issue: Package | None = None
    """Make a certificate, and a key for it unless the device has an SSH key."""
    p12: P12Encryption = P12Encryption.COMPATIBLE
    secret: bool = False
    """Make a secret for `[webdav.secret]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a client is to be given; nothing of it is kept in clear."""

    file: bytes = b""
    """The `.p12` or `.pem` file."""
    file_password: str = ""
    pem: str = ""
    """Key and certificate, unencrypted, when they were made here."""
    secret: str = ""
    ssh_private_key: str = ""
    """The same key in OpenSSH's format, when it was made here."""


def read_offer(offer: Offer) -> RowMap:
    """The columns that an offer's keys fill: key, certificate, the one name of both.

    Raises:
        KeyRefusedError: No key that a device may have, or two keys.
    """
    row: RowMap = {}
    if offer.ssh_key:
        key = keys.read_ssh_key(offer.ssh_key)
        row = {"ssh_key": key.ssh_key, "key_sha256": key.sha256, "weak_key": key.weak}
    if not offer.certificate:
        return row
    certificate, certified = keys.parse_certificate(offer.certificate)
    if row and certified != row["key_sha256"]:
        raise keys.KeyRefusedError(
            "SSH key and certificate are of two keys: give each its own device name"
        )
    return {**row, "certificate": certificate, "key_sha256": certified}


def require_strength(kind: str, row: RowMap) -> None:
    """Refuse a weak key, except a machine's.

    Raises:
        RefusedError: RSA below 2048 bits for a person.
    """
    if row["weak_key"] and kind != LoginKind.INTAKE:
        raise RefusedError(_WEAK, stage=Stage.DEVICE, rule="weak_key")


def issue(offer: Offer, authority: Authority, row: RowMap, full_name: str) -> Issued:
    """Make what was asked for and put its public half into `row`.

    Raises:
        ExistsError: The device's key is its own, so what was asked for is impossible.
    """
    secret = ""
    if offer.secret:
        secret = new_device_secret()
        row["secret_hash"] = hash_secret(secret)
    if offer.issue is None:
        return Issued(secret=secret)
    if row["key_sha256"]:
        return _for_known_key(authority, offer.issue, row, full_name, secret)
    key = certificates.new_key()
    row["ssh_key"], row["key_sha256"] = keys.parse_ssh_key(certificates.ssh_public(key))
    certificate = certificates.issue_device(authority, full_name, key.public_key())
    ssh_private_key = certificates.ssh_private(key)
    pem = certificates.key_pem(key) + certificates.certificate_pem(certificate)
    if offer.issue is Package.PEM:
        return Issued(
            file=pem.encode(), pem=pem, secret=secret, ssh_private_key=ssh_private_key
        )
    password = new_enrolment_code()
    packed = certificates.pack_pkcs12(
        authority,
        certificate,
        key,
        name=full_name,
        password=password,
        modern=offer.p12 is P12Encryption.MODERN,
    )
    return Issued(
        file=packed,
        file_password=password,
        pem=pem,
        secret=secret,
        ssh_private_key=ssh_private_key,
    )


def _for_known_key(
    authority: Authority, package: Package, row: RowMap, full_name: str, secret: str
) -> Issued:
    """A certificate for an SSH key whose private half stays with its owner."""
    if not row["ssh_key"] or package is Package.P12:
        raise ExistsError(
            "This device's private key is not here, so no .p12 can be made: ask for a "
            ".pem (the certificate alone, to be used with the device's own key), or "
            "take another device name and let a new key be made."
        )
    if row["weak_key"]:
        raise ExistsError("This device's key is too short for a certificate.")
    key = certificates.public_key_of(row["ssh_key"])
    certificate = certificates.issue_device(authority, full_name, key)
    return Issued(
        file=certificates.certificate_pem(certificate).encode(), secret=secret
    )


_WEAK: Final = (
    "An RSA key needs at least 2048 bits; only an intake login may have a shorter one, "
    "and uses it on a line with old algorithms alone."
)
