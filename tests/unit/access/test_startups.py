"""Random early drop of connections that have not logged in."""

import pytest

from server.access.startups import Startups
from server.model.identity import Source

HERE = Source(ip="192.0.2.7", port=1)


@pytest.mark.parametrize(
    ("waiting", "draw", "dropped"),
    [
        (9, 0.0, False),
        (10, 0.29, True),
        (10, 0.31, False),
        (55, 0.64, True),
        (55, 0.66, False),
        (99, 0.99, True),
        (100, 1.0, True),
    ],
)
def test_the_chance_to_be_dropped_rises_from_begin_to_full(
    waiting: int, draw: float, *, dropped: bool
) -> None:
    """10:30:100, as OpenSSH means it."""
    draws = [1.0]
    startups = Startups("10:30:100", 1000, chance=lambda: draws[-1])
    for _ in range(waiting):
        assert startups.enter(HERE) == ""
    draws.append(draw)

    assert (startups.enter(HERE) == "startups") == dropped


def test_a_source_has_a_bound_of_its_own_and_gets_its_room_back() -> None:
    """An IPv6 host owns its /64: another address of it is the same source."""
    startups = Startups("90:30:100", 2)
    first = Source(ip="2001:db8::1", port=1)
    second = Source(ip="2001:db8::2", port=1)
    neighbour = Source(ip="2001:db8:0:1::1", port=1)

    assert [startups.enter(s) for s in (first, second)] == ["", ""]
    assert startups.enter(first) == "startups_source_max"
    assert startups.enter(neighbour) == ""
    startups.leave(second)
    assert startups.enter(first) == ""
    assert startups.waiting == 3
