"""What an operator may type as a line's network, and what he is told about it."""

import pytest

from server.auth.networks import is_any, overlapping, parse_network, warnings_of


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.9", "203.0.113.9/32"),
        (" 2001:DB8:0::/48 ", "2001:db8::/48"),
        ("fe80::/10", "fe80::/10"),
        ("2002:808:808::/48", "2002:808:808::/48"),
        ("64:ff9b::808:0/112", "64:ff9b::808:0/112"),
        ("::/0", "::/0"),
    ],
)
def test_networks_are_written_in_one_form(text: str, written: str) -> None:
    """Two spellings of one network must not make two lines.

    A 6to4 site and the other side of a translator are real sources.
    """
    assert parse_network(text) == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1/24", "use 192.0.2.0/24"),
        ("2001:db8::1/48", "use 2001:db8::/48"),
        ("192.0.2", "not a network"),
        ("192.0.2.0/33", "not a network"),
        ("fe80::1%eth0", "not a network"),
        ("office", "not a network"),
        ("224.0.0.0/8", "no client"),
        ("0.0.0.0/8", "no client"),
        ("255.255.255.255", "no client"),
        ("::", "no client"),
        ("ff02::/16", "no client"),
        ("::ffff:192.0.2.0/120", "IPv4 network"),
        ("2001:0:1::/48", "Teredo"),
        ("2002:c0a8:1::/48", "6to4 of 192.168.0.1/32"),
        ("2002:a00::/24", "6to4 of 10.0.0.0/8"),
        ("2002:cb00:7100::/48", "6to4 of 203.0.113.0/32"),
        ("2002:800::/24", "no single line"),
        ("64:ff9b::a00:0/104", "NAT64 of 10.0.0.0/8"),
    ],
)
def test_what_no_client_can_come_from_is_refused(text: str, words: str) -> None:
    """A line that matches nothing is found out when it is typed, not when it fails."""
    with pytest.raises(ValueError, match=words):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("203.0.113.0/24", []),
        ("203.0.113.0/28", []),
        ("2001:db8:1::/48", []),
        ("2001:db8:1::/56", []),
        ("127.0.0.0/8", ["larger than a /24"]),
        ("100.64.9.0/24", ["carrier-grade NAT"]),
        ("100.64.0.0/10", ["carrier-grade NAT", "larger than a /24"]),
        ("192.168.1.0/24", ["private"]),
        ("10.0.0.0/8", ["private", "larger than a /24"]),
        ("fd00:1::/48", ["private"]),
        ("2001:db8::/32", ["larger than a /48"]),
        ("64:ff9b::/96", ["larger than a /24"]),
        ("0.0.0.0/0", ["larger than a /24"]),
    ],
)
def test_an_operator_is_told_what_is_wide_or_shared(
    text: str, words: list[str]
) -> None:
    """A carrier's shared addresses let every subscriber in."""
    found = warnings_of(text)

    assert len(found) == len(words)
    assert all(word in warning for word, warning in zip(words, found, strict=True))


def test_everybody_is_recognised_in_each_spelling() -> None:
    """NAT64's whole prefix is the IPv4 Internet behind a translator."""
    wide = ("0.0.0.0/0", "::/0", "64:ff9b::/96")

    assert all(is_any(text) for text in wide)
    assert not any(is_any(text) for text in ("0.0.0.0/1", "::/1", "64:ff9b::/97"))


def test_overlaps_are_found_both_ways() -> None:
    """Inside, around and equal; not across the IP versions."""
    others = ("192.0.2.0/28", "192.0.0.0/16", "192.0.2.0/24", "192.0.3.0/24", "::/0")

    assert overlapping(["192.0.2.0/24"], others) == list(others[:3])
