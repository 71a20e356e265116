"""How long after an act its records are found, while acts come in at a fixed rate.

Used by `bench/audit.py --lag`. A daemon as delivered, whose keeper records the stream
of a generator beside its own; the generator writes as a worker does: each act an
intent and an outcome, acts of the same few milliseconds synced together. A record's
age is taken when a reader first sees its row; the reader looks every 5 ms.
"""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import measure
import sqlalchemy as sa
import store

from server.audit.journal import Journal
from server.audit.tables import RECORDS
from server.db.engine import Engine, Role, open_engine, reading
from server.model.clock import SystemClock
from server.model.event import Fields
from server.settings.schema import AuditSettings

NODE: Final = "node-1"
SLOT: Final = "bench-1"
LAST_S: Final = 10
"""How long the last records are waited for."""
_STEP_S: Final = 0.005
_FOLDERS: Final = 50
_WHO: Final[Fields] = {
    "protocol": "sftp",
    "contract": "demo",
    "login": "demo",
    "device": "01HF7YAT0081TT0R44DGGC4VVH",
    "device_name": "laptop",
    "device_key": "4c" * 32,
    "line": "office",
    "source_ip": "192.0.2.7",
    "source_port": 50000,
    "session": "01KQ924MV89AP44QK7PPZRJGKY",
    "folder": "shared",
    "client": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7",
}


@dataclass(slots=True)
class Seen:
    """Records as a reader finds them."""

    row: int = 0
    ages_ms: list[float] = field(default_factory=list)


def measure_lag(folder: Path, *, acts_per_s: int, seconds: int) -> None:
    """Print how old records are when they are found.

    Args:
        folder: Scratch; a store is made in it.
        acts_per_s: Two records each.
        seconds: How long.
    """
    wanted, seen = acts_per_s * seconds * 2, Seen()
    with store.running(folder) as served:
        engine = open_engine(
            f"sqlite:///{folder / 'state/audit.db'}", Role.AUDIT_READER
        )
        given = [str(folder / "state/journal"), str(acts_per_s), str(seconds)]
        with (
            measure.Meter(served.sftp.pid) as meter,
            subprocess.Popen([sys.executable, __file__, *given]) as generator,
        ):
            until = time.monotonic() + seconds + LAST_S
            while len(seen.ages_ms) < wanted and time.monotonic() < until:
                time.sleep(_STEP_S)
                _look(engine, seen)
            generator.wait(timeout=LAST_S)
        engine.dispose()
    if len(seen.ages_ms) != wanted:
        raise RuntimeError(f"{len(seen.ages_ms)} records found, {wanted} written")
    percent = statistics.quantiles(seen.ages_ms, n=100)
    print(
        f"lag: {acts_per_s:,} acts/s for {seconds} s, {wanted:,} records; their age "
        f"when found: median {percent[49]:.0f} ms, 99 % {percent[98]:.0f} ms, "
        f"longest {max(seen.ages_ms):.0f} ms; the daemon's CPU "
        f"{meter.cpu_s / meter.wall_s:.0%} of a core"
    )


def _look(engine: Engine, seen: Seen) -> None:
    column = RECORDS.c
    asked = (
        sa
        .select(column.row, column.time_us)
        .where(column.row > seen.row, column.stream == f"{NODE}/{SLOT}")
        .where(column.operation == "write")
        .order_by(column.row)
    )
    with reading(engine) as connection:
        found = connection.execute(asked).all()
    now_us = time.time_ns() // 1000
    if found:
        seen.row = found[-1].row
        seen.ages_ms += [(now_us - row.time_us) / 1000 for row in found]


def _generate(journal_folder: Path, acts_per_s: int, seconds: int) -> None:
    journal = Journal.open(
        journal_folder,
        node=NODE,
        slot=SLOT,
        clock=SystemClock(),
        settings=AuditSettings(),
    )
    begin, done, all_of_them = time.monotonic(), 0, acts_per_s * seconds
    while done < all_of_them:
        time.sleep(_STEP_S)
        due = int((time.monotonic() - begin) * acts_per_s)
        due = min(max(due, done), all_of_them)
        intents = [_intent(number) for number in range(done, due)]
        for told in (intents, [_outcome(intent) for intent in intents]):
            written = [journal.append(record) for record in told]
            if written:
                journal.wait(written[-1])
        done = due
    journal.close()


def _intent(number: int) -> Fields:
    return {
        **_WHO,
        "act": f"01KQ{number:022d}",
        "phase": "intent",
        "operation": "write",
        "path": f"/shared/office/{number % _FOLDERS}/{number}.pdf",
    }


def _outcome(intent: Fields) -> Fields:
    return {
        **intent,
        "phase": "outcome",
        "outcome": "done",
        "size": 4096,
        "bytes": 4096,
        "ranges": [[0, 4096]],
        "sha256": f"{intent['act'][4:]:0>64}",
        "duration_us": 900,
    }


if __name__ == "__main__":
    _generate(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
