"""What of the accounts an administrator should look at."""

from dataclasses import replace

import pytest

from server.auth.health import DAY_US, Health, device_findings, line_findings
from server.auth.snapshot import (
    Contract,
    Device,
    DeviceState,
    Line,
    LineState,
    Login,
    LoginState,
    Snapshot,
)
from server.model.identity import LoginKind

NOW_US = 1_800_000_000_000_000
LINE = Line(id="1", contract_id="c", name="b-office", networks=("192.0.2.0/24",))
LAPTOP = Device(
    id="d", contract_id="c", login_id="l", name="laptop", state=DeviceState.ACTIVE
)


def accounts(*lines: Line, devices: tuple[Device, ...] = ()) -> Snapshot:
    login = Login(
        id="l",
        contract_id="c",
        name="alice",
        kind=LoginKind.USER,
        state=LoginState.ACTIVE,
    )
    contract = Contract(id="c", name="main")
    return Snapshot(
        revision=1,
        contracts=(contract,),
        lines=lines,
        logins=(login,),
        devices=devices,
    )


def about(*lines: Line, families: tuple[int, ...] = (4, 6)) -> list[str]:
    found = line_findings(accounts(*lines), NOW_US, families=families)
    return [finding.text for finding in found]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"state": LineState.SUSPENDED}, ["No line of main", "is suspended"]),
        ({"valid_until_us": NOW_US}, ["No line of main", "matches nothing since"]),
        ({"valid_from_us": NOW_US + 1}, ["No line of main", "matches nothing before"]),
        ({"valid_until_us": NOW_US + 13 * DAY_US}, ["ends at"]),
        ({"valid_until_us": NOW_US + 15 * DAY_US}, []),
        ({"crypto": "legacy-until:2027-01-20"}, ["has old algorithms until"]),
        ({"networks": ("2001:db8::/48",)}, ["no listener"]),
    ],
)
def test_a_line_that_matches_nothing_is_told(
    change: dict[str, object], words: list[str]
) -> None:
    """Before somebody calls because he cannot log in."""
    line = replace(LINE, **change)  # type: ignore[arg-type]  # values of its fields

    found = about(line, families=(4,))

    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


HALVES = ("192.0.2.0/25", "192.0.2.128/25")


@pytest.mark.parametrize(
    ("other", "covered"),
    [
        ({"networks": HALVES}, True),
        ({"networks": HALVES[:1]}, False),
        ({"networks": ("192.0.0.0/16",)}, False),
        ({"networks": ("192.0.2.0/24",), "name": "a-twin"}, True),
        ({"networks": ("192.0.2.0/24",), "name": "c-twin"}, False),
        ({"networks": HALVES, "ports": ((1, 2),)}, False),
        ({"networks": HALVES, "valid_until_us": 1}, False),
    ],
)
def test_a_line_that_others_cover_never_governs(
    other: dict[str, object], *, covered: bool
) -> None:
    """Its name would be in no record, and suspending it would do nothing."""
    twin = replace(LINE, **{"id": "2", "name": "other", **other})  # type: ignore[arg-type]

    found = [text for text in about(LINE, twin) if "b-office never governs" in text]

    assert bool(found) == covered


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"valid_until_us": NOW_US + 13 * DAY_US}, "expires at"),
        ({"valid_until_us": NOW_US + 15 * DAY_US}, ""),
        ({"valid_until_us": NOW_US}, "expired at"),
        ({"valid_until_us": NOW_US, "state": DeviceState.LOCKED}, ""),
        ({"state": DeviceState.PENDING}, "waits for approval"),
    ],
)
def test_devices_that_expire_soon_are_told(
    change: dict[str, object], word: str
) -> None:
    """Two weeks are enough to issue a new certificate."""
    device = replace(LAPTOP, **change)  # type: ignore[arg-type]  # values of its fields

    found = list(device_findings(accounts(LINE, devices=(device,)), NOW_US))

    assert [finding.health for finding in found] == [Health.WARNING] * bool(word)
    assert all(f"alice/laptop {word}" in finding.text for finding in found)
