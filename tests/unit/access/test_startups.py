"""Random early drop of connections that have not logged in, and who makes room."""

from dataclasses import dataclass, field

import pytest

from server.access.startups import PATIENCE_S, Place, Startups
from server.model.identity import Source

HERE = Source(ip="192.0.2.7", port=1)
NEIGHBOUR = Source(ip="192.0.2.8", port=1)


@dataclass
class Door:
    """A bounded door with a clock and a die of its own."""

    rule: str = "10:30:100"
    source_max: int = 1000
    time_s: float = 0.0
    draw: float = 1.0
    startups: Startups = field(init=False)

    def __post_init__(self) -> None:
        self.startups = Startups(
            self.rule,
            self.source_max,
            chance=lambda: self.draw,
            now_s=lambda: self.time_s,
        )

    def enter(self, source: Source = HERE) -> tuple[Place, str, Place | None]:
        """A new connection: its place, the rule against it, who went for it."""
        place = Place()
        rule, former = self.startups.enter(place, source)
        return place, rule, former

    def rules(self, source: Source, count: int) -> list[str]:
        return [self.enter(source)[1] for _ in range(count)]


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
    door = Door()
    assert set(door.rules(HERE, waiting)) <= {""}
    door.draw = draw

    assert (door.enter()[1] == "startups") == dropped


def test_a_source_has_a_bound_of_its_own_and_gets_its_room_back() -> None:
    """An IPv6 host owns its /64: another address of it is the same source."""
    door = Door("90:30:100", 2)
    first = Source(ip="2001:db8::1", port=1)
    second = Source(ip="2001:db8::2", port=1)
    neighbour = Source(ip="2001:db8:0:1::1", port=1)

    place, *_ = door.enter(second)
    assert door.rules(first, 2) == ["", "startups_source_max"]
    assert door.rules(neighbour, 1) == [""]
    door.startups.leave(place)
    door.startups.leave(place)
    assert door.rules(first, 1) == [""]
    assert door.startups.waiting == 3


def test_the_oldest_silent_one_of_the_source_makes_room() -> None:
    """Silent clients behind an office's address do not keep the office out."""
    door = Door("90:30:100", 3)
    oldest, *_ = door.enter()
    door.time_s = 1.0
    door.rules(HERE, 2)
    door.time_s = PATIENCE_S

    _, rule, former = door.enter()

    assert (rule, former) == ("", oldest)
    assert door.startups.waiting == 3
    assert door.rules(HERE, 1) == ["startups_source_max"]  # the others are young still


def test_who_has_proved_a_device_stays() -> None:
    """A person is typing a password there, and may need the whole grace time."""
    door = Door("90:30:100", 2)
    typing, *_ = door.enter()
    typing.proved = True
    silent, *_ = door.enter()
    door.time_s = PATIENCE_S

    assert door.enter()[2] is silent
    assert door.rules(HERE, 1) == ["startups_source_max"]


def test_a_full_house_takes_from_who_holds_most() -> None:
    """A neighbour's two connections are not dropped for somebody's eight."""
    door = Door("5:100:10")
    door.rules(NEIGHBOUR, 2)
    crowd, *_ = door.enter()
    door.rules(HERE, 2)
    door.time_s = PATIENCE_S
    door.draw = 0.0

    _, rule, former = door.enter(NEIGHBOUR)

    assert (rule, former) == ("", crowd)


def test_who_made_room_and_leaves_later_is_not_counted_twice() -> None:
    """Its connection ends a moment after its place was given away."""
    door = Door("90:30:100", 1)
    first, *_ = door.enter()
    door.time_s = PATIENCE_S
    second, *_ = door.enter()
    door.startups.leave(first)

    assert door.startups.waiting == 1
    door.startups.leave(second)
    assert door.startups.waiting == 0
