"""A device's key has one name, whether SSH or TLS carries it."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth import certificates
from server.auth.keys import (
    KeyRefusedError,
    offered_key,
    parse_certificate,
    parse_ssh_key,
    spki_sha256,
)


def line_of(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode()


def test_ssh_and_tls_name_the_same_key_alike() -> None:
    """Locking a device closes both doors only if both see one device."""
    key = certificates.new_key()
    authority = certificates.new_authority("test")
    certificate = certificates.issue_device(authority, "laptop", key.public_key())
    line = certificates.ssh_public(key)
    algorithm, encoded = line.split()[:2]

    by_line = parse_ssh_key(line)[1]
    by_blob = offered_key(algorithm, base64.b64decode(encoded)).sha256
    by_certificate = parse_certificate(certificates.certificate_pem(certificate))[1]

    assert by_line == by_blob == by_certificate == spki_sha256(key.public_key())


def test_an_rsa_key_serves_its_newer_signature_algorithms() -> None:
    """RFC 8332: rsa-sha2-256 and -512 carry a key of type ssh-rsa."""
    line = line_of(rsa.generate_private_key(65537, 2048))
    blob = base64.b64decode(line.split()[1])

    names = {offered_key(a, blob).sha256 for a in ("rsa-sha2-256", "rsa-sha2-512")}

    assert names == {parse_ssh_key(line)[1]}


@pytest.mark.parametrize(
    ("algorithm", "blob"),
    [
        ("ssh-ed25519", b""),
        ("ssh-ed25519", b"\xff\xff\xff\xff"),
        ("ssh-ed25519", b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20short"),
        ("ssh-foo", b"\x00\x00\x00\x07ssh-foo"),
        ("ssh-ed25519", b"\x00" * 20000),
        ("ssh-rsa", b"\x00\x00\x00\x0bssh-ed25519"),
    ],
)
def test_a_malformed_key_is_refused_softly(algorithm: str, blob: bytes) -> None:
    """What a stranger sends must end in a refusal, never in a traceback."""
    with pytest.raises(KeyRefusedError):
        offered_key(algorithm, blob)


def test_weak_and_foreign_keys_are_refused_with_words() -> None:
    """The administrator reads why; a 1024-bit RSA key is no factor."""
    weak = line_of(rsa.generate_private_key(65537, 1024))  # noqa: S505 - weak on purpose
    old = dsa.generate_private_key(1024).public_key()  # noqa: S505 - weak on purpose
    curve = ec.generate_private_key(ec.SECP256K1()).public_key()

    with pytest.raises(KeyRefusedError, match="2048 bits"):
        parse_ssh_key(weak)
    with pytest.raises(KeyRefusedError, match="secp256k1"):
        parse_certificate(_self_signed(curve))
    with pytest.raises(KeyRefusedError, match="Ed25519"):
        parse_certificate(_self_signed(old))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one public key"),
        ("ssh-ed25519", "not an SSH public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("ssh-ed25519 AAAA alice", "not an SSH public key"),
        ("ssh-ed25519 AAAA\nssh-ed25519 AAAA", "one public key"),
    ],
)
def test_what_is_no_public_key_is_said_so(text: str, words: str) -> None:
    """The commonest slip is to paste the private key."""
    with pytest.raises(KeyRefusedError, match=words):
        parse_ssh_key(text)


def _self_signed(key: dsa.DSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    authority = certificates.new_authority("test")
    return certificates.certificate_pem(
        certificates.issue_device(authority, "laptop", key)  # type: ignore[arg-type]  # on purpose
    )
