"""The packet reader trusts no length."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sftp import wire
from server.sftp.wire import Framer, MalformedPacketError, Reader

PACKET_BYTES_MAX = 262144


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


def test_a_length_of_four_gibibytes_is_refused_before_anything_comes() -> None:
    """The length field alone must not make the server wait, or allocate."""
    with pytest.raises(MalformedPacketError):
        list(Framer(PACKET_BYTES_MAX).feed(b"\xff\xff\xff\xff"))


def test_an_empty_packet_is_malformed() -> None:
    """Every packet has a type."""
    with pytest.raises(MalformedPacketError):
        list(Framer(PACKET_BYTES_MAX).feed(wire.u32(0)))


@given(st.lists(st.binary(min_size=1, max_size=300)), st.integers(1, 64))
def test_packets_survive_any_way_of_being_cut_into_pieces(
    packets: list[bytes], step: int
) -> None:
    """A channel hands over bytes as it likes; the packets are the same."""
    framer = Framer(PACKET_BYTES_MAX)
    stream = b"".join(wire.string(packet) for packet in packets)

    received = [
        bytes(packet)
        for at in range(0, len(stream), step)
        for packet in framer.feed(stream[at : at + step])
    ]

    assert received == packets


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


def test_a_long_packet_in_single_bytes_costs_no_more_than_its_length() -> None:
    """One-byte pieces must not make a copy of all that came before."""
    framer = Framer(PACKET_BYTES_MAX)
    tracemalloc.start()

    for byte in wire.u32(50_000) + bytes(49_999):
        assert not list(framer.feed(bytes([byte])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1_000_000
