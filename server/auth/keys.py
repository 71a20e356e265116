"""One name for a device's key, whatever protocol carries it.

The SHA-256 of the SubjectPublicKeyInfo (DER) is the same for an SSH public key and for
a TLS certificate of the same key pair (RFC 5280 section 4.1.2.7).
"""

import base64
import binascii
import hashlib
import struct
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
_BLOB_BYTES_MAX: Final = 16384
_RSA_SIGNATURES: Final = frozenset({"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"})
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class KeyRefusedError(ValueError):
    """A key that no device may have; the text says why."""


def spki_sha256(key: PublicKey) -> str:
    """SHA-256 of a key's SubjectPublicKeyInfo, lower-case hexadecimal."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def sha256_of_blob(algorithm: str, blob: bytes) -> str:
    """Name the key that an SSH client offers (RFC 4252 section 7).

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
    return spki_sha256(_load(f"{kind} {base64.b64encode(blob).decode()}"))


def parse_ssh_key(text: str) -> tuple[str, str]:
    """Read a line of a `.pub` or `authorized_keys` file.

    Returns:
        The key as `type base64`, without its comment, and its SPKI SHA-256.

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
    line = f"{words[0]} {words[1]}"
    return line, spki_sha256(_load(line))


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
    return certificate.public_bytes(Encoding.PEM).decode(), spki_sha256(_strong(key))


def _kind(blob: bytes) -> str:
    try:
        (length,) = struct.unpack_from(">I", blob)
        return blob[4 : 4 + length].decode("ascii")
    except (struct.error, UnicodeDecodeError) as error:
        raise KeyRefusedError("not an SSH public key") from error


def _load(line: str) -> PublicKey:
    try:
        return _strong(load_ssh_public_key(line.encode()))
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        if isinstance(error, KeyRefusedError):
            raise
        raise KeyRefusedError(f"not an SSH public key that we take: {error}") from error


def _strong(key: object) -> PublicKey:
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_BITS_MIN:
            raise KeyRefusedError(f"an RSA key needs at least {RSA_BITS_MIN} bits")
        case ec.EllipticCurvePublicKey() if key.curve.name not in _CURVES:
            raise KeyRefusedError(f"the curve {key.curve.name} is not taken")
        case ed25519.Ed25519PublicKey() | ec.EllipticCurvePublicKey():
            return key
        case rsa.RSAPublicKey():
            return key
        case _:
            raise KeyRefusedError("use an Ed25519, ECDSA (NIST curve) or RSA key")
