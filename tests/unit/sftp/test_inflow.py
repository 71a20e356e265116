"""What comes is in one piece, in order, and within the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko.ssh_exception import SSHException

from server.sftp import wire
from server.sftp.inflow import HEAD_BYTES, Inflow
from server.sftp.wire import MalformedPacketError

PACKET_BYTES_MAX = 262144
WINDOW_BYTES = 4096


def inflow(window_bytes: int = 1 << 21) -> Inflow:
    return Inflow(window_bytes=window_bytes, packet_bytes_max=PACKET_BYTES_MAX)


def land(flow: Inflow, data: bytes) -> None:
    """As a decrypted packet: head, data and padding come together."""
    plain = b"\xff" * HEAD_BYTES + data + b"\xff" * 4
    flow.landing(len(plain))[:] = plain
    flow.land(len(data))


def taken(flow: Inflow) -> list[bytes]:
    found = []
    while (packet := flow.take()) is not None:
        found.append(bytes(packet))
    flow.settle()
    return found


def test_a_length_of_four_gibibytes_is_refused_before_anything_comes() -> None:
    """The length field alone must not make the server wait, or allocate."""
    flow = inflow()
    flow.feed(b"\xff\xff\xff\xff")

    with pytest.raises(MalformedPacketError):
        flow.take()


def test_an_empty_packet_is_malformed() -> None:
    """Every packet has a type."""
    flow = inflow()
    flow.feed(wire.u32(0))

    with pytest.raises(MalformedPacketError):
        flow.take()


@given(
    packets=st.lists(st.binary(min_size=1, max_size=300)),
    steps=st.lists(st.tuples(st.integers(1, 64), st.sampled_from("lfx")), min_size=1),
)
def test_packets_survive_any_way_of_being_cut_into_pieces(
    packets: list[bytes], steps: list[tuple[int, str]]
) -> None:
    """Landed, fed, or with packets of other channels in between: they are the same."""
    flow = inflow()
    stream = b"".join(wire.string(packet) for packet in packets)
    received, at, number = [], 0, 0
    while at < len(stream):
        step, way = steps[number % len(steps)]
        piece = stream[at : at + step]
        if way == "l":
            land(flow, piece)
        else:
            flow.feed(piece)
        if way == "x":
            flow.landing(64)[:] = b"\xee" * 64
            flow.lift()
        received += taken(flow)
        at += step
        number += 1

    assert received == packets


@given(st.lists(st.integers(1, 700), max_size=60))
def test_the_window_is_what_was_taken(lengths: list[int]) -> None:
    """A client that obeys it never meets the bound, however long it goes on."""
    flow, granted = inflow(WINDOW_BYTES), WINDOW_BYTES
    for length in lengths:
        piece = wire.string(bytes(length))
        if len(piece) > granted:
            continue
        land(flow, piece)
        granted -= len(piece)
        taken(flow)
        granted += flow.grant(WINDOW_BYTES // 4)

    with pytest.raises(SSHException):
        flow.feed(bytes(granted + 1))
    with pytest.raises(SSHException):
        land(flow, bytes(granted + 1))


def test_memory_is_taken_with_the_first_byte_and_given_back() -> None:
    """Five hundred idle sessions must not hold five hundred buffers."""
    flow = inflow()
    assert flow._memory is None
    flow.feed(wire.string(b"abc") + b"\0")
    assert taken(flow) == [b"abc"]

    flow.rest()
    assert flow.waiting == 1
    flow.feed(b"\0\0\1x")
    assert taken(flow) == [b"x"]
    flow.rest()
    assert flow._memory is None
