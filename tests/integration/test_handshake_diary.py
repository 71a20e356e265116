"""A client that cannot shake hands: one row, what it offered, and what to do."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server.access.devices import Offer, Package
from server.auth import certificates
from tests.support.openssh import OpenSsh
from tests.support.sftp import SftpHouse, open_house, write_key
from tests.support.waiting import until
from tests.support.webdav import WebdavStore, served


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WebdavStore]:
    with served(tmp_path) as store:
        yield store


def only(house: SftpHouse) -> dict[str, Any]:
    """The one row of a connection that is over."""
    until(lambda: house.listener.connections == 0, what="the client is gone")
    (record,) = house.records(operation="login", outcome="refused")
    assert record["stage"] == "handshake"
    assert record["line"] if "line" in record else record["source_ip"]
    return record


def test_old_algorithms_are_named_with_the_command_that_helps(
    house: SftpHouse, tmp_path: Path
) -> None:
    """Nobody's manual says what a scanner needs; the trail does."""
    key = write_key(tmp_path / "rsa", rsa.generate_private_key(65537, 2048))
    scanner = house.add_person("scanner", factors="key", key=key)
    old = ("-oKexAlgorithms=diffie-hellman-group14-sha1", "-oCiphers=aes128-cbc")

    OpenSsh(house, scanner, [key], more=old).sftp("ls")

    record = only(house)
    assert record["rule"] == "no_common_algorithm"
    assert record["client"].startswith("SSH-2.0-OpenSSH")
    assert record["detail"]["missing"] == ["kex", "cipher"]
    assert record["detail"]["offer"]["cipher"] == ["aes128-cbc"]
    assert "--crypto legacy-until:DATE" in record["detail"]["hint"]


def test_the_oldest_group_is_named_by_its_own_word(
    house: SftpHouse, tmp_path: Path
) -> None:
    """`legacy` alone would not help this one."""
    scanner = house.add_person("scanner", factors="key")
    old = ("-oKexAlgorithms=diffie-hellman-group1-sha1",)

    OpenSsh(house, scanner, [scanner.key], more=old).sftp("ls")

    assert "--crypto legacy+group1-until:DATE" in only(house)["detail"]["hint"]


def test_what_no_line_offers_is_said_so(house: SftpHouse) -> None:
    """A hint that does not help is worse than none."""
    scanner = house.add_person("scanner", factors="key")
    strange = ("-oKexAlgorithms=ecdh-sha2-nistp256",)

    OpenSsh(house, scanner, [scanner.key], more=strange).sftp("ls")

    assert "newer firmware" in only(house)["detail"]["hint"]


@pytest.mark.parametrize(
    ("said", "rule", "offer"),
    [
        (b"", "no_banner", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_banner", "GET / HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\r\n", "bad_banner", "??????"),
        (b"SSH-2.0-scan\r\n", "left_in_handshake", None),
    ],
)
def test_what_is_no_handshake_is_told_too(
    house: SftpHouse, said: bytes, rule: str, offer: str | None
) -> None:
    """Port checks, browsers and scanners of the internet that are on a line."""
    with house.connect() as sock:
        assert sock.recv(100).startswith(b"SSH-2.0-Kagikura")
        sock.sendall(said)

    record = only(house)
    assert record["rule"] == rule
    assert record["detail"].get("offer") == offer
    assert record["detail"]["hint"]


def test_the_same_failure_again_is_counted(house: SftpHouse) -> None:
    """A load balancer's check every second would fill the trail."""
    for _ in range(5):
        with house.connect() as sock:
            sock.recv(100)
    until(lambda: house.listener.connections == 0, what="the clients are gone")

    found = house.records(operation="login", rule="no_banner")
    assert len(found) <= 2  # a minute may have ended


def shake(
    store: WebdavStore, context: ssl.SSLContext | None, said: bytes = b""
) -> None:
    with socket.create_connection(("127.0.0.1", store.port), timeout=10) as plain:
        if context is None:
            plain.sendall(said)
            plain.recv(100)
            return
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.recv(1)
        except (ssl.SSLError, ConnectionError):
            return


def test_a_tls_client_without_certificate_is_told_what_it_offered(
    store: WebdavStore,
) -> None:
    """The commonest slip with a new laptop."""
    shake(store, store.client_context())

    (record,) = store.wait_for(rule="no_certificate")
    assert record["detail"]["offer"] == ["TLS 1.3", "TLS 1.2"]
    assert ".p12" in record["detail"]["hint"]


def test_plain_http_and_old_tls_are_told(store: WebdavStore) -> None:
    """A wrong address, and a machine of the last decade."""
    shake(store, None, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b" " * 60)
    # A hello of TLS 1.0 by hand: no client of today can be talked into one.
    hello = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    message = b"\x01" + len(hello).to_bytes(3) + hello
    shake(store, None, b"\x16\x03\x01" + len(message).to_bytes(2) + message)

    (plain,) = store.wait_for(rule="no_tls")
    (old,) = store.wait_for(rule="tls_too_old")
    assert plain["detail"]["offer"] == "GET / HTTP/1.1"
    assert "https://" in plain["detail"]["hint"]
    assert old["stage"] == "handshake"
    assert old["detail"]["offer"] == ["TLS 1.0"]


def test_a_client_that_does_not_know_our_authority_is_told(store: WebdavStore) -> None:
    """Explorer says only that the network path was not found."""
    context = ssl.create_default_context()
    context.load_cert_chain(store.alice.certificate)

    shake(store, context)

    (record,) = store.wait_for(rule="server_not_trusted")
    assert "kagikura ca" in record["detail"]["hint"]


def test_a_locked_device_shakes_hands_and_gets_no_further(store: WebdavStore) -> None:
    """The certificate stays good; the record of the device decides."""
    store.accounts.administration.devices.lock("alice", "laptop")
    store.accounts.watch.refresh()

    status, _ = store.curl("PROPFIND", "/", "-H", "Depth: 0")

    assert status == 401
    (record,) = store.wait_for(operation="login", outcome="refused")
    assert (record["stage"], record["rule"]) == ("device", "device_locked")


def test_an_authority_that_is_not_ours_signs_in_vain(
    store: WebdavStore, tmp_path: Path
) -> None:
    """Its name may be the same; its key is not."""
    issued = store.accounts.administration.devices.add(
        "alice", "other", Offer(issue=Package.PEM)
    )[1]
    key = certificates.load_key(issued.file.decode())
    forged = certificates.issue_device(
        certificates.new_authority("main device CA"), "alice", key.public_key()
    )
    path = tmp_path / "forged.pem"
    path.write_text(certificates.key_pem(key) + certificates.certificate_pem(forged))
    context = ssl.create_default_context(cafile=store.server_ca)
    context.load_cert_chain(path)

    shake(store, context)

    store.wait_for(operation="login", rule="unknown_certificate")
