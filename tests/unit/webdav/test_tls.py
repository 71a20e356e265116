"""TLS contexts follow their material."""

import subprocess
from pathlib import Path

import pytest

from server.webdav.tls import TlsContexts, TlsMaterial, device_key


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "c.pem", folder / "k.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=x"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_a_context_is_made_anew_when_its_material_changed(
    pair: tuple[Path, Path],
) -> None:
    """A removed device's pinned certificate must not be trusted any longer."""
    certificate, key = pair
    materials = [
        TlsMaterial(certificate=certificate, key=key, trust_pem=trust, version=version)
        for version, trust in enumerate([certificate.read_text(), ""])
    ]
    now = [materials[0]]
    contexts = TlsContexts(lambda: now[0], client_certificates=True)

    first = contexts.current()
    assert contexts.current() is first
    assert len(first.get_ca_certs()) <= 1
    now[0] = materials[1]
    assert contexts.current() is not first


def test_broken_material_leaves_the_last_context_in_use(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """A half-written certificate must not take the store off the network."""
    certificate, key = pair
    good = TlsMaterial(certificate=certificate, key=key, trust_pem="", version=1)
    bad = TlsMaterial(certificate=tmp_path / "none", key=key, trust_pem="", version=2)
    now = [good]
    contexts = TlsContexts(lambda: now[0], client_certificates=False)
    first = contexts.current()
    now[0] = bad

    assert contexts.current() is first
    with pytest.raises(OSError, match=r"."):
        TlsContexts(lambda: bad, client_certificates=False).current()


def test_a_devices_key_is_the_hash_that_openssl_would_pin(
    pair: tuple[Path, Path],
) -> None:
    """The same number as SSH's and as `device list` shows."""
    certificate, _ = pair
    public = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-pubkey", "-noout"],
        check=True,
        capture_output=True,
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"],
        input=public,
        check=True,
        capture_output=True,
    ).stdout
    hashed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-r"], input=der, check=True, capture_output=True
    ).stdout.split()[0]
    form = ["openssl", "x509", "-in", str(certificate), "-outform", "DER"]
    raw = subprocess.run(form, check=True, capture_output=True).stdout

    assert device_key(raw) == hashed.decode()


def test_an_unreadable_certificate_is_no_device() -> None:
    """The handshake took it, but nobody can say whose key it is."""
    with pytest.raises(ValueError, match="unreadable"):
        device_key(b"nonsense")
