"""What a mapping kit holds, read as the systems that get it would."""

import plistlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from server.access.devices import Offer
from server.access.issuing import Issued
from server.access.kit.contents import Holder, Kit, Store, System, kit
from server.model.errors import RefusedError
from server.model.identity import LoginKind
from server.model.operation import Protocol
from server.model.session import Session
from tests.support.accounts import Accounts, Client, add_person
from tests.support.waiting import until
from tests.unit.access.conftest import SOURCE

HOLDER = Holder(login="alice", contract="main", device="pc")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICSrclIs6RSJm1Ja+38Q/4938VaPgT2LtE3/rEks+v0I"
PARAMETERS = (
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WebClient\Parameters"
)
IDENTITY = r"HKEY_CURRENT_USER\Software\Policies\Microsoft\Office\16.0\Common\Identity"


def store_at(host: str = "store.example", *, secret_port: int = 8445) -> Store:
    return Store(
        host=host,
        sftp_port=2022,
        webdav_port=8443,
        secret_port=secret_port,
        authority="",
        host_keys=(KEY,),
    )


@pytest.fixture
def issued(store: Accounts, laptop: Client) -> Issued:
    add_person(store, "alice", laptop.ssh_key)
    return store.administration.devices.kit("alice", "pc", System.WINDOWS)[1]


def registry(content: bytes) -> dict[str, dict[str, str]]:
    """A registry file's values by key, as `reg import` reads them."""
    assert content.startswith(b"\xff\xfe")
    lines = content.decode("utf-16").split("\r\n")
    assert not any("\n" in line for line in lines)
    assert lines[:2] == ["Windows Registry Editor Version 5.00", ""]
    found: dict[str, dict[str, str]] = {}
    key = ""
    for line in lines[2:]:
        if line.startswith("["):
            key = line.strip("[]")
            found[key] = {}
        elif line.startswith('"'):
            name, _, value = line.partition("=")
            found[key][name.strip('"')] = value
        else:
            assert not line or line.startswith(";")
    return found


def test_the_registry_files_are_what_windows_imports(issued: Issued) -> None:
    """UTF-16 with its mark and CRLF; large files open, passwords need TLS."""
    found = kit(System.WINDOWS, store_at(), HOLDER, issued)

    (values,) = (registry(found["webclient.reg"].content)[PARAMETERS],)
    assert values["FileSizeLimitInBytes"] == "dword:ffffffff"
    assert values["BasicAuthLevel"] == "dword:00000001"
    assert int(values["FileAttributesLimitInBytes"].removeprefix("dword:"), 16) > 10**7
    hosts = registry(found["office.reg"].content)[IDENTITY]["basichostallowlist"]
    raw = bytes.fromhex(hosts.removeprefix("hex(2):").replace(",", " "))
    assert raw.decode("utf-16-le") == "store.example\0"


def test_batch_files_are_ascii_with_dos_line_ends(issued: Issued) -> None:
    """In any other code page a Japanese Windows would show, or run, something else."""
    found = kit(System.WINDOWS, store_at(), HOLDER, issued)

    scripts = {name: one for name, one in found.items() if name.endswith(".cmd")}
    assert len(scripts) == 4
    for name, one in scripts.items():
        text = one.content.decode("ascii")
        assert "\r\n" in text, name
        assert "\n" not in text.replace("\r\n", ""), name
    mapping = scripts["map-drive.cmd"].content.decode()
    assert "https://store.example:8445/ /user:alice+pc@main *" in mapping


@pytest.mark.parametrize("system", [System.IPHONE, System.MACOS])
def test_the_profile_holds_what_apple_asks_for(
    store: Accounts, issued: Issued, system: System
) -> None:
    """The authority and the certificate, each payload with its names; no password."""
    authority = store.keys.server_ca.read_text()
    place = Store(
        host="store.example", sftp_port=2022, webdav_port=8443, authority=authority
    )

    found = kit(system, place, HOLDER, issued)

    content = found["kagikura.mobileconfig"].content
    profile = plistlib.loads(content)
    assert profile["PayloadType"] == "Configuration"
    root, identity = profile["PayloadContent"]
    assert root["PayloadType"] == "com.apple.security.root"
    certificate = x509.load_der_x509_certificate(root["PayloadContent"])
    assert certificate == x509.load_pem_x509_certificate(authority.encode())
    assert identity["PayloadType"] == "com.apple.security.pkcs12"
    assert identity["PayloadContent"] == issued.file
    assert "Password" not in identity
    ids = [one["PayloadUUID"] for one in (profile, root, identity)]
    assert len(set(ids)) == 3
    again = kit(system, place, HOLDER, issued)["kagikura.mobileconfig"].content
    assert again == content


def test_the_p12_opens_with_the_password_that_was_told(issued: Issued) -> None:
    """And holds the key that stands beside it for SSH."""
    found = kit(System.LINUX, store_at(), HOLDER, issued)

    key, certificate, _ = pkcs12.load_key_and_certificates(
        found["device.p12"].content, issued.file_password.encode()
    )

    assert key is not None
    assert certificate is not None
    assert key.public_key() == certificate.public_key()
    assert found["device.key"].content.decode() == issued.ssh_private_key


