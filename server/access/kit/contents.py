"""What a kit holds, for each system.

The files never hold a password: the `.p12`'s, the device secret and the person's own
are told apart. The key is not under one, as an SSH key on a disk usually is not: the
folder is to be handed over as carefully as the device itself.
"""

import base64
import codecs
import hashlib
import ipaddress
import plistlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from server.access.issuing import Issued
from server.access.kit.template import filled, page

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_SSH_PORT: Final = 22
_IPV6: Final = 6


@unique
class System(StrEnum):
    """For what a kit is."""

    WINDOWS = "windows"
    MACOS = "macos"
    LINUX = "linux"
    IPHONE = "iphone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where clients find the store, and how they know it."""

    host: str
    """A name of the server's certificate, or an address."""
    sftp_port: int
    webdav_port: int
    secret_port: int = 0
    """Of `[webdav.secret]`; 0 when it is off."""
    authority: str = ""
    """The server CA's certificate, PEM; empty for a certificate of the operator's."""
    host_keys: tuple[str, ...] = ()
    """Public SSH host keys, `type base64`."""

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a script.

        Raises:
            ValueError: `host` is neither a host name nor an address.
        """
        if not _HOST.fullmatch(self.host) and not _is_ipv6(self.host):
            raise ValueError(f"{self.host!r} is neither a host name nor an address")

    @property
    def url_host(self) -> str:
        """The host as an URL has it."""
        return f"[{self.host}]" if _is_ipv6(self.host) else self.host

    @property
    def known_hosts(self) -> str:
        """The server's keys, as OpenSSH reads them."""
        place = f"[{self.host}]:{self.sftp_port}"
        if self.sftp_port == _SSH_PORT:
            place = self.host
        return "".join(f"{place} {key}\n" for key in self.host_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose device the kit is for."""

    login: str
    contract: str
    device: str

    @property
    def account(self) -> str:
        """The login, as it is typed."""
        return f"{self.login}@{self.contract}"

    @property
    def secret_name(self) -> str:
        """The user name that goes with the device's secret."""
        return f"{self.login}+{self.device}@{self.contract}"


@dataclass(frozen=True, slots=True)
class KitFile:
    """One file of a kit."""

    content: bytes
    executable: bool = False


Kit = dict[str, KitFile]
"""The files by name."""


def kit(system: System, store: Store, holder: Holder, issued: Issued) -> Kit:
    """All files for one person's device.

    Args:
        system: What it runs.
        store: Where the store is.
        holder: Whose it is.
        issued: The key and certificate, when they were made for this kit; without
            them the guide says that the device's own key is to be put beside.
    """
    values = _values(store, holder, issued)
    found = _MAKERS[system](store, holder, issued, values)
    if store.authority and system is not System.IPHONE:
        found["kagikura-ca.crt"] = KitFile(store.authority.encode("ascii"))
    if issued.ssh_private_key:
        found["device.key"] = KitFile(issued.ssh_private_key.encode("ascii"))
    if issued.file and system is not System.IPHONE:
        found["device.p12"] = KitFile(issued.file)
    if system is not System.IPHONE:
        found["known_hosts"] = KitFile(store.known_hosts.encode("ascii"))
    found["guide.html"] = KitFile(_guide(system, values).encode("utf-8"))
    return dict(sorted(found.items()))


def _values(store: Store, holder: Holder, issued: Issued) -> dict[str, str]:
    return {
        "host": store.host,
        "url_host": store.url_host,
        "sftp_port": str(store.sftp_port),
        "webdav_port": str(store.webdav_port),
        "secret_port": str(store.secret_port) if store.secret_port else "",
        "account": holder.account,
        "secret_name": holder.secret_name,
        "device": holder.device,
        "authority": "yes" if store.authority else "",
        "issued": "yes" if issued.file else "",
        "profile": "yes" if store.authority or issued.file else "",
        "fingerprints": ", ".join(map(_fingerprint, store.host_keys)),
    }


def _guide(system: System, values: Mapping[str, str]) -> str:
    parts = {
        language: page(f"{system}/guide.{language}.html", values)
        for language in ("ja", "en")
    }
    return filled("page.html", {**parts, "title": f"Kagikura: {values['account']}"})


Maker = Callable[[Store, Holder, Issued, Mapping[str, str]], Kit]


def _windows(
    store: Store, _holder: Holder, _issued: Issued, values: Mapping[str, str]
) -> Kit:
    found = _scripts("windows", ("log-in.cmd", "map-drive-rclone.cmd"), values, _dos)
    found["rclone.conf"] = KitFile(_dos(filled("rclone.conf", values)))
    if store.secret_port:
        found |= _scripts("windows", ("map-drive.cmd",), values, _dos)
        setup = "setup-as-administrator.cmd"
        trust = filled("windows/trust.cmd", values) if store.authority else ""
        text = filled(f"windows/{setup}", {**values, "trust": trust})
        found[setup] = KitFile(_dos(text))
        found["webclient.reg"] = KitFile(_reg(filled("windows/webclient.reg", values)))
        hosts = _expandable(store.host)
        office = filled("windows/office.reg", {**values, "hosts": hosts})
        found["office.reg"] = KitFile(_reg(office))
    return found


def _macos(
    store: Store, holder: Holder, issued: Issued, values: Mapping[str, str]
) -> Kit:
    names = ["log-in.command", "map-drive-sshfs.command"]
    if store.secret_port:
        names.append("map-drive.command")
    found = _scripts("macos", names, values, str.encode)
    return found | _profile(store, holder, issued)


def _linux(
    _store: Store, _holder: Holder, issued: Issued, values: Mapping[str, str]
) -> Kit:
    names = ("log-in.sh", "mount-sshfs.sh", "mount-rclone.sh", "mount-davfs2.sh")
    found = _scripts("linux", names, values, str.encode)
    found["rclone.conf"] = KitFile(filled("rclone.conf", values).encode())
    found["curl.conf"] = KitFile(page("linux/curl.conf", values).encode())
    if issued.pem:
        found["device.pem"] = KitFile(issued.pem.encode("ascii"))
    return found


def _iphone(
    store: Store, holder: Holder, issued: Issued, _values: Mapping[str, str]
) -> Kit:
    return _profile(store, holder, issued)


_MAKERS: Final[dict[System, Maker]] = {
    System.WINDOWS: _windows,
    System.MACOS: _macos,
    System.LINUX: _linux,
    System.IPHONE: _iphone,
}


def _scripts(
    folder: str,
    names: tuple[str, ...] | list[str],
    values: Mapping[str, str],
    encode: Callable[[str], bytes],
) -> Kit:
    return {
        name: KitFile(encode(filled(f"{folder}/{name}", values)), executable=True)
        for name in names
    }


def _dos(text: str) -> bytes:
    """A batch file: ASCII, since each Windows reads it in a code page of its own."""
    return text.replace("\n", "\r\n").encode("ascii")


def _reg(text: str) -> bytes:
    """A registry file of version 5: UTF-16LE with a byte order mark."""
    return codecs.BOM_UTF16_LE + text.replace("\n", "\r\n").encode("utf-16-le")


def _expandable(text: str) -> str:
    """REG_EXPAND_SZ, as a registry file spells it."""
    return ",".join(f"{byte:02x}" for byte in f"{text}\0".encode("utf-16-le"))


def _profile(store: Store, holder: Holder, issued: Issued) -> Kit:
    """Apple's configuration profile: the authority to trust, and the certificate.

    Without the `.p12`'s password, which the system asks for: a profile is not
    encrypted (Apple, Device Management, CertificatePKCS12).
    """
    name = f"{holder.account}/{holder.device}"
    payloads = []
    if store.authority:
        certificate = x509.load_pem_x509_certificate(store.authority.encode("ascii"))
        payloads.append({
            **_payload("com.apple.security.root", name, "Kagikura server CA"),
            "PayloadCertificateFileName": "kagikura-ca.crt",
            "PayloadContent": certificate.public_bytes(Encoding.DER),
        })
    if issued.file:
        payloads.append({
            **_payload("com.apple.security.pkcs12", name, f"Kagikura {name}"),
            "PayloadCertificateFileName": "device.p12",
            "PayloadContent": issued.file,
        })
    if not payloads:
        return {}
    profile = {
        **_payload("Configuration", name, f"Kagikura ({store.host})"),
        "PayloadContent": payloads,
    }
    return {"kagikura.mobileconfig": KitFile(plistlib.dumps(profile))}


def _payload(kind: str, name: str, shown: str) -> dict[str, object]:
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"kagikura:{name}/{kind}")
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"kagikura.{identity}",
        "PayloadUUID": str(identity).upper(),
        "PayloadDisplayName": shown,
    }


def _fingerprint(line: str) -> str:
    """A public key's, as clients show it."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == _IPV6
    except ValueError:
        return False
