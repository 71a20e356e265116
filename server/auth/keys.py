"""One name for a device's key, whatever protocol carries it.

The SHA-256 of the SubjectPublicKeyInfo (DER) is the same for an SSH public key and for
a TLS certificate of the same key pair (RFC 5280 section 4.1.2.7).
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_BITS_MIN: Final = 2048
WEAK_RSA_BITS_MIN: Final = 1024
"""For the machine of an intake login on a line with old algorithms."""
_BLOB_BYTES_MAX: Final = 16384
_RSA_SIGNATURES: Final = frozenset({"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"})
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class KeyRefusedError(ValueError):
    """A key that no device may have; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedKey:
    """A public key as a client offers it or a file holds it."""

    ssh_key: str
    """`type base64`, without a comment."""
    sha256: str
    """Of its SubjectPublicKeyInfo, lower-case hexadecimal."""
    weak: bool
    """RSA of fewer bits than people may have."""


def spki_sha256(key: PublicKey) -> str:
    """SHA-256 of a key's SubjectPublicKeyInfo, lower-case hexadecimal."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def offered_key(algorithm: str, blob: bytes) -> OfferedKey:
    """Read the key that an SSH client offers (RFC 4252 section 7).

    Args:
        algorithm: The public-key algorithm of the request.
        blob: The public key in SSH's own encoding (RFC 4253 section 6.6).

    Raises:
        KeyRefusedError: Unknown, malformed, too weak, or not of that algorithm.
    """
    if len(blob) > _BLOB_BYTES_MAX:
        raise KeyRefusedError("the key is too long")
    kind = _kind(blob)
    fits = algorithm in _RSA_SIGNATURES if kind == "ssh-rsa" else algorithm == kind
    if not fits:
        raise KeyRefusedError("the key is of another algorithm")
    return _read(f"{kind} {base64.b64encode(blob).decode()}")


def ssh_fingerprint(ssh_key: str) -> str:
    """What `ssh-keygen -lf` shows of a key, for people to compare."""
    digest = hashlib.sha256(base64.b64decode(ssh_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse_ssh_key(text: str) -> tuple[str, str]:
    """Read a line of a `.pub` or `authorized_keys` file; strong keys only.

    Returns:
        The key as `type base64`, without its comment, and its SPKI SHA-256.

    Raises:
        KeyRefusedError: Not one public key of a kind that we take.
    """
    key = read_ssh_key(text)
    if key.weak:
        raise KeyRefusedError(f"an RSA key needs at least {RSA_BITS_MIN} bits")
    return key.ssh_key, key.sha256


def read_ssh_key(text: str) -> OfferedKey:
    """Read a line of a `.pub` or `authorized_keys` file.

    Raises:
        KeyRefusedError: Not one public key of a kind that we take.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise KeyRefusedError("give one public key, in one line")
    if "PRIVATE KEY" in lines[0]:
        raise KeyRefusedError("this is a private key; give its .pub file")
    words = lines[0].split()
    if len(words) < 2:  # noqa: PLR2004 - type and key
        raise KeyRefusedError("not an SSH public key: expected `ssh-ed25519 AAAA…`")
    return _read(f"{words[0]} {words[1]}")


def parse_certificate(text: str) -> tuple[str, str]:
    """Read a client certificate, PEM.

    Returns:
        The certificate as PEM alone, and its key's SPKI SHA-256.

    Raises:
        KeyRefusedError: Not a certificate, or of a key that we do not take.
    """
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefusedError(f"not a PEM certificate: {error}") from error
    taken = _taken(key, RSA_BITS_MIN)
    return certificate.public_bytes(Encoding.PEM).decode(), spki_sha256(taken)


def _kind(blob: bytes) -> str:
    try:
        (length,) = struct.unpack_from(">I", blob)
        return blob[4 : 4 + length].decode("ascii")
    except (struct.error, UnicodeDecodeError) as error:
        raise KeyRefusedError("not an SSH public key") from error


def _read(line: str) -> OfferedKey:
    key = _load(line)
    weak = isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN
    return OfferedKey(ssh_key=line, sha256=spki_sha256(key), weak=weak)


def _load(line: str) -> PublicKey:
    try:
        return _taken(load_ssh_public_key(line.encode()), WEAK_RSA_BITS_MIN)
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        if isinstance(error, KeyRefusedError):
            raise
        raise KeyRefusedError(f"not an SSH public key that we take: {error}") from error


def _taken(key: object, rsa_bits_min: int) -> PublicKey:
    match key:
        case rsa.RSAPublicKey() if key.key_size < rsa_bits_min:
            raise KeyRefusedError(f"an RSA key needs at least {rsa_bits_min} bits")
        case ec.EllipticCurvePublicKey() if key.curve.name not in _CURVES:
            raise KeyRefusedError(f"the curve {key.curve.name} is not taken")
        case ed25519.Ed25519PublicKey() | ec.EllipticCurvePublicKey():
            return key
        case rsa.RSAPublicKey():
            return key
        case _:
            raise KeyRefusedError("use an Ed25519, ECDSA (NIST curve) or RSA key")
