"""A new person's first day, and the days after: commands and real clients."""

import subprocess
from typing import Any

import pyotp
import pytest

from server.auth import certificates
from tests.support.daemon import Daemon
from tests.support.openssh import Someone, client
from tests.support.sftp import new_key
from tests.support.waiting import until
from tests.support.webdav import curl

PASSWORD = "kasa to nagagutsu 7"


def waiting_key(daemon: Daemon) -> dict[str, Any]:
    until(
        lambda: daemon.told("device", "list", "main", "--pending"),
        what="the key is on the list",
    )
    found: list[dict[str, Any]] = daemon.told("device", "list", "main", "--pending")
    (row,) = found
    return row


@pytest.fixture
def hanako(daemon: Daemon) -> Someone:
    """A new person with a laptop of her own."""
    return Someone("hanako", new_key(daemon.folder / "hanako_key"))


def test_a_first_day_by_sftp_alone(daemon: Daemon, hanako: Someone) -> None:
    """No console, no file sent around: a name, a code, and one yes."""
    added = daemon.told("login", "add", "hanako", "--totp", "off")
    code = added["enrolment_code"]

    unknown = client(daemon, hanako, password=code).sftp("ls")
    row = waiting_key(daemon)
    approved = daemon.told("device", "approve", "hanako", row["key"], "--name", "pc")
    first = client(daemon, hanako, password=code, new_password=PASSWORD).sftp("ls")
    second = client(daemon, hanako, password=PASSWORD).sftp("ls")

    assert unknown.returncode != 0
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", hanako.key], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert row["fingerprint"] == fingerprint
    assert approved["device"] == "pc"
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    shown = daemon.told("device", "show", "hanako", "pc")
    assert shown["last_use"]["protocol"] == "sftp"


def test_codes_windows_and_the_qr_code(daemon: Daemon, hanako: Someone) -> None:
    """A client that reconnects needs one code, until somebody closes the window."""
    added = daemon.told("login", "add", "hanako", "--totp", "required")
    picture = daemon.folder / "qr.svg"
    enrolled = daemon.told(
        *("enrol", "hanako", "--code", added["enrolment_code"]),
        *("--password-stdin", "--qr", str(picture)),
        text=PASSWORD + "\n",
    )
    public = f"{hanako.key}.pub"
    daemon.told("device", "add", "hanako", "pc", "--ssh-key", public, "--owner", "H.")
    secret = pyotp.parse_uri(enrolled["totp_uri"])
    assert isinstance(secret, pyotp.TOTP)

    def log_in(code: str) -> int:
        told = client(daemon, hanako, password=PASSWORD, code=code)
        return told.sftp("ls").returncode

    codes = [log_in(secret.now()), log_in("000000")]
    (window,) = daemon.told("login", "windows", "hanako")
    revoked = daemon.told("login", "revoke-window", "hanako", "--device", "pc")
    codes += [log_in("000000"), log_in(enrolled["recovery_codes"][0])]

    assert [code == 0 for code in codes] == [True, True, False, True]
    assert (window["device"], window["protocol"]) == ("pc", "sftp")
    assert revoked["windows"] == 1
    assert "<svg" in picture.read_text()
    assert picture.stat().st_mode & 0o777 == 0o600
    left = daemon.told("login", "recovery-codes", "hanako")
    assert left["recovery_codes_left"] == 9
    assert left["confirmed"]


@pytest.mark.parametrize("encryption", ["modern", "compatible"])
def test_curl_takes_both_kinds_of_p12(daemon: Daemon, encryption: str) -> None:
    """AES for those who can, 3DES for those who cannot."""
    path = daemon.folder / "new.p12"
    issued = daemon.told(
        *("device", "add", "demo", "new", "--issue-certificate", str(path)),
        *("--p12", encryption),
    )

    status = _status(
        daemon,
        *("--cert", f"{path}:{issued['certificate_password']}", "--cert-type", "P12"),
    )

    assert status == 207
    told = subprocess.run(
        ["openssl", "pkcs12", "-info", "-noout", "-in", path, "-passin", "stdin"],
        input=issued["certificate_password"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert ("AES-256-CBC" in told) is (encryption == "modern")


def test_the_offices_own_authority_brings_devices_to_be_approved(
    daemon: Daemon,
) -> None:
    """Its certificates come through the handshake, and wait."""
    authority = certificates.new_authority("Office CA")
    key = certificates.new_key()
    certificate = certificates.issue_device(authority, "PC-17", key.public_key())
    ca, pem = daemon.folder / "ca.pem", daemon.folder / "pc17.pem"
    ca.write_text(certificates.certificate_pem(authority.certificate))
    pem.write_text(
        certificates.key_pem(key) + certificates.certificate_pem(certificate)
    )
    shown = ("--cert", str(pem))

    before = _status(daemon, *shown)
    daemon.told("device", "ca", "add", "main", "office", "--certificate", str(ca))
    until(lambda: _status(daemon, *shown) == 401, what="the authority is known")
    row = waiting_key(daemon)
    daemon.told("device", "approve", "demo", row["key_sha256"], "--name", "pc-17")
    until(lambda: _status(daemon, *shown) == 207, what="the device is known")
    daemon.told("device", "ca", "remove", "main", "office")

    assert before == 0
    assert (row["subject"], row["protocol"], row["proved"]) == ("PC-17", "webdav", True)
    until(lambda: _status(daemon, *shown) == 0, what="the authority is gone")


def test_an_intake_secret_is_the_administrators_to_set(daemon: Daemon) -> None:
    """Nobody stands behind a scanner; a person's password stays the person's."""
    daemon.told("login", "add", "scanner", "--kind", "intake", "--factors", "key")
    daemon.told(
        *("login", "add", "mfp", "--kind", "intake", "--password-stdin"),
        text="panel-secret-1\n",
    )

    daemon.told("login", "reset", "mfp", "--password-stdin", text="panel-secret-2\n")
    person = daemon.cli("login", "reset", "demo", "--password-stdin", text=PASSWORD)
    by_key = daemon.cli("login", "reset", "scanner", "--password-stdin", text=PASSWORD)

    assert person.returncode == 2
    assert "person enrols" in person.stderr
    assert by_key.returncode == 1


def _status(daemon: Daemon, *options: str) -> int:
    told = ("--cacert", str(daemon.demo / "server-ca.pem"), "-H", "Depth: 0")
    user = ("-u", f"demo:{daemon.password}")
    return curl("PROPFIND", daemon.ready["webdav"], *told, *user, *options)[0]
