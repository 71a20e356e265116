"""The PROXY protocol's reader: both versions, every cut, every damage."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.proxy_header import (
    SIGNATURE,
    V2_BODY_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    ProxyReader,
    crc32c,
    parse_version_1,
)

ports = st.integers(0, 65535)
addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)
tlvs = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda t: t != 3), st.binary(max_size=40)),
    max_size=4,
)


def version_1(source: ipaddress._BaseAddress, port: int) -> bytes:
    family = f"TCP{source.version}"
    target = "192.0.2.1" if source.version == 4 else "2001:db8::1"
    return f"PROXY {family} {source} {target} {port} 2022\r\n".encode()


def version_2(
    source: ipaddress._BaseAddress,
    port: int,
    *,
    more: list[tuple[int, bytes]] | None = None,
    checked: bool = False,
    command: int = 1,
    kind: int | None = None,
) -> bytes:
    target = ipaddress.ip_address("192.0.2.1" if source.version == 4 else "2001:db8::1")
    body = source.packed + target.packed + struct.pack(">HH", port, 2022)
    for tlv, value in more or []:
        body += struct.pack(">BH", tlv, len(value)) + value
    if checked:
        body += struct.pack(">BHI", 3, 4, 0)
    family = kind if kind is not None else (0x11 if source.version == 4 else 0x21)
    head = SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body))
    if not checked:
        return head + body
    return (head + body)[:-4] + struct.pack(">I", crc32c(head + body))


def read(stream: bytes, sizes: list[int]) -> tuple[ProxyHeader | None, int]:
    """Feed a stream in pieces; the header and how many bytes it took."""
    reader, taken = ProxyReader(), 0
    while taken < len(stream):
        size = min(reader.wanted_bytes, sizes[taken % len(sizes)])
        piece = stream[taken : taken + size]
        taken += len(piece)
        header = reader.feed(piece)
        if header is not None:
            return header, taken
    return None, taken


def test_the_checksum_is_castagnolis() -> None:
    """The check value that every catalogue of CRCs gives, and RFC 3720's vector."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


@given(
    addresses,
    ports,
    tlvs,
    st.booleans(),
    st.booleans(),
    st.binary(max_size=30),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_a_header_is_read_however_it_is_cut_and_nothing_behind_it(  # noqa: PLR0913, PLR0917 - parts of a stream
    source: ipaddress._BaseAddress,
    port: int,
    more: list[tuple[int, bytes]],
    checked: bool,  # noqa: FBT001 - drawn
    old: bool,  # noqa: FBT001 - drawn
    rest: bytes,
    sizes: list[int],
) -> None:
    """The first byte of TLS or SSH must not be swallowed with the header."""
    header = (
        version_1(source, port)
        if old
        else version_2(source, port, more=more, checked=checked)
    )

    found, taken = read(header + rest, sizes)

    assert found == ProxyHeader((str(source), port))
    assert taken == len(header)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1))
def test_noise_is_refused_or_awaited_but_never_believed(
    noise: bytes, sizes: list[int]
) -> None:
    """Whatever comes, nothing else than our error is raised."""
    try:
        found, _ = read(noise, sizes)
    except ProxyHeaderError:
        return
    assert found is None or noise.startswith((SIGNATURE, b"PROXY "))


@given(addresses, ports, st.integers(0), st.integers(0, 7))
def test_a_damaged_header_with_a_checksum_is_refused(
    source: ipaddress._BaseAddress, port: int, at: int, bit: int
) -> None:
    """One flipped bit never names another source."""
    header = bytearray(version_2(source, port, checked=True))
    at %= len(header)
    header[at] ^= 1 << bit

    try:
        found, _ = read(bytes(header), [64])
    except ProxyHeaderError:
        return
    # A longer length waits for more; the command LOCAL names nobody; another type of
    # the checksum's TLV hides it and changes nothing else.
    assert found is None or found.source in {None, (str(source), port)}


@given(st.binary(max_size=200))
def test_local_is_a_health_check_whatever_it_carries(body: bytes) -> None:
    """Section 2.2: the block of a LOCAL command is to be ignored."""
    header = SIGNATURE + struct.pack(">BBH", 0x20, 0, len(body)) + body

    assert read(header, [16]) == (ProxyHeader(None), len(header))


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    ],
)
def test_unknown_is_the_proxys_own_connection(line: bytes) -> None:
    """Version 1's health check."""
    assert read(line + b"SSH-", [7]) == (ProxyHeader(None), len(line))


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 \xd9\xa1.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY " + b"T" * 200,
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
    ],
)
def test_version_1_is_strict(line: bytes) -> None:
    """Never guess (the specification, section 5): a near miss is an error."""
    with pytest.raises(ProxyHeaderError):
        read(line, [64])


def test_ports_of_other_digits_are_none() -> None:
    """Python reads Arabic digits as numbers; the protocol does not."""
    line = "PROXY TCP4 192.0.2.1 192.0.2.2 \u0661 2\r\n".encode()

    with pytest.raises(ProxyHeaderError):
        parse_version_1(line)


ALICE = ipaddress.ip_address("192.0.2.7")


@pytest.mark.parametrize(
    "header",
    [
        SIGNATURE[:11] + b"\x0b" + bytes(20),
        SIGNATURE + struct.pack(">BBH", 0x11, 0x11, 12) + bytes(12),
        SIGNATURE + struct.pack(">BBH", 0x22, 0x11, 12) + bytes(12),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x00, 0),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x31, 216) + bytes(216),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 11) + bytes(11),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x21, 35) + bytes(35),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, V2_BODY_BYTES_MAX + 1),
        version_2(ALICE, 1, kind=0x12),
        version_2(ALICE, 1, more=[(3, bytes(4))]),
        version_2(ALICE, 1, more=[(3, b"")]),
        version_2(ALICE, 1, more=[(1, bytes(9))])[:-1].replace(
            struct.pack(">H", 24), struct.pack(">H", 23), 1
        ),
    ],
    ids=[
        "signature", "version", "command", "no family", "unix", "short 4", "short 6",
        "long", "udp", "checksum", "empty checksum", "tlv cut off",
    ],
)  # fmt: skip
def test_version_2_is_strict(header: bytes) -> None:
    """A header that is not wholly understood names nobody."""
    with pytest.raises(ProxyHeaderError):
        read(header, [64])
