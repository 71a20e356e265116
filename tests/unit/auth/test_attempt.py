"""What failures cost: delays, bans and what a source is, as pure values."""

from hypothesis import given
from hypothesis import strategies as st

from server.auth.attempt import (
    BAN_US_MAX,
    FAILURES_MAX,
    WINDOW_US,
    Knocking,
    Tries,
    ban_us,
    source_key,
)
from server.model.identity import Source

SECOND_US = 1_000_000


def delays(count: int, *, free: int, most_s: int) -> list[int]:
    """The delay after each of so many failures in a row, seconds."""
    tries, found = Tries(), []
    for n in range(count):
        now_us = n * SECOND_US
        tries = tries.after_failure(now_us, free=free, delay_us_max=most_s * SECOND_US)
        found.append(max(tries.closed_until_us - now_us, 0) // SECOND_US)
    return found


def test_delays_begin_late_double_and_end_growing() -> None:
    """A slip costs nothing, a guesser a minute a guess."""
    assert delays(9, free=3, most_s=20) == [0, 0, 1, 2, 4, 8, 16, 20, 20]


def test_an_old_failure_is_forgotten() -> None:
    """Yesterday's slips do not delay today."""
    tries = Tries(failed=9, last_us=0)

    after = tries.after_failure(WINDOW_US, free=3, delay_us_max=SECOND_US)

    assert after.failed == 1
    assert after.closed_until_us == WINDOW_US


@given(st.lists(st.sampled_from(["alice", "bob", None]), max_size=60))
def test_known_names_never_ban_for_their_number(names: list[str | None]) -> None:
    """Only names that nobody has tell a stranger from an office."""
    knocking = Knocking(since_us=0)
    for name in names:
        knocking = knocking.after_failure(1, name)

    assert knocking.ban_rule(unknown_max=3) == ""
    assert knocking.failed == len(names)


def test_many_unknown_names_or_very_many_failures_ban() -> None:
    """Guessing logins, and hammering at one."""
    guessing = hammering = Knocking(since_us=0)
    for n in range(20):
        assert guessing.ban_rule(unknown_max=20) == ""
        guessing = guessing.after_failure(1, f"user{n}")
    for _ in range(FAILURES_MAX):
        assert hammering.ban_rule(unknown_max=20) == ""
        hammering = hammering.after_failure(1, None)

    assert guessing.ban_rule(unknown_max=20) == "unknown_logins"
    assert hammering.ban_rule(unknown_max=20) == "too_many_failures"
    assert hammering.after_failure(WINDOW_US, None).failed == 1


def test_bans_double_up_to_a_day() -> None:
    """Who comes back after each ban waits longer and longer."""
    ten_minutes = 600 * SECOND_US

    assert [ban_us(level, ten_minutes) // ten_minutes for level in range(4)] == [
        1, 2, 4, 8,
    ]  # fmt: skip
    assert ban_us(1000, ten_minutes) == BAN_US_MAX


def test_an_ipv6_host_is_its_whole_network() -> None:
    """One machine has 2^64 addresses there."""
    first = source_key(Source(ip="2001:db8:0:1::1", port=1))

    assert first == source_key(Source(ip="2001:db8:0:1:ffff::2", port=2))
    assert first == "2001:db8:0:1::/64"
    assert source_key(Source(ip="192.0.2.7", port=1)) == "192.0.2.7"
