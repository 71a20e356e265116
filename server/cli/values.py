"""What people type, checked: networks, ports, rights, passwords.

Each reader returns the value or raises `typer.BadParameter` (exit code 2) with words
that say what is wrong and what is meant.
"""

import ipaddress
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from server.access.administration import Factors
from server.access.quotas import Limits
from server.cli.times import end_us
from server.model.algorithms import LineCrypto, Profile
from server.model.operation import Right, parse_rights
from server.model.quota import parse_size

PortRange = tuple[int, int]
QuotaBytes = Annotated[
    str,
    typer.Option(
        "--quota-bytes", metavar="SIZE|none", help="The most it may hold: 500M, 20G."
    ),
]
QuotaFiles = Annotated[
    str,
    typer.Option(
        "--quota-files", metavar="N|none", help="The most files and folders together."
    ),
]
_PORTS: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_FILE_BYTES_MAX: Final = 1 << 20


def networks(texts: Iterable[str]) -> tuple[str, ...]:
    """CIDR networks of IPv6 or IPv4, written the one right way."""
    return tuple(_network(text) for text in texts)


def _network(text: str) -> str:
    try:
        loose = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no network; write 203.0.113.0/24, 203.0.113.9 or "
            "2001:db8:1::/48"
        ) from None
    host = ipaddress.ip_interface(text.strip())
    if host.ip != loose.network_address:
        raise typer.BadParameter(
            f"{text} has bits set beyond its prefix; the network is {loose}, "
            f"the single address {host.ip}"
        )
    return str(loose)


def ports(text: str) -> tuple[PortRange, ...]:
    """Source ports such as `1024-2047,5000`, both ends included; `any`: all."""
    if text == "any":
        return ()
    found = []
    for part in text.split(","):
        match = _PORTS.fullmatch(part.strip())
        first = int(match[1]) if match else -1
        last = int(match[2] or match[1]) if match else -1
        if not 0 < first <= last <= 65535:  # noqa: PLR2004 - the highest port there is
            raise typer.BadParameter(
                f"{part.strip()!r} are no ports; write 1024-2047 or 1024-2047,5000"
            )
        found.append((first, last))
    return tuple(found)


def rights(text: str) -> Right:
    """A preset, a list of rights, or `none`."""
    if text == "none":
        return Right(0)
    try:
        return parse_rights(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def factors_of(text: str) -> Factors | None:
    """What an intake login proves; empty leaves it to what it is given."""
    try:
        return Factors(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write {', '.join(Factors)}") from None


def crypto_of(text: str) -> str:
    """`modern`, or old algorithms until a day's end in this machine's time zone."""
    try:
        asked = LineCrypto.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if asked.profile is Profile.MODERN:
        return text
    return str(replace(asked, until_us=end_us(text.partition(":")[2])))


def limits_of(size: str, count: str) -> Limits:
    """Quotas: `20G` or a number of bytes, a number of files; `none` lifts one."""
    try:
        most = parse_size(size) if size not in {"", "none"} else -1
        files = int(count) if count not in {"", "none"} else -1
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if files < -1:
        raise typer.BadParameter("a number of files is not negative")
    return Limits(bytes=most if size else None, files=files if count else None)


def read_file(path: Path) -> str:
    """A small text file, or standard input for `-`."""
    try:
        if str(path) == "-":
            return sys.stdin.read(_FILE_BYTES_MAX)
        with path.open(encoding="utf-8") as file:
            return file.read(_FILE_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def read_password() -> str:
    """The first line of standard input, its end left off; nothing else is stripped."""
    password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not password:
        raise typer.BadParameter("no password came on standard input")
    return password
