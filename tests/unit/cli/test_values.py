"""What people type is checked, and a mistake is told in words."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from server.cli import times, values
from server.model.algorithms import LineCrypto
from server.model.operation import Right

DAY_US = 86_400_000_000


def test_a_date_alone_means_the_end_of_that_day() -> None:
    """A contract that runs until the 31st runs on the 31st."""
    tomorrow = (datetime.now().astimezone() + timedelta(days=1)).date()
    midnight = datetime.combine(tomorrow, datetime.min.time()).timestamp()

    assert times.end_us(str(tomorrow)) == round(midnight * 1_000_000) + DAY_US


def test_a_time_with_a_zone_is_that_moment() -> None:
    """Two offices must mean the same moment."""
    moment = datetime(2999, 3, 31, 9, tzinfo=UTC)

    assert times.end_us("2999-03-31T18:00:00+09:00") == round(
        moment.timestamp() * 1_000_000
    )


@pytest.mark.parametrize("text", ["2020-01-01", "31.3.2027", "tomorrow", ""])
def test_a_past_or_unreadable_end_is_refused(text: str) -> None:
    """A line that ends in the past would be a riddle later."""
    with pytest.raises(typer.BadParameter):
        times.end_us(text)


def test_ago_counts_back_from_now() -> None:
    """`--since 15m` is what an admin types."""
    now_us = datetime.now(UTC).timestamp() * 1_000_000

    assert times.start_us("15m") == pytest.approx(now_us - 900_000_000, abs=10_000_000)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.9", "203.0.113.9/32"),
        ("2001:DB8:1::/48", "2001:db8:1::/48"),
        ("::1", "::1/128"),
        ("203.0.113.9/32", "203.0.113.9/32"),
    ],
)
def test_networks_are_written_the_one_right_way(text: str, network: str) -> None:
    """Two spellings of one network must not make two lines."""
    assert values.networks([text]) == (network,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("203.0.113.9/24", "the network is 203.0.113.0/24"),
        ("203.0.113", "is no network"),
        ("example.com", "is no network"),
        ("203.0.113.0/33", "is no network"),
    ],
)
def test_a_wrong_network_is_told_with_the_right_one(text: str, words: str) -> None:
    """A slip in a prefix would open the store to strangers."""
    with pytest.raises(typer.BadParameter, match=words):
        values.networks([text])


def test_port_sets_hold_both_ends() -> None:
    """MAP-E shares an address by blocks of ports."""
    assert values.ports("1024-2047, 5000") == ((1024, 2047), (5000, 5000))


@pytest.mark.parametrize(
    "text", ["", "0", "2047-1024", "1-70000", "x", "1-", "1024-2047-"]
)
def test_ports_that_are_none_are_refused(text: str) -> None:
    """An empty set would mean any port."""
    with pytest.raises(typer.BadParameter):
        values.ports(text)


def test_rights_are_a_preset_or_a_list() -> None:
    """Words of the glossary, nothing else."""
    assert values.rights("viewer") == Right.LIST | Right.READ
    assert values.rights("list,write") == Right.LIST | Right.WRITE
    with pytest.raises(typer.BadParameter, match="unknown right 'all'"):
        values.rights("all")


def test_old_algorithms_need_an_end() -> None:
    """Legacy without a date stays for ever."""
    assert values.crypto_of("modern") == "modern"
    for word in ("legacy", "legacy+group1"):
        read = LineCrypto.parse(values.crypto_of(f"{word}-until:2999-01-01"))
        assert (read.profile, read.until_us) == (word, times.end_us("2999-01-01"))
    for text in (
        "legacy",
        "legacy-until:",
        "legacy-until:2020-01-01",
        "old-until:2999",
    ):
        with pytest.raises(typer.BadParameter):
            values.crypto_of(text)


def test_a_password_keeps_its_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person chose is what they log in with."""
    monkeypatch.setattr("sys.stdin", io.StringIO(" two words \r\nmore\n"))

    assert values.read_password() == " two words "


def test_no_password_is_not_an_empty_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe must not set an empty password."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    with pytest.raises(typer.BadParameter):
        values.read_password()


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    """A misspelt key file is told before anything is done."""
    with pytest.raises(typer.BadParameter, match=r"id\.pub"):
        values.read_file(tmp_path / "id.pub")
