"""The packet reader trusts no length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sftp import wire
from server.sftp.wire import MalformedPacketError, Reader


def test_a_string_longer_than_its_packet_is_malformed() -> None:
    """Paramiko's reader would hand out zeros that nobody sent."""
    packet = wire.u32(1000) + b"abcd"

    with pytest.raises(MalformedPacketError):
        Reader(memoryview(packet)).string()


def test_bytes_after_the_last_field_are_malformed() -> None:
    """Two readings of one packet are the start of many a bypass."""
    reader = Reader(memoryview(wire.string(b"a") + b"x"))
    reader.string()

    with pytest.raises(MalformedPacketError):
        reader.end()


@given(st.binary(max_size=400), st.lists(st.sampled_from(["u32", "u64", "string"])))
def test_any_bytes_are_read_or_refused_and_nothing_else(
    packet: bytes, fields: list[str]
) -> None:
    """No other exception, and no more bytes than came."""
    reader = Reader(memoryview(packet))

    try:
        strings = [getattr(reader, field)() for field in fields]
    except MalformedPacketError:
        return

    told = sum(len(part) for part in strings if isinstance(part, memoryview))
    assert told <= len(packet)


@given(st.binary(max_size=200))
def test_any_name_comes_back_as_the_same_bytes(name: bytes) -> None:
    """Names that are no UTF-8 must reach the refusal, and its record, unharmed."""
    text = Reader(memoryview(wire.string(name))).text()

    assert wire.text(text) == wire.string(name)
