"""A wall clock that was set is on record."""

from pathlib import Path

import pytest

from server.audit.clockwatch import ClockWatch
from server.audit.gate import Gate
from server.model.clock import SystemClock, rfc3339
from server.model.event import Fields
from tests.support.trail import audit_settings, open_journal, read_stream

NOON_US = 1_780_000_000_000_000
SYSTEM: Fields = {"protocol": "system"}


class SetClock:
    """Clocks that a test moves."""

    def __init__(self) -> None:
        self.wall_us = NOON_US
        self.up_ns = 5_000_000_000

    def time_us(self) -> int:
        return self.wall_us

    def mono_ns(self) -> int:
        return self.up_ns

    def go(self, passed_s: float, shown_s: float) -> None:
        """Time passes; the wall clock shows something else."""
        self.up_ns += round(passed_s * 1e9)
        self.wall_us += round(shown_s * 1e6)


@pytest.mark.parametrize(
    ("passed_s", "shown_s", "jump_us"),
    [
        (1, 1, None),
        (1, 2.9, None),
        (1, -0.9, None),
        (1, 3.5, 2_500_000),
        (1, -1.5, -2_500_000),
        (60, 3660, 3_600_000_000),
        (0, -86400, -86_400_000_000),
    ],
)
def test_a_jump_of_more_than_two_seconds_is_recorded_once(
    tmp_path: Path, passed_s: float, shown_s: float, jump_us: int | None
) -> None:
    """Times in the trail around it can be put right; a slow correction is no jump."""
    clock = SetClock()
    watch = ClockWatch(clock)
    journal = open_journal(tmp_path, "keeper")
    gate = Gate(journal, clock=SystemClock(), settings=audit_settings())

    clock.go(passed_s, shown_s)
    watch.run(gate, SYSTEM)
    clock.go(1, 1)
    watch.run(gate, SYSTEM)

    gate.close()
    journal.close()
    told = [
        record["detail"]
        for record in read_stream(tmp_path, "keeper")
        if record["operation"] == "system.clock_jump"
    ]
    after_us = NOON_US + round(shown_s * 1e6)
    assert told == (
        []
        if jump_us is None
        else [
            {
                "before": rfc3339(after_us - jump_us),
                "after": rfc3339(after_us),
                "jump_us": jump_us,
            }
        ]
    )
