"""The first minutes of a store, its keys and its server certificate."""

import ssl
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from server.access.devices import Offer, Package
from server.access.initialise import initialise, initialise_demo, prepare_state
from server.access.keystore import KeyStore
from server.access.tls import Certificates, ClientTrust
from server.auth import certificates
from server.auth.keys import parse_certificate, parse_ssh_key
from server.model.errors import ExistsError
from server.settings.schema import WebdavSettings
from tests.support.accounts import Accounts, opened


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    """The keys of a fresh store."""
    with opened(tmp_path) as accounts:
        return accounts.keys


def test_a_store_is_initialised_once(tmp_path: Path) -> None:
    """A second `init` must not make a second `main` or new keys."""
    with opened(tmp_path) as store:
        facts = initialise(store.administration)
        before = [path.read_bytes() for path in store.keys.host_keys]

        with pytest.raises(ExistsError):
            initialise(store.administration)
        prepare_state(store.settings)

        assert facts["admin"] == "admin@main"
        assert [path.read_bytes() for path in store.keys.host_keys] == before


def test_nobody_else_can_read_the_keys(keys: KeyStore) -> None:
    """Every key file is its owner's alone, from the first moment on."""
    found = [path for path in keys.folder.rglob("*") if path.is_file()]

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found}

    assert {*modes.values()} == {0o600}
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700


def test_preparing_makes_the_rsa_key_too(tmp_path: Path) -> None:
    """The shared key of these tests must not hide that a real store makes its own."""
    keys = KeyStore(tmp_path / "state")

    keys.prepare()

    assert keys.ready
    assert all(path.stat().st_size for path in keys.host_keys)


def test_ssh_keygen_reads_the_host_keys(keys: KeyStore) -> None:
    """They are in OpenSSH's own format, Ed25519 and RSA with 3072 bits."""
    shown = [
        subprocess.run(
            ["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, text=True
        ).stdout
        for path in keys.host_keys
    ]

    assert "ED25519" in shown[0]
    assert shown[1].startswith("3072 ")


def test_the_demo_leaves_files_that_fit_together(tmp_path: Path) -> None:
    """A newcomer pastes two commands and is in."""
    with opened(tmp_path) as store:
        initialise(store.administration)
        facts = initialise_demo(store.administration, store.keys, tmp_path / "demo")

        store.watch.refresh()
        (device,) = store.watch.snapshot().devices
        public = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(facts["ssh_key"])],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        pem = Path(str(facts["certificate"])).read_text()
        assert (
            device.key_sha256 == parse_ssh_key(public)[1] == parse_certificate(pem)[1]
        )
        assert (tmp_path / "demo/password").read_text().strip() == facts["password"]
        (line,) = store.watch.snapshot().lines
        assert line.networks == ("127.0.0.0/8", "::1/128")


def test_the_server_certificate_names_this_machine(keys: KeyStore) -> None:
    """Clients compare the name that they were told with the certificate's."""
    tls = Certificates(keys, WebdavSettings(names=("files.example.org",)))

    made, again = tls.renew(), tls.renew()

    certificate = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    names = certificates.names_of(certificate)
    assert (made, again) == (True, False)
    assert {"localhost", "127.0.0.1", "::1", "files.example.org"} <= names
    assert subprocess.run(
        ["openssl", "verify", "-CAfile", keys.server_ca, tls.certificate],
        check=True,
        capture_output=True,
    )


def test_a_new_name_renews_the_certificate_and_keeps_its_key(keys: KeyStore) -> None:
    """While it is replaced, certificate and key must always fit each other."""
    Certificates(keys, WebdavSettings()).renew()
    key = keys.server_key.read_bytes()
    tls = Certificates(keys, WebdavSettings(names=("nas.local",)))
    before = tls.changes

    assert tls.renew()

    assert keys.server_key.read_bytes() == key
    assert tls.changes == before + 1


def test_an_operators_own_certificate_is_left_alone(
    keys: KeyStore, tmp_path: Path
) -> None:
    """Who brings a certificate renews it."""
    settings = WebdavSettings(
        certificate=tmp_path / "own.pem", key=tmp_path / "own.key"
    )

    tls = Certificates(keys, settings)

    assert not tls.renew()
    assert tls.certificate == tmp_path / "own.pem"


def test_the_trust_follows_the_accounts(store: Accounts) -> None:
    """A contract that was removed vouches for no device any more."""
    trust = ClientTrust(store.watch)
    before = trust.pem()

    store.administration.contracts.remove("main")
    store.watch.refresh()

    assert before.count("BEGIN CERTIFICATE") == 1
    assert trust.pem() == ""


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Shake hands in memory; the client's certificate as the server saw it, DER."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    shown = ends[1].getpeercert(binary_form=True)
    assert shown is not None
    return shown


def _pinned(store: Accounts, name: str) -> tuple[str, str]:
    """A device that brings a certificate of an authority that we do not know."""
    key = certificates.new_key()
    authority = certificates.new_authority("their own")
    pem = certificates.certificate_pem(
        certificates.issue_device(authority, name, key.public_key())
    )
    store.administration.devices.add("alice", name, Offer(certificate=pem))
    return pem, certificates.key_pem(key)


@pytest.mark.parametrize("kind", ["issued", "pinned"])
def test_a_devices_certificate_passes_the_handshake(
    store: Accounts, tmp_path: Path, kind: str
) -> None:
    """Issued by the contract's authority, or pinned whoever issued it."""
    store.administration.logins.add("alice")
    if kind == "issued":
        offer = Offer(issue=Package.PEM)
        _, issued = store.administration.devices.add("alice", "pc", offer)
        (tmp_path / "client.pem").write_bytes(issued.file)
    else:
        (tmp_path / "client.pem").write_text("".join(_pinned(store, "pc")))
    store.watch.refresh()
    tls = Certificates(store.keys, WebdavSettings())
    tls.renew()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls.certificate, tls.key)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    server.load_verify_locations(cadata=ClientTrust(store.watch).pem())
    client = ssl.create_default_context(cafile=str(store.keys.server_ca))
    client.load_cert_chain(tmp_path / "client.pem")

    shown = _handshake(server, client)

    (device,) = store.watch.snapshot().devices
    pem = ssl.DER_cert_to_PEM_cert(shown)
    assert parse_certificate(pem)[1] == device.key_sha256
