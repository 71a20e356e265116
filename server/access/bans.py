"""Sources that are not let in for a while: kept here, shared through the database.

A ban is of a source on the lines it came by, so that a neighbour behind the same shared
address (MAP-E) is not shut out with it. It ends by itself; an administrator may lift it
before.
"""

import logging
import threading
from collections.abc import Iterable
from typing import Final

from server.audit.gate import Gate
from server.auth.admission import Refusal
from server.auth.attempt import BAN_US_MAX, ban_us, source_key
from server.auth.bans import BanRow, read_bans, write_bans
from server.auth.snapshot import Line
from server.db.engine import DatabaseError, Engine, reading, writing
from server.model.clock import Clock, rfc3339
from server.model.event import actor_fields
from server.model.identity import Actor, Source
from server.model.operation import Operation, Outcome, Stage

log = logging.getLogger(__name__)

BANNED: Final = Refusal(Stage.LIMIT, "banned")
_Key = tuple[str, str]
"""Line and source."""


class Bans:
    """The bans that this process knows. Thread-safe."""

    def __init__(
        self, engine: Engine, gate: Gate, *, clock: Clock, first_us: int
    ) -> None:
        """Share through `engine`, record through `gate`; a first ban has `first_us`."""
        self._engine = engine
        self._gate = gate
        self._clock = clock
        self._first_us = first_us
        self._rows: dict[_Key, BanRow] = {}
        self._unwritten: dict[_Key, BanRow] = {}
        self._answers = True
        self._lock = threading.Lock()  # Guards the two dicts. Taken before none.

    def find(self, source: Source, lines: Iterable[Line]) -> Refusal | None:
        """Whether one of the source's lines does not let it in now."""
        if not self._rows:
            return None
        key, now_us = source_key(source), self._clock.time_us()
        for line in lines:
            row = self._rows.get((line.id, key))
            if row is not None and now_us < row.until_us:
                return BANNED
        return None

    def add(self, actor: Actor, lines: Iterable[Line], rule: str) -> None:
        """Ban the actor's source on these lines.

        Raises:
            AuditUnavailableError: It is not recorded; the ban holds all the same.
        """
        if actor.source is None:
            return
        key, now_us = source_key(actor.source), self._clock.time_us()
        with self._lock:
            rows = [self._row(line, key, rule, now_us) for line in lines]
            for row in rows:
                self._rows[row.line_id, key] = row
                self._unwritten[row.line_id, key] = row
        if not rows:
            return
        until_us = max(row.until_us for row in rows)
        log.warning("source banned", extra={"source": key, "rule": rule})
        self._gate.event(
            actor_fields(actor),
            Operation.SYSTEM_BAN,
            Outcome.DONE,
            rule=rule,
            target=key,
            detail={
                "lines": [line.name for line in lines],
                "until": rfc3339(until_us),
            },
        )
        self.refresh()

    def refresh(self) -> None:
        """Write what is new here and read what others wrote; about once a second."""
        try:
            self._write()
            with reading(self._engine) as connection:
                found = {
                    (row.line_id, row.source): row for row in read_bans(connection)
                }
        except DatabaseError as error:
            if self._answers:
                log.warning("bans not shared", extra={"error": str(error)})
            self._answers = False
            return
        self._answers = True
        with self._lock:
            self._rows = found | self._unwritten

    def _write(self) -> None:
        with self._lock:
            rows = dict(self._unwritten)
        if not rows:
            return
        with writing(self._engine) as connection:
            write_bans(connection, rows.values(), self._clock.time_us() - BAN_US_MAX)
        with self._lock:
            for key, row in rows.items():
                if self._unwritten.get(key) is row:
                    del self._unwritten[key]

    def _row(self, line: Line, key: str, rule: str, now_us: int) -> BanRow:
        former = self._rows.get((line.id, key))
        recent = former is not None and now_us - former.until_us < BAN_US_MAX
        level = former.level + 1 if former is not None and recent else 0
        return BanRow(
            line_id=line.id,
            source=key,
            since_us=now_us,
            until_us=now_us + ban_us(level, self._first_us),
            rule=rule,
            level=level,
        )
