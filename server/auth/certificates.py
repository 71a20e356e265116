"""X.509 for a store without an authority of its own: two small ones, made here.

The *server authority* signs the server's certificate, which clients install once. Each
contract has a *device authority* that signs the certificates of its devices. All keys
are ECDSA P-256: every TLS client of the last ten years takes it (Windows and macOS
still refuse Ed25519), and OpenSSH takes the same key as `ecdsa-sha2-nistp256`.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.auth.keys import KeyRefusedError, PublicKey, parse_certificate

_AUTHORITY_DAYS: Final = 3650
_SERVER_DAYS: Final = 397
"""The longest that Apple's clients take (CA/Browser Forum's older limit)."""
_DEVICE_DAYS: Final = 1825
RENEW_DAYS: Final = 30
_BACKDATED: Final = timedelta(hours=1)
_COMMON_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: str, key: str) -> "Authority":
        """Read both from PEM.

        Raises:
            ValueError: Not what `write` wrote.
        """
        return cls(x509.load_pem_x509_certificate(certificate.encode()), load_key(key))


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key pair."""
    return ec.generate_private_key(ec.SECP256R1())


def load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Read a private key that we made.

    Raises:
        ValueError: Not an EC key in PEM.
    """
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC private key")  # noqa: TRY004 - the content is wrong
    return key


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as PKCS#8, PEM, unencrypted: the file's mode protects it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def certificate_pem(certificate: x509.Certificate) -> str:
    """A certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def ssh_public(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half in SSH's one-line form."""
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode()


def ssh_private(key: ec.EllipticCurvePrivateKey) -> str:
    """The private half in OpenSSH's own format."""
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    ).decode()


def new_authority(name: str) -> Authority:
    """Make an authority that signs end certificates only."""
    key = new_key()
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue_server(
    authority: Authority, names: Sequence[str], key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Sign a server certificate for host names and addresses."""
    return (
        _issued(authority, names[0], key.public_key(), _SERVER_DAYS)
        .add_extension(
            x509.SubjectAlternativeName([general_name(name) for name in names]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )


def issue_device(authority: Authority, name: str, key: PublicKey) -> x509.Certificate:
    """Sign a device's client certificate.

    Its end is that of the technical life; the device record says when it is locked or
    expires, and is asked at every login.
    """
    return (
        _issued(authority, name, key, _DEVICE_DAYS)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )


def public_key_of(ssh_key: str) -> PublicKey:
    """The key of a line that `parse_ssh_key` returned."""
    key = load_ssh_public_key(ssh_key.encode())
    assert isinstance(key, PublicKey)  # noqa: S101 - parse_ssh_key let no other pass
    return key


def pack_pkcs12(
    authority: Authority,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    password: str,
    modern: bool = False,
) -> bytes:
    """Key, certificate and authority as a `.p12`.

    3DES and SHA-1 unless `modern`, because the importers of older macOS, Windows and
    phones take nothing newer; what protects the file is its random password of 100
    bits.
    """
    algorithm, digest = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1()  # noqa: S303 - see above
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(50_000)
    encryption = (
        builder
        .key_cert_algorithm(
            pkcs12.PBES.PBESv2SHA256AndAES256CBC if modern else algorithm
        )
        .hmac_hash(hashes.SHA256() if modern else digest)
        .build(password.encode())
    )
    return pkcs12.serialize_key_and_certificates(
        name.encode(), key, certificate, [authority.certificate], encryption
    )


def parse_authority(text: str) -> str:
    """Read the certificate of an authority that others run; the same as PEM alone.

    Raises:
        KeyRefusedError: Not a certificate, or of none that may sign others.
    """
    pem, _ = parse_certificate(text)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    try:
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
    except (x509.ExtensionNotFound, ValueError) as error:
        raise KeyRefusedError("this certificate does not say CA:TRUE") from error
    if not constraints.value.ca:
        raise KeyRefusedError("this certificate does not say CA:TRUE")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise KeyRefusedError("this certificate has expired")
    return pem


def described(pem: str) -> dict[str, str]:
    """A certificate's subject, end and SHA-256, for people."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return {
        "subject": certificate.subject.rfc4514_string(),
        "valid_until": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def names_of(certificate: x509.Certificate) -> set[str]:
    """The host names and addresses that a server certificate is for."""
    extension = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return {str(name.value) for name in extension.value}


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address as certificates hold it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _issued(
    authority: Authority, name: str, key: PublicKey, days: int
) -> x509.CertificateBuilder:
    issuer = authority.certificate.subject
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        authority.key.public_key()
    )
    return (
        _builder(_name(name), issuer, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(authority_key, critical=False)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509
        .CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kagikura"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_MAX]),
    ])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
