"""Which lines a source lies in: a pure index over a snapshot.

Within a contract the longest prefix governs, as in a routing table: a suspended /24
inside an active /16 keeps its hosts out. A line with source ports is meant only for
those; for other ports the next shorter prefix is asked.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netaddr import AddrFormatError, IPAddress, IPNetwork

from server.auth.snapshot import Line, LineState
from server.model.identity import Source

_Key = tuple[int, int, int]
"""IP version, prefix length, first address."""

_BITS = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesFound:
    """What the lines say about a source."""

    lines: tuple[Line, ...] = ()
    """The governing active line of each contract that has one."""
    rule: str = ""
    """When there is none: why."""


class LineIndex:
    """The lines of all contracts by prefix."""

    def __init__(self, lines: Iterable[Line]) -> None:
        """Index `lines`; their networks were checked when they were added."""
        self._lines: dict[_Key, list[Line]] = {}
        lengths: dict[int, set[int]] = {4: set(), 6: set()}
        for line in lines:
            for text in line.networks:
                network = IPNetwork(text)
                version, length = network.version, network.prefixlen
                lengths[version].add(length)
                key = (version, length, network.first)
                self._lines.setdefault(key, []).append(line)
        self._lengths = {
            version: sorted(found, reverse=True) for version, found in lengths.items()
        }

    def find(self, source: Source, now_us: int) -> LinesFound:
        """The lines that `source` may use now."""
        governing: dict[str, Line] = {}
        other_port = False
        for line in self._candidates(source):
            if not _port_fits(line, source.port):
                other_port = True
            else:
                governing.setdefault(line.contract_id, line)
        usable = tuple(
            line for line in governing.values() if not _unusable(line, now_us)
        )
        if usable:
            return LinesFound(lines=usable)
        reasons = [_unusable(line, now_us) for line in governing.values()]
        return LinesFound(
            rule=reasons[0] if reasons else "port" if other_port else "no_line"
        )

    def _candidates(self, source: Source) -> Iterator[Line]:
        """Lines around an address, the longest prefix first."""
        address = IPAddress(source.ip)
        bits, value = _BITS[address.version], int(address)
        for length in self._lengths[address.version]:
            first = value >> (bits - length) << (bits - length)
            yield from self._lines.get((address.version, length, first), ())


def parse_network(text: str) -> str:
    """Read a CIDR text and write it in one form.

    Raises:
        ValueError: Not a network, or an address with bits behind the prefix.
    """
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError) as error:
        raise ValueError(
            f"not a network: {text!r}; use 192.0.2.0/24 or 2001:db8::/48"
        ) from error
    if network.ip != network.network:
        raise ValueError(f"{text!r} has bits set behind its prefix; use {network.cidr}")
    if network.is_ipv4_mapped():
        raise ValueError(f"write {text!r} as an IPv4 network")
    return str(network.cidr)


def parse_ports(text: str) -> tuple[int, int]:
    """Read a range of source ports, `1024-2047` or one port.

    Raises:
        ValueError: Not a range within 1 to 65535.
    """
    first, _, last = text.partition("-")
    try:
        span = int(first), int(last or first)
    except ValueError as error:
        raise ValueError(f"not a port range: {text!r}; use 1024-2047") from error
    if not 1 <= span[0] <= span[1] <= 65535:  # noqa: PLR2004 - TCP's ports
        raise ValueError(f"not a port range: {text!r}; use 1024-2047")
    return span


def _port_fits(line: Line, port: int) -> bool:
    return not line.ports or any(first <= port <= last for first, last in line.ports)


def _unusable(line: Line, now_us: int) -> str:
    if line.state is LineState.SUSPENDED:
        return "line_suspended"
    if line.valid_until_us is not None and line.valid_until_us <= now_us:
        return "line_expired"
    return ""
