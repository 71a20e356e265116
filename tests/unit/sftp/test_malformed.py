"""Packets that no client should send: the session ends, and nothing was done."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.model.clock import SystemClock
from server.settings.schema import Settings
from server.sftp import wire
from server.sftp.requests import TABLE, Requests
from server.sftp.wire import MalformedPacketError
from server.vfs.view import View
from tests.unit.sftp.packets import (
    DENIED,
    EXTENDED,
    FAILURE,
    FLAG_CREAT,
    FLAG_READ,
    FLAG_WRITE,
    HANDLE,
    OK,
    REALPATH,
    REMOVE,
    SETSTAT,
    STAT,
    WRITE,
    Client,
)


def test_a_write_that_claims_more_than_it_carries_stores_nothing(
    client: Client,
) -> None:
    """Stock paramiko stored 996 invented zeros for such a packet, and said OK."""
    handle = client.open("a", FLAG_WRITE | FLAG_CREAT).handle

    with pytest.raises(MalformedPacketError):
        client.ask(WRITE, wire.string(handle), wire.u64(0), wire.u32(1000) + b"four")

    assert client.ask(STAT, wire.text("a")).reader.u32()
    assert client.close(handle).status == OK
    assert client.open("a", FLAG_READ).kind == HANDLE


def test_what_follows_the_content_of_a_write_is_dropped(client: Client) -> None:
    """The rclone of Debian 12 sends its whole buffer; only the length counts."""
    handle = client.open("a", FLAG_WRITE | FLAG_CREAT).handle
    fields = (wire.string(handle), wire.u64(0), wire.string(b"real"), b"rest")

    assert client.ask(WRITE, *fields).status == OK
    assert client.close(handle).status == OK
    assert client.get("a") == b"real"


@pytest.mark.parametrize(
    "packet",
    [
        bytes([STAT]) + wire.u32(1) + wire.text("."),
        bytes([STAT]),
        b"",
    ],
)
def test_the_first_packet_must_be_init(requests: Requests, packet: bytes) -> None:
    """Anything else is no SFTP client."""
    with pytest.raises(MalformedPacketError):
        requests.answer(memoryview(packet))


def test_trailing_bytes_are_malformed_and_nothing_is_done(client: Client) -> None:
    """What was meant is unknown, so it must have no effect."""
    client.put("a", b"1")

    with pytest.raises(MalformedPacketError):
        client.ask(REMOVE, wire.text("a"), b"x")

    assert client.get("a") == b"1"


numbers = st.sampled_from([0, 1, 4, 255, 2**31, 2**32 - 1]).map(wire.u32)
texts = st.one_of(st.binary(max_size=40), st.sampled_from([b"/", b".", b"a", b"/.."]))
fields = st.lists(
    st.one_of(texts.map(wire.string), numbers, st.binary(max_size=12)), max_size=5
).map(b"".join)


def test_a_path_too_long_for_a_reply_is_refused(client: Client) -> None:
    """REALPATH tells a path twice: the train has room for the longest reply only."""
    long = wire.text("/private/" + "a/" * 65000)
    assert client.ask(REALPATH, long).status == DENIED


@pytest.mark.parametrize("size", [2**53 + 1, 2**63, 2**64 - 1])
def test_a_size_that_no_record_can_tell_is_refused_with_words(
    client: Client, size: int
) -> None:
    """By the path as by the handle: what JSON cannot tell is no fault of ours."""
    client.put("/private/a", b"here")
    attributes = wire.u32(1) + wire.u64(size)

    answer = client.ask(SETSTAT, wire.text("/private/a"), attributes)

    assert (answer.status, answer.message) == (FAILURE, "The file would be too large.")
    assert client.get("/private/a") == b"here"


names = st.sampled_from([row.name for row in TABLE]).map(wire.text)
kinds = st.one_of(st.integers(3, 20), st.integers(0, 255))


@hypothesis_settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=kinds, name=names, body=fields)
def test_any_packet_is_answered_or_malformed(
    settings: Settings, view: View, kind: int, name: bytes, body: bytes
) -> None:
    """No bytes may end the daemon's thread, or make a reply longer than the bound."""
    client = Client(Requests(view, settings=settings.sftp, clock=SystemClock()))
    client.greet()
    body = name + body if kind == EXTENDED else body
    packet = bytes([kind]) + wire.u32(7) + body

    try:
        reply = client.requests.answer(memoryview(packet))
    except MalformedPacketError:
        return
    finally:
        client.requests.close()

    assert reply[5:9] == wire.u32(7)
    assert wire.u32(len(reply) - 4) == reply[:4]
    assert len(reply) <= settings.sftp.packet_bytes_max
    assert b"Internal error" not in reply
