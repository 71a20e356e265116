"""Bodies: a cut one is never taken for a whole one."""

from io import BytesIO

import pytest

from server.webdav.body import (
    DRAIN_BYTES_MAX,
    Body,
    BodyCutError,
    BodyTooLargeError,
    ChunkedBody,
    KnownBody,
    MalformedBodyError,
)


def _nothing() -> None:
    pass


def _known(data: bytes, length: int) -> KnownBody:
    return KnownBody(BytesIO(data), length, _nothing)


def _chunked(data: bytes, bytes_max: int = 10**9) -> ChunkedBody:
    return ChunkedBody(BytesIO(data), bytes_max, _nothing)


def _all(body: Body) -> bytes:
    return b"".join(iter(lambda: bytes(body.read(7)), b""))


def test_a_whole_body_ends_once() -> None:
    """What follows belongs to the next request."""
    body = _known(b"0123456789GET /", 10)

    assert _all(body) == b"0123456789"
    assert body.finished
    assert body.read(5) == b""


def test_a_cut_body_raises_instead_of_ending() -> None:
    """Cheroot answers b"" here, and wsgidav stores the half (hazards, L1)."""
    body = _known(b"0123", 10)

    with pytest.raises(BodyCutError):
        _all(body)
    assert body.received_bytes == 4


def test_chunks_are_joined_and_extensions_and_trailers_skipped() -> None:
    """RFC 9112, section 7.1."""
    body = _chunked(b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: v\r\n\r\n")

    assert _all(body) == b"abc0123456789"
    assert body.finished


@pytest.mark.parametrize(
    "data",
    [
        b"3\r\nabcX\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n",
        b"\r\nabc",
        b"fffffffffffffffff\r\n",
        b"0\r\n\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_malformed_chunk_is_refused(data: bytes) -> None:
    """Lenience here is request smuggling elsewhere."""
    with pytest.raises(MalformedBodyError):
        _all(_chunked(data))


@pytest.mark.parametrize("data", [b"", b"3", b"5\r\nabc", b"3\r\nabc\r\n", b"0\r\n"])
def test_a_cut_chunked_body_raises(data: bytes) -> None:
    """Wherever the cut lies."""
    with pytest.raises(BodyCutError):
        _all(_chunked(data))


def test_a_chunk_beyond_the_bound_is_refused_before_it_is_read() -> None:
    """The size is announced; nobody needs to receive it."""
    with pytest.raises(BodyTooLargeError):
        _all(_chunked(b"ff\r\n" + b"x" * 255 + b"\r\n0\r\n\r\n", bytes_max=100))


def test_the_client_is_asked_for_the_body_when_it_is_first_read() -> None:
    """Expect: 100-continue is answered only after admission."""
    asked: list[bool] = []
    body = KnownBody(BytesIO(b"abc"), 3, lambda: asked.append(True))

    assert not asked
    _all(body)
    assert asked == [True]


def test_only_a_small_rest_is_drained() -> None:
    """300 MiB of a refused upload must not be read for the sake of politeness."""
    assert _known(b"x" * DRAIN_BYTES_MAX, DRAIN_BYTES_MAX).drain()
    large = _known(b"x" * (DRAIN_BYTES_MAX + 1), DRAIN_BYTES_MAX + 1)
    assert not large.drain()
    assert large.received_bytes == 0
    assert not _chunked(b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n0\r\n\r\n").drain()


@pytest.mark.parametrize("data", [b"zz\r\n0\r\n\r\n", b"3\r\nabcX\r\n0\r\n\r\n"])
def test_after_a_malformed_chunk_nothing_is_taken_for_the_end(data: bytes) -> None:
    """What follows would be read as a request that nobody sent."""
    body = _chunked(data + b"DELETE / HTTP/1.1\r\n")

    with pytest.raises(MalformedBodyError):
        _all(body)
    assert not body.drain()
