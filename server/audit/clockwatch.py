"""Noticing that the wall clock was set: records are stamped by it, so it is on record.

The wall clock is compared with the monotonic one, which nobody can set. It stands still
while the machine sleeps, so a sleep shows as a jump ahead.
"""

from typing import Final, Protocol, Unpack

from server.model.clock import Clock, rfc3339
from server.model.event import Fields
from server.model.operation import Operation, Outcome

JUMP_US_MIN: Final = 2_000_000
"""A smaller step is left to the clock's own correction."""


class Recording(Protocol):
    """What records a jump: the gate."""

    def event(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        /,
        **facts: Unpack[Fields],
    ) -> None:
        """See `Gate.event`."""
        ...


class ClockWatch:
    """Compares the clocks at each `run`; not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Take the clocks as they are now for right."""
        self._clock = clock
        self._ahead_us = self._measure()

    def run(self, gate: Recording, who: Fields) -> None:
        """Record a jump since the last time, if there was one.

        Raises:
            AuditUnavailableError: It is not recorded; the next run tells it.
        """
        ahead_us = self._measure()
        jump_us = ahead_us - self._ahead_us
        if abs(jump_us) > JUMP_US_MIN:
            now_us = self._clock.time_us()
            gate.event(
                who,
                Operation.SYSTEM_CLOCK_JUMP,
                Outcome.DONE,
                detail={
                    "before": rfc3339(now_us - jump_us),
                    "after": rfc3339(now_us),
                    "jump_us": jump_us,
                },
            )
        self._ahead_us = ahead_us

    def _measure(self) -> int:
        return self._clock.time_us() - self._clock.mono_ns() // 1000
