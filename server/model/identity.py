"""Who acts, and from where: values that are copied into every record."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum, unique

from server.model.charset import Charset
from server.model.operation import Protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@unique
class LoginKind(StrEnum):
    """What a login is for."""

    ADMIN = "admin"
    USER = "user"
    AUDITOR = "auditor"
    INTAKE = "intake"


class SourceRefusedError(ValueError):
    """A peer's address is none that a line can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The other end of a connection, as the kernel (or a trusted proxy) names it."""

    ip: str
    port: int
    via: str = ""
    """The proxy's address, when one stands between."""

    @classmethod
    def of_peer(cls, peer: object) -> "Source":
        """Read a socket's peer name, `(ip, port)` or IPv6's four values.

        An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`) is unmapped; a zone
        (`%eth0`) is dropped.

        Raises:
            SourceRefusedError: Not an address (a UNIX socket, for instance).
        """
        match peer:
            case (str(host), int(port), *_):
                return cls(ip=str(_address(host)), port=port)
            case _:
                raise SourceRefusedError(f"no network address: {peer!r}")

    @property
    def address(self) -> Address:
        """The address as a number-like value for line lookups."""
        return ipaddress.ip_address(self.ip)


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError as error:
        raise SourceRefusedError(str(error)) from error
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts. Names are copied into records; ids are for the store and rights."""

    protocol: Protocol
    contract: str = ""
    contract_id: str = ""
    login: str = ""
    login_id: str = ""
    kind: LoginKind | None = None
    device: str = ""
    """The device's id; its name and key follow."""
    device_name: str = ""
    device_key: str = ""
    """SHA-256 of the SubjectPublicKeyInfo (DER), lower-case hexadecimal."""
    line: str = ""
    line_id: str = ""
    source: Source | None = None
    session: str = ""
    client: str = ""
    algorithms: str = ""
    charset: Charset = Charset.UTF8
    """How the device writes names, over SFTP."""
