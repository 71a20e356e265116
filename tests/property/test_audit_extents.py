"""Extents agree with a set of bytes, whatever the order of the blocks."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.audit import extents
from server.audit.extents import Extents

BLOCKS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=60)


@given(BLOCKS)
def test_ranges_are_the_bytes_that_went_by(blocks: list[tuple[int, int]]) -> None:
    """A record that names other bytes than those read would be a lie."""
    moved, seen = Extents(), set[int]()
    for offset, length in blocks:
        moved.add(offset, length)
        seen.update(range(offset, offset + length))

    told = {
        place
        for offset, length in moved.pairs()
        for place in range(offset, offset + length)
    }

    assert told == seen
    assert moved.covered == len(seen)
    assert moved.bytes == sum(length for _, length in blocks)


@given(BLOCKS)
def test_ranges_are_ascending_and_never_touch(blocks: list[tuple[int, int]]) -> None:
    """Merged means merged: two histories of the same bytes read the same."""
    moved = Extents()
    for offset, length in blocks:
        moved.add(offset, length)

    pairs = moved.pairs()

    assert all(
        start + length < following
        for (start, length), (following, _) in pairwise(pairs)
    )


@given(BLOCKS, st.integers(0, 120))
def test_whole_means_every_byte(blocks: list[tuple[int, int]], size: int) -> None:
    """A hash is recorded only of content that went by whole."""
    moved, seen = Extents(), set[int]()
    for offset, length in blocks:
        moved.add(offset, length)
        seen.update(range(offset, offset + length))

    if moved.whole(size):
        assert set(range(size)) <= seen


def test_a_sequential_transfer_stays_one_range() -> None:
    """The usual case must cost nothing."""
    moved = Extents()
    for block in range(1000):
        moved.add(block * 32768, 32768)

    assert moved.ranges() == [[0, 32768000]]
    assert moved.whole(32768000)


def test_many_ranges_are_told_by_count_and_hash() -> None:
    """A record has a bound, but still proves which bytes were read."""
    moved, other = Extents(), Extents()
    for block in range(extents.SHOWN_MAX + 1):
        moved.add(block * 10, 5)
        other.add(block * 10, 6)

    told, differs = moved.ranges(), other.ranges()

    assert isinstance(told, dict)
    assert isinstance(differs, dict)
    assert told["count"] == extents.SHOWN_MAX + 1
    assert told["sha256"] != differs["sha256"]


def test_memory_is_bounded_against_a_hostile_pattern() -> None:
    """Reading every second byte of a huge file must not eat the server."""
    moved = Extents()
    for place in range(extents.KEPT_MAX + 10):
        moved.add(place * 2, 1)

    told = moved.ranges()

    assert len(moved.pairs()) <= extents.KEPT_MAX
    assert isinstance(told, dict)
    assert told["exact"] is False
    assert not moved.whole(1)
