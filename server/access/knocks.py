"""Connections refused before a login: the first is a row, the others are counted.

They come from outside every line, show no certificate that we know, or are too many.
A scanner of the internet must neither fill the trail nor the memory: of each source
the first knock of a kind in a minute is recorded at once, the rest of that minute is
told by one later row; beyond `KINDS_MAX` in a minute all share one count.
"""

import threading
from dataclasses import dataclass
from typing import Final

from server.audit.gate import Gate
from server.auth.admission import Refusal
from server.model.clock import Clock, rfc3339
from server.model.event import Fields, Json, actor_fields
from server.model.identity import Actor
from server.model.operation import Operation, Outcome

KINDS_MAX: Final = 1024
_MINUTE_US: Final = 60_000_000
_REASON: Final = "login_refused"
_Kind = tuple[str, str, Refusal]
"""Source address, protocol, and why it was refused."""


@dataclass(slots=True)
class _Counted:
    who: Fields
    refusal: Refusal
    since_us: int
    more: int = 0


class Knocks:
    """Refused connections of the current minute."""

    def __init__(self, gate: Gate, *, clock: Clock) -> None:
        """Record into `gate`."""
        self._gate = gate
        self._clock = clock
        self._minute = 0
        self._counted: dict[_Kind, _Counted] = {}
        self._overflow: _Counted | None = None
        self._lock = threading.Lock()  # Guards all above. Not held while recording.

    def add(
        self, actor: Actor, refusal: Refusal, detail: dict[str, Json] | None = None
    ) -> None:
        """Record a knock, or count it.

        Args:
            actor: Who, as far as it is known.
            refusal: Why it went no further.
            detail: More, for the record of the first.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        self.flush()
        now_us = self._clock.time_us()
        source = actor.source.ip if actor.source else ""
        key = (source, str(actor.protocol), refusal)
        with self._lock:
            counted = self._counted.get(key) or self._overflow
            if counted is not None and (
                key in self._counted or len(self._counted) >= KINDS_MAX
            ):
                counted.more += 1
                return
            counted = _Counted(actor_fields(actor), refusal, now_us)
            if len(self._counted) >= KINDS_MAX:
                self._overflow = counted
            else:
                self._counted[key] = counted
        facts: Fields = {
            "reason": _REASON,
            "stage": refusal.stage,
            "rule": refusal.rule,
        }
        if detail:
            facts["detail"] = detail
        self._gate.event(counted.who, Operation.LOGIN, Outcome.REFUSED, **facts)

    def flush(self, *, closing: bool = False) -> None:
        """Tell the counts of a minute that is over; with `closing`, of this one too.

        Raises:
            AuditUnavailableError: They are not recorded.
        """
        minute = self._clock.time_us() // _MINUTE_US
        with self._lock:
            if minute == self._minute and not closing:
                return
            counted = [*self._counted.values()]
            if self._overflow is not None:
                self._overflow.who = {"protocol": self._overflow.who["protocol"]}
                counted.append(self._overflow)
            self._minute, self._counted, self._overflow = minute, {}, None
        for group in counted:
            if group.more:
                self._tell(group)

    def _tell(self, group: _Counted) -> None:
        self._gate.event(
            group.who,
            Operation.LOGIN,
            Outcome.REFUSED,
            wait=False,
            reason=_REASON,
            stage=group.refusal.stage,
            rule=group.refusal.rule,
            detail={"count": group.more, "since": rfc3339(group.since_us)},
        )
