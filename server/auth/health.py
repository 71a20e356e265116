"""What of the accounts would keep clients out, now or soon. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from server.auth.snapshot import Device, DeviceState, Line, LineState, Snapshot
from server.model.algorithms import LineCrypto, Profile
from server.model.clock import rfc3339

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DAY_US: Final = 24 * 3600 * 1_000_000
SOON_US: Final = 14 * DAY_US


@unique
class Health(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    health: Health
    text: str


def line_findings(
    accounts: Snapshot, now_us: int, *, families: Iterable[int]
) -> Iterator[Finding]:
    """Lines that match nothing, or soon will not.

    Args:
        accounts: All of them.
        now_us: Wall clock.
        families: The IP versions that listeners have addresses of.
    """
    names = {contract.id: contract.name for contract in accounts.contracts}
    heard = set(families)
    for contract_id, contract in names.items():
        lines = [line for line in accounts.lines if line.contract_id == contract_id]
        if not any(_in_force(line, now_us) for line in lines):
            text = f"No line of {contract} is active: none of its logins can come in."
            yield Finding("line", Health.PROBLEM, text)
        for line in lines:
            others = [other for other in lines if other.id != line.id]
            for health, text in _about(line, others, now_us, heard):
                yield Finding("line", health, f"{contract}/{line.name} {text}")


def device_findings(accounts: Snapshot, now_us: int) -> Iterator[Finding]:
    """Devices that expire within two weeks, have expired, or wait for approval."""
    for device in accounts.devices:
        text = _device_text(device, now_us)
        if text:
            login = accounts.login(device.login_id)
            owner = login.name if login else "?"
            yield Finding("device", Health.WARNING, f"{owner}/{device.name} {text}")


def _device_text(device: Device, now_us: int) -> str:
    if device.state is DeviceState.PENDING:
        return "waits for approval: `kagikura device approve`."
    end_us = device.valid_until_us
    if end_us is None or device.state is DeviceState.LOCKED:
        return ""
    if end_us <= now_us:
        return f"expired at {rfc3339(end_us)} and is refused."
    if end_us - now_us < SOON_US:
        return f"expires at {rfc3339(end_us)}."
    return ""


def _in_force(line: Line, now_us: int) -> bool:
    return line.state is LineState.ACTIVE and _in_time(line, now_us)


def _in_time(line: Line, now_us: int) -> bool:
    begun = line.valid_from_us is None or line.valid_from_us <= now_us
    return begun and (line.valid_until_us is None or now_us < line.valid_until_us)


def _about(
    line: Line, others: list[Line], now_us: int, heard: set[int]
) -> Iterator[tuple[Health, str]]:
    yield from _about_time(line, now_us)
    networks = [ipaddress.ip_network(text) for text in line.networks]
    if not {network.version for network in networks} & heard:
        yield Health.PROBLEM, "matches nothing: no listener has such addresses."
    for network in networks:
        if _covered(network, line, others, now_us):
            yield (
                Health.WARNING,
                f"never governs {network}: more specific lines hold all of it.",
            )
    crypto = LineCrypto.parse(line.crypto)
    if crypto.profile is not Profile.MODERN and crypto.until_us - now_us < SOON_US:
        when = rfc3339(crypto.until_us)
        yield Health.WARNING, f"has old algorithms until {when}; then only modern ones."


def _about_time(line: Line, now_us: int) -> Iterator[tuple[Health, str]]:
    begins_us, ends_us = line.valid_from_us, line.valid_until_us
    if line.state is LineState.SUSPENDED:
        yield Health.WARNING, "is suspended and refuses its addresses."
    if begins_us is not None and now_us < begins_us:
        yield Health.WARNING, f"matches nothing before {rfc3339(begins_us)}."
    if ends_us is not None and ends_us <= now_us:
        yield Health.WARNING, f"matches nothing since {rfc3339(ends_us)}."
    elif ends_us is not None and ends_us - now_us < SOON_US:
        yield Health.WARNING, f"ends at {rfc3339(ends_us)}."


def _covered(network: Network, line: Line, others: Iterable[Line], now_us: int) -> bool:
    """Whether lines for any port that are more specific hold the whole network."""
    first, last = _ends(network)
    parts = sorted(
        _ends(candidate)
        for other in others
        if not other.ports and _in_time(other, now_us)
        for candidate in map(ipaddress.ip_network, other.networks)
        if candidate.version == network.version
        and _goes_before(candidate, other, network, line)
    )
    reached = first
    for begin, end in parts:
        if begin > reached:
            return False
        reached = max(reached, end + 1)
    return reached > last


def _goes_before(candidate: Network, other: Line, network: Network, line: Line) -> bool:
    """Whether `other` governs where both networks hold an address."""
    if candidate == network:
        return not line.ports and other.name < line.name
    first, last = _ends(candidate)
    return _ends(network)[0] <= first and last <= _ends(network)[1]


def _ends(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)
