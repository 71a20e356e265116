"""Reading a TLS client's first message, which may be anything."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.webdav.client_hello import offered


def hello(lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> bytes:
    """What a client of these versions says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = lowest, highest
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_versions_of_a_real_client_are_read() -> None:
    """They stand in an extension; the older field says 1.2 for ever (8446, 4.1.2)."""
    both = hello(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    one = hello(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)

    assert offered(both) == ["TLS 1.3", "TLS 1.2"]
    assert offered(one) == ["TLS 1.2"]


def test_other_protocols_are_quoted_printable_and_short() -> None:
    """A stranger's bytes go into the trail."""
    assert offered(b"GET / HTTP/1.1\r\nHost: a\r\n") == "GET / HTTP/1.1"
    assert offered(b"\x00\xff\x1b[31m") == "???[31m"
    assert offered(b"x" * 500) == "x" * 80
    assert not offered(b"")


@given(st.binary(max_size=300))
def test_no_first_message_breaks_the_reader(rest: bytes) -> None:
    """It runs where a handshake has failed already."""
    offered(rest)
    offered(b"\x16\x03\x01\x01\x00\x01\x00\x00\xf0" + rest)


def test_a_message_cut_short_is_read_as_far_as_it_goes() -> None:
    """What was peeked at need not be all of it."""
    whole = hello(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

    assert offered(whole[:60]) == ["TLS 1.2"]
