"""Port sets: MAP-E's algorithm (RFC 7597, section 5.1) and ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth.port_set import MapE, PortSet


@st.composite
def parameters(draw: st.DrawFn) -> MapE:
    offset = draw(st.integers(0, 10))
    length = draw(st.integers(0, 16 - offset))
    psid = draw(st.integers(0, (1 << length) - 1))
    return MapE(offset=offset, length=length, psid=psid)


def test_the_example_of_the_rfc() -> None:
    """Appendix A, example 1: offset 6, length 8, PSID 0x34 has 63 ranges of four."""
    ranges = MapE.parse("6:8:0x34").ranges()

    assert len(ranges) == 63
    assert ranges[:2] == ((1232, 1235), (2256, 2259))
    assert ranges[-2:] == ((63696, 63699), (64720, 64723))


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("6:8:0", 63, (1024, 1027), (64512, 64515)),
        ("6:8:255", 63, (2044, 2047), (65532, 65535)),
        ("4:8:0", 15, (4096, 4111), (61440, 61455)),
        ("4:8:0xff", 15, (8176, 8191), (65520, 65535)),
        ("6:10:1", 63, (1025, 1025), (64513, 64513)),
        ("0:2:1", 1, (16384, 32767), (16384, 32767)),
        ("0:0:0", 1, (0, 65535), (0, 65535)),
    ],
)
def test_first_and_last_ranges(
    text: str, count: int, first: tuple[int, int], last: tuple[int, int]
) -> None:
    """The sharing ratios that carriers use, worked out by hand from section 5.1."""
    ranges = MapE.parse(text).ranges()

    assert (len(ranges), ranges[0], ranges[-1]) == (count, first, last)


@given(parameters())
def test_ranges_are_what_the_bits_of_a_port_say(map_e: MapE) -> None:
    """An independent reading: PSID bits equal, and A not zero where there is an A."""
    ports = PortSet(map_e.ranges())
    rest = 16 - map_e.offset - map_e.length
    mask = (1 << map_e.length) - 1

    for port in range(0, 1 << 16, 7):
        bits = port >> rest & mask == map_e.psid
        a = port >> (16 - map_e.offset) if map_e.offset else 1
        assert (port in ports) == (bits and a > 0)


@given(st.integers(0, 8), st.integers(0, 8))
def test_all_subscribers_together_have_each_port_once(offset: int, length: int) -> None:
    """Two lines on one shared address must never hold the same port."""
    seen: set[int] = set()
    for psid in range(1 << length):
        for first, last in MapE(offset=offset, length=length, psid=psid).ranges():
            ports = set(range(first, last + 1))
            assert not ports & seen
            seen |= ports

    lowest = 1 << (16 - offset) if offset else 0
    assert seen == set(range(lowest, 1 << 16))


@given(parameters())
def test_parameters_are_read_as_they_are_written(map_e: MapE) -> None:
    """What `line list` shows can be typed again."""
    assert MapE.parse(str(map_e)) == map_e


@pytest.mark.parametrize(
    "text",
    ["", "6:8", "6:8:256", "16:0:0", "-1:8:0", "10:8:0", "6:-1:0", "6:8:x", "6:8:1:2"],
)
def test_impossible_parameters_are_refused(text: str) -> None:
    """A wrong digit would open the line to another subscriber."""
    with pytest.raises(ValueError, match=r"MAP-E|PSID"):
        MapE.parse(text)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 40)), max_size=8),
    st.integers(0, 400),
)
def test_overlapping_ranges_are_one_set(
    spans: list[tuple[int, int]], port: int
) -> None:
    """Ranges come as they were typed, in any order."""
    ranges = tuple((first, first + more) for first, more in spans)

    expected = any(first <= port <= last for first, last in ranges) or not ranges
    assert (port in PortSet(ranges)) == expected
