"""The hash of content that goes by."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from server.vfs.digest import Digest

LENGTHS = st.lists(st.sampled_from([0, 1, 4096, 262_143, 262_144, 400_000]), max_size=6)


@given(lengths=LENGTHS)
def test_two_blocks_that_take_turns_are_hashed_as_they_were(lengths: list[int]) -> None:
    """A block that is filled again too early would put a wrong hash on record."""
    digest, expected, offset = Digest(wanted=True), hashlib.sha256(), 0
    blocks = [bytearray(400_000), bytearray(400_000)]
    for number, length in enumerate(lengths):
        block = blocks[number % 2]
        block[:] = bytes([number + 1]) * len(block)
        digest.add(offset, memoryview(block)[:length], kept=True)
        expected.update(memoryview(block)[:length])
        offset += length

    assert digest.of(offset) == expected.hexdigest()
    assert digest.of(offset + 1) is None


def test_what_does_not_follow_on_has_no_hash() -> None:
    """The record must not tell the hash of content that nobody sent."""
    digest = Digest(wanted=True)
    digest.add(0, b"a")
    digest.add(5, b"b")

    assert not digest.stands
    assert digest.of(6) is None
