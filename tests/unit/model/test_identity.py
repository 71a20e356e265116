"""Sources: the only thing a line is judged by."""

import pytest

from server.model.identity import Source, SourceRefusedError


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        (("192.0.2.7", 5000), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5000, 0, 0), "192.0.2.7"),
        (("2001:db8::1", 5000, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 5000, 0, 2), "fe80::1"),
        (("64:ff9b::c000:207", 5000, 0, 0), "64:ff9b::c000:207"),
        (("2002:c000:207::1", 5000, 0, 0), "2002:c000:207::1"),
    ],
)
def test_a_peer_is_read_and_only_a_mapped_address_is_unmapped(
    peer: tuple[str, int], ip: str
) -> None:
    """6to4 and NAT64 forms stay IPv6: anybody can make them up."""
    assert Source.of_peer(peer) == Source(ip=ip, port=5000)


@pytest.mark.parametrize(
    "peer",
    ["", b"", "/run/socket", (), ("010.1.2.3", 1), ("host", 1), None],
    ids=repr,
)
def test_what_is_no_address_is_refused(peer: object) -> None:
    """A source that cannot be parsed lies in no line."""
    with pytest.raises(SourceRefusedError):
        Source.of_peer(peer)
