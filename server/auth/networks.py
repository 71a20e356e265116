"""Networks of lines as an operator types them: what is refused, what is warned of.

Pure. What no client can come from is refused; what many strangers may share is told,
and only the whole Internet needs a word of its own (`--allow-any`).
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from netaddr import AddrFormatError, IPNetwork

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_V4: Final = 4
_V4_BITS: Final = 32
_WIDEST: Final = {4: 24, 6: 48}
_CGN: Final = ipaddress.IPv4Network("100.64.0.0/10")
_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
_NO_SOURCE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8"),
    )
)
"""Unspecified, multicast and reserved addresses: nobody sends from them."""

_EMBEDDING: Final[tuple[tuple[ipaddress.IPv6Network, int, str], ...]] = (
    (ipaddress.IPv6Network("2002::/16"), 16, "6to4"),
    (ipaddress.IPv6Network("64:ff9b::/96"), 96, "NAT64"),
)
"""Prefixes that carry an IPv4 address from that bit on (RFC 3056, RFC 6052)."""

_AS_IPV4: Final = (
    ipaddress.IPv6Network("::ffff:0:0/96"),
    ipaddress.IPv6Network("::ffff:0:0:0/96"),
)
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")


def parse_network(text: str) -> str:
    """Read a CIDR text and write it in one form.

    Raises:
        ValueError: Not a network, an address with bits behind the prefix, or one that
            no client can come from.
    """
    try:
        strict = IPNetwork(text.strip())
    except (AddrFormatError, ValueError) as error:
        raise ValueError(
            f"not a network: {text!r}; use 192.0.2.0/24 or 2001:db8::/48"
        ) from error
    if strict.ip != strict.network:
        raise ValueError(f"{text!r} has bits set behind its prefix; use {strict.cidr}")
    network = ipaddress.ip_network(str(strict.cidr))
    problem = _problem(network)
    if problem:
        raise ValueError(f"{network}: {problem}")
    return str(network)


def is_any(text: str) -> bool:
    """Whether a network holds every IPv6 or every IPv4 address."""
    network = ipaddress.ip_network(text)
    inner = _embedded(network)
    return network.prefixlen == 0 or (inner is not None and inner.prefixlen == 0)


def warnings_of(text: str) -> list[str]:
    """What an operator should know of a network, in plain words; often nothing."""
    network = ipaddress.ip_network(text)
    found = []
    inner = _embedded(network)
    judged = inner if inner is not None else network
    if _within(judged, [_CGN]):
        found.append(
            "is carrier-grade NAT (RFC 6598): strangers may share these addresses; add "
            "the source ports, or better the line's IPv6 prefix"
        )
    elif _within(judged, _PRIVATE):
        found.append(
            "is private: only clients that reach this server without NAT have such a "
            "source, and every network uses the same addresses"
        )
    widest = _WIDEST[judged.version]
    if judged.prefixlen < widest:
        found.append(
            f"is larger than a /{widest}: a single office's line is smaller; ask the "
            "carrier for its prefix"
        )
    return [f"{network} {warning}" for warning in found]


def overlapping(texts: Iterable[str], others: Iterable[str]) -> list[str]:
    """Which of `others` share addresses with any of `texts`."""
    mine = [ipaddress.ip_network(text) for text in texts]
    return [text for text in others if _within_or_around(text, mine)]


def _problem(network: Network) -> str:
    """Why no line can be made of it; empty when it can."""
    if _within(network, _NO_SOURCE):
        return "no client can come from there"
    if isinstance(network, ipaddress.IPv4Network):
        return ""
    if _within(network, _AS_IPV4):
        return "write it as an IPv4 network"
    if _within(network, [_TEREDO]):
        return "Teredo addresses change with each NAT; name the line's own prefix"
    return _problem_of_embedding(network)


def _problem_of_embedding(network: ipaddress.IPv6Network) -> str:
    for prefix, _, name in _EMBEDDING:
        inner = _embedded(network)
        if inner is None or not network.subnet_of(prefix):
            continue
        if inner.prefixlen and not inner.is_global:
            return (
                f"{name} of {inner}, which cannot be reached from outside: no client "
                "has such an address"
            )
        if name == "6to4" and inner.prefixlen < _WIDEST[_V4]:
            return f"6to4 of {inner}: that is no single line"
    return ""


def _embedded(network: Network) -> ipaddress.IPv4Network | None:
    """The IPv4 network that an IPv6 one stands for, or None."""
    if isinstance(network, ipaddress.IPv4Network):
        return None
    for prefix, at_bit, _ in _EMBEDDING:
        if not network.subnet_of(prefix):
            continue
        length = min(network.prefixlen - at_bit, _V4_BITS)
        shift = 128 - at_bit - _V4_BITS
        value = int(network.network_address) >> shift & 0xFFFFFFFF
        return ipaddress.IPv4Network((value, length))
    return None


def _within(network: Network, others: Iterable[Network]) -> bool:
    for other in others:
        match network, other:
            case ipaddress.IPv4Network(), ipaddress.IPv4Network():
                found = network.subnet_of(other)
            case ipaddress.IPv6Network(), ipaddress.IPv6Network():
                found = network.subnet_of(other)
            case _:
                found = False
        if found:
            return True
    return False


def _within_or_around(text: str, networks: Iterable[Network]) -> bool:
    other = ipaddress.ip_network(text)
    return any(
        _within(network, [other]) or _within(other, [network]) for network in networks
    )