@pytest.mark.parametrize("system", list(System))
@pytest.mark.parametrize("secret_port", [8445, 0])
@pytest.mark.parametrize("is_new", [True, False])
def test_no_file_holds_a_password_or_an_open_end(
    issued: Issued, system: System, secret_port: int, *, is_new: bool
) -> None:
    """Whatever is on or off: nothing unfilled, no secret, one page in two languages."""
    given = issued if is_new else Issued()
    found = kit(system, store_at(secret_port=secret_port), HOLDER, given)

    for name, text in texts(found):
        assert not re.search(r"~~|<!--", text), name
        for secret in (issued.secret, issued.file_password):
            assert secret, "the device is new and the listener on"
            assert secret not in text
    guide = found["guide.html"].content.decode()
    page = Page()
    page.feed(guide)
    assert page.open == []
    assert page.languages == ["ja", "ja", "en"]
    assert "~" not in guide.replace("~/", "")
    assert "SHA256:" in guide
    assert ("device.key" in found) == is_new
    mentioned = set(re.findall(r"<code>(?:\./)?([\w-]+\.\w+)</code>", guide))
    mentioned -= {"store.example", "rclone.exe"}
    assert mentioned <= {*found, "device.key", "device.pem", "device.p12"}


def texts(found: Kit) -> Iterator[tuple[str, str]]:
    for name, one in found.items():
        codec = "utf-16" if name.endswith(".reg") else "utf-8"
        if not name.endswith((".p12", ".mobileconfig")):
            yield name, one.content.decode(codec)


class Page(HTMLParser):
    """Whether every element is closed, and which languages there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.languages: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.languages += [value for name, value in attrs if name == "lang" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "host", ["", "a b", "a;b", "a'b", "a%b", "-a", "a\nb", "a..b", "x" * 300, "a&b"]
)
def test_a_host_that_a_script_could_stumble_over_is_refused(host: str) -> None:
    """It is written into batch and shell files."""
    with pytest.raises(ValueError, match="neither a host name"):
        store_at(host)


@pytest.mark.parametrize("host", ["store.example", "192.0.2.1", "2001:db8::1", "nas"])
def test_names_and_addresses_are_taken(host: str) -> None:
    """IPv6 in brackets where the syntax asks for it."""
    place = store_at(host)

    assert place.known_hosts == f"[{host}]:2022 {KEY}\n"
    assert place.url_host == (f"[{host}]" if ":" in host else host)


def test_a_new_device_is_registered_with_its_kit(
    store: Accounts, laptop: Client
) -> None:
    """One act: the trail says for which system; secrets are not in it."""
    add_person(store, "alice", laptop.ssh_key)
    devices = store.administration.devices

    facts, issued = devices.kit("alice", "phone", System.IPHONE)
    again, nothing = devices.kit("alice", "phone", System.IPHONE)
    _, secret = devices.kit("alice", "phone", System.IPHONE, secret=True)

    assert issued.file
    assert issued.secret
    assert nothing == Issued()
    assert again == facts
    assert secret.secret not in {"", issued.secret}
    rows = store.records(operation="admin.device.kit", outcome="done")
    assert [row["target"] for row in rows] == ["alice@main/phone"] * 3
    assert rows[0]["detail"]["after"]["kit"] == "iphone"
    assert issued.secret not in str(store.records())


def test_machines_and_auditors_get_no_kit(store: Accounts) -> None:
    """They have no drive; the refusal is on record."""
    logins = store.administration.logins
    logins.add("scan", kind=LoginKind.INTAKE)
    logins.add("revisor", kind=LoginKind.AUDITOR)

    for name in ("scan", "revisor"):
        with pytest.raises(RefusedError):
            store.administration.devices.kit(name, "pc", System.WINDOWS)

    rows = store.records(operation="admin.device.kit", outcome="refused")
    assert [row["rule"] for row in rows] == ["no_person"] * 2


def test_a_new_secret_cuts_the_drives_that_rest_on_the_old(
    store: Accounts, laptop: Client
) -> None:
    """Whoever asks for a new one fears for the old one."""
    add_person(store, "alice", laptop.ssh_key)
    devices = store.administration.devices
    _, given = devices.add("alice", "pc", Offer(secret=True))
    store.watch.refresh()
    session = _drive(store, given.secret)

    devices.kit("alice", "pc", System.WINDOWS, secret=True)

    store.watch.refresh()
    assert session.cut_rule == "session_cut"
    store.desk.leave(session)


def _drive(store: Accounts, secret: str) -> Session:
    """A session at `[webdav.secret]`, mirrored in the accounts."""
    login = store.desk.basic(store.desk.arrive(SOURCE, Protocol.WEBDAV), None)
    session = login.admit("alice+pc", secret)
    until(store.administration.sessions.list, what="the session is mirrored")
    return session
