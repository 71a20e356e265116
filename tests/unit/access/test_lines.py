"""Lines as an administrator adds and changes them."""

import pytest

from server.access.lines import LineTerms
from server.auth.snapshot import Line
from tests.support.accounts import Accounts
from tests.support.waiting import until

EMPTY = LineTerms()


def _line(store: Accounts, name: str) -> Line:
    store.watch.refresh()
    return next(line for line in store.watch.snapshot().lines if line.name == name)


def test_a_map_e_line_holds_the_subscribers_ports(store: Accounts) -> None:
    """The ports follow from the parameters; the parameters are what is kept."""
    lines = store.administration.lines
    added = lines.add("main", "flat", networks=("203.0.113.9/32",), map_e="6:8:52")

    assert added["map_e"] == "6:8:0x34"
    assert _line(store, "flat").ports[0] == (1232, 1235)
    changed = lines.change("main", "flat", LineTerms(ports=()))
    assert changed["map_e"] == ""
    assert _line(store, "flat").ports == ()


def test_warnings_and_overlaps_are_told_and_stand_in_the_way_of_nothing(
    store: Accounts,
) -> None:
    """An operator may mean it; he shall know."""
    lines = store.administration.lines
    lines.add("main", "wide", networks=("100.64.0.0/16", "2001:db8::/48"))

    added = lines.add("main", "part", networks=("100.64.9.0/24",))

    assert len(added["warnings"]) == 1
    assert added["overlaps"] == [{"line": "wide", "network": "100.64.0.0/16"}]


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "64:ff9b::/96"])
def test_the_whole_internet_needs_a_word(store: Accounts, network: str) -> None:
    """A slip such as /0 must not open the store to everybody."""
    lines = store.administration.lines

    with pytest.raises(ValueError, match="--allow-any"):
        lines.add("main", "all", networks=(network,))
    added = lines.add("main", "all", networks=(network,), allow_any=True)

    assert added["networks"] == [network]


@pytest.mark.parametrize(
    "terms",
    [
        EMPTY,
        LineTerms(networks=()),
        LineTerms(ports=((1, 2),), map_e="4:8:1"),
        LineTerms(map_e="4:8:256"),
        LineTerms(comment="two\nlines"),
        LineTerms(comment="x" * 201),
        LineTerms(crypto="old"),
        LineTerms(valid_from_us=2, valid_until_us=2),
    ],
)
def test_what_makes_no_sense_is_refused(store: Accounts, terms: LineTerms) -> None:
    """Nothing is changed, and nothing is recorded as done."""
    lines = store.administration.lines
    lines.add("main", "part", networks=("203.0.113.0/24",))

    with pytest.raises(ValueError, match=r"\w"):
        lines.change("main", "part", terms)

    assert not store.records(operation="admin.line.change", outcome="done")


def test_dates_and_comment_can_be_set_and_taken_away(store: Accounts) -> None:
    """Before and after are in the trail."""
    lines = store.administration.lines
    lines.add("main", "fair", networks=("203.0.113.0/24",), comment="booth 7")

    lines.change("main", "fair", LineTerms(valid_from_us=10, valid_until_us=20))
    assert _line(store, "fair").valid_from_us == 10
    lines.change("main", "fair", LineTerms(always=True, comment=""))

    assert _line(store, "fair").valid_until_us is None
    told = store.records(operation="admin.line.change", phase="intent")[-1]["detail"]
    assert told["before"]["comment"] == "booth 7"
    assert told["after"]["comment"] == ""
    until(lambda: lines.list("main")[0]["valid_from"] is None)
