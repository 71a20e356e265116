"""Failed logins: whom they delay and when a source is banned. Pure.

A person's slips delay that login on that device alone, so an office behind one address
is not locked out by them. A source is banned for what no person does: naming many
logins that do not exist, or failing without a known device a thousand times.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Final

from server.model.identity import Source

WINDOW_US: Final = 15 * 60 * 1_000_000
"""Failures older than this are forgotten."""
FAILURES_MAX: Final = 1000
"""Without a known device, from one source within the window."""
BAN_LEVEL_MAX: Final = 8
BAN_US_MAX: Final = 24 * 3600 * 1_000_000
_IPV6_SITE_BITS: Final = 64


def source_key(source: Source) -> str:
    """What one source is: an IPv4 address, or the /64 that an IPv6 host has whole."""
    address = source.address
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    shift = 128 - _IPV6_SITE_BITS
    base = ipaddress.IPv6Address(int(address) >> shift << shift)
    return f"{base}/{_IPV6_SITE_BITS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """The failures of one login on one device and line."""

    failed: int = 0
    last_us: int = 0
    closed_until_us: int = 0
    """No try is looked at before."""

    def after_failure(self, now_us: int, *, free: int, delay_us_max: int) -> "Tries":
        """One more; from the `free`-th on each doubles the delay, from a second on."""
        earlier = self.failed if now_us - self.last_us < WINDOW_US else 0
        failed = earlier + 1
        over = failed - free
        delay_us = min(1_000_000 << min(over, 30), delay_us_max) if over >= 0 else 0
        return Tries(failed=failed, last_us=now_us, closed_until_us=now_us + delay_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knocking:
    """What one source failed at without a known device."""

    since_us: int
    failed: int = 0
    unknown: frozenset[str] = field(default_factory=frozenset)
    """Names that no login has."""

    def after_failure(self, now_us: int, unknown_name: str | None) -> "Knocking":
        """One more; `unknown_name` is None when the login exists."""
        kept = self
        if now_us - self.since_us >= WINDOW_US:
            kept = Knocking(since_us=now_us)
        names = kept.unknown
        if unknown_name is not None and len(names) < FAILURES_MAX:
            names |= {unknown_name}
        return replace(kept, failed=kept.failed + 1, unknown=names)

    def ban_rule(self, *, unknown_max: int) -> str:
        """Why the source is banned now; empty while it is not."""
        if len(self.unknown) >= unknown_max:
            return "unknown_logins"
        return "too_many_failures" if self.failed >= FAILURES_MAX else ""


def ban_us(level: int, first_us: int) -> int:
    """How long a ban lasts: each one within a day of the last is twice as long."""
    return min(first_us << min(level, BAN_LEVEL_MAX), BAN_US_MAX)
