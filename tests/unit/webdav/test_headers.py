"""The head of a request: whatever two parsers could read differently is refused."""

from io import BytesIO

import pytest

from server.webdav.headers import (
    HEADERS_MAX,
    REQUEST_LINE,
    Memory,
    StrictHeaderReader,
    plain_head,
)


def _read(*lines: bytes) -> dict[bytes, bytes]:
    head = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return StrictHeaderReader()(BytesIO(head))


def test_an_ordinary_head_is_read() -> None:
    """The names are folded to one spelling, the values trimmed."""
    headers = _read(b"host:  example ", b"CONTENT-LENGTH: 5", b"If: (<a>)\t")

    assert headers == {
        b"Host": b"example",
        b"Content-Length": b"5",
        b"If": b"(<a>)",
    }


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Content-Length: 6"),
        (b"Content-Length: 5", b"content-length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Content-Length: +5",),
        (b"Content-Length: -5",),
        (b"Content-Length: 1_0",),
        (b"Content-Length: 0x10",),
        (b"Content-Length: 5, 5",),
        (b"Content-Length:",),
        (b"Content-Length : 5",),
        (b"Content_Length: 5",),
        (b"Host: a", b"Host: b"),
        (b"Host: a/b",),
        (b"Host: a\x00b",),
        (b"X: a", b" folded: b"),
        (b"X: a", b"\tfolded"),
        (b"no colon",),
        (b": no name",),
        (b"X: bare\rreturn",),
        (b"X: bare\nfeed: y",),
        (b"Authorization: Basic a", b"Authorization: Basic b"),
        (b"Destination: /a", b"Destination: /b"),
    ],
)
def test_an_ambiguous_head_is_refused(lines: tuple[bytes, ...]) -> None:
    """Each of these is a known way to smuggle a request past another server."""
    with pytest.raises(ValueError, match=r"."):
        _read(*lines)


def test_a_head_without_end_or_with_too_many_lines_is_refused() -> None:
    """The reader must stop by itself."""
    with pytest.raises(ValueError, match="CRLF"):
        StrictHeaderReader()(BytesIO(b"Host: a\r\n"))
    with pytest.raises(ValueError, match="many"):
        _read(*[b"X-%d: y" % n for n in range(HEADERS_MAX + 1)])


def test_a_name_with_an_underscore_is_forgotten() -> None:
    """Office sends X-IDCRL_ACCEPTED; in WSGI it could pass for a header that counts."""
    headers = _read(b"X-IDCRL_ACCEPTED: t", b"X_Forwarded_For: 10.0.0.1", b"Host: a")

    assert headers == {b"Host": b"a"}


def test_no_header_names_the_source() -> None:
    """The line is the kernel's peer; wsgidav would believe X-Forwarded-Host."""
    headers = _read(b"X-Forwarded-For: 10.0.0.1", b"x-forwarded-host: h", b"Host: a")

    assert headers == {b"Host": b"a"}


def test_lists_that_come_in_parts_are_joined() -> None:
    """RFC 9110, section 5.3."""
    assert _read(b"Accept: a", b"Accept: b") == {b"Accept": b"a, b"}


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n",
        b"get / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.+1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n",
        b"GET /\xe6 HTTP/1.1\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\n",
    ],
)
def test_a_malformed_request_line_does_not_pass(line: bytes) -> None:
    """One method, one target, one version, one space between them."""
    assert REQUEST_LINE.match(line) is None


def test_long_header_lines_are_not_remembered() -> None:
    """Else each connection of a stranger keeps megabytes."""
    memory: Memory = {}
    for number in range(3):
        lines = f"X-{number}: {'x' * 1000}\r\nY-{number}: y"
        plain_head(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n".encode(), memory)

    assert sum(map(len, memory)) < 200
