"""A signed trail in a folder: journals, keys over three days, checkpoints, a DB."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from server.audit import hashchain, segment
from server.audit.checkpoint import CheckpointFolder, Witness
from server.audit.checkpointer import Checkpointer
from server.audit.evidence import Report, verify_database, verify_journals
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.audit.keys import SigningKeys
from server.audit.note import VerifierKey
from server.audit.recorder import Recorder
from server.model.clock import SystemClock
from server.model.event import Fields
from tests.support.trail import NODE, audit_settings, event

SYSTEM: Fields = {"protocol": "system"}
DAY_US = 86_400_000_000


class DayClock(SystemClock):
    """The machine's clock, days later."""

    days = 0

    def time_us(self) -> int:
        return super().time_us() + self.days * DAY_US


class SignedTrail:
    """Everything of `state_dir` that proof needs, and a second checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = DayClock()
        self.journal = folder / "journal"
        self.url = f"sqlite:///{folder / 'audit.db'}"
        self.keys = SigningKeys(folder / "keys", node=NODE, clock=self.clock)
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "copy").mkdir(exist_ok=True)
        self.own = CheckpointFolder(folder / "checkpoints" / NODE)
        self.copy = CheckpointFolder(folder / "copy" / NODE)
        self.settings = audit_settings(segment_bytes_max=65536, checkpoint_idle_s=1)

    @property
    def root(self) -> VerifierKey:
        return self.keys.root

    def open(self, slot: str) -> Journal:
        return Journal.open(
            self.journal,
            node=NODE,
            slot=slot,
            clock=self.clock,
            settings=self.settings,
        )

    def checkpointer(self) -> Checkpointer:
        return Checkpointer(
            self.journal,
            self.keys,
            [self.own, self.copy],
            node=NODE,
            clock=self.clock,
            settings=self.settings,
        )

    def witness(self, *folders: CheckpointFolder) -> Witness:
        return Witness(
            self.journal, self.keys, folders or (self.own, self.copy), node=NODE
        )

    def live(self, days: int = 3, count: int = 150) -> None:
        """Days of work: records in two workers, checkpoints, a key for each day."""
        checkpointer = self.checkpointer()
        checkpointer.start()
        keeper, one, two = (self.open(s) for s in ("keeper", "worker-1", "worker-2"))
        gate = Gate(keeper, clock=self.clock, settings=self.settings)
        for day in range(days):
            self.clock.days = day
            for part in range(2):
                for number in range(count // 2):
                    one.append(event(number, path=f"/private/{day}-{part}-書類"))
                    two.append(event(number, login="bob"))
                one.settle()
                two.settle()
                checkpointer.run(gate, SYSTEM)
        gate.close()
        for journal in (one, two, keeper):
            journal.close()
        checkpointer.finish()

    def record(self) -> None:
        assert Recorder(self.journal, self.url, node=NODE).drain(30)

    def verify_journals(self, **kept: object) -> Report:
        folders = kept.get("folders", [self.own])
        return verify_journals(
            self.journal, folders, node=NODE, root=kept.get("root", self.root)
        )

    def verify_database(self, **kept: object) -> Report:
        folders = kept.get("folders", [self.own])
        return verify_database(
            self.url,
            folders,
            root=kept.get("root", self.root),
            strict=bool(kept.get("strict")),
        )

    def lines(self, slot: str) -> list[bytes]:
        return [
            line
            for found in segment.segments(self.journal / slot)
            for line in segment.lines(found)
        ]

    def rewrite(self, slot: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        """Change a stream's lines, all segments as one list; sizes may differ."""
        found = segment.segments(self.journal / slot)
        firsts = [one.first for one in found] + [1 << 60]
        lines = change(self.lines(slot))
        for number, one in enumerate(found):
            here = lines[firsts[number] - 1 : firsts[number + 1] - 1]
            one.path.write_bytes(b"".join(here))

    def copied(self, folder: Path) -> "SignedTrail":
        shutil.copytree(self.folder, folder)
        return SignedTrail(folder)


def relinked(lines: list[bytes], start: int) -> Iterator[bytes]:
    """The same records with every hash from index `start` on made anew."""
    prev = hashchain.parse(lines[start - 1]).hash if start else hashchain.GENESIS
    yield from lines[:start]
    for line in lines[start:]:
        fields = json.loads(line)
        del fields["hash"]
        made, prev = hashchain.seal({**fields, "prev": prev})
        yield made


def altered(line: bytes, **facts: object) -> bytes:
    """A record with other facts and a hash that fits them."""
    fields = {**json.loads(line), **facts}
    del fields["hash"]
    return hashchain.seal(fields)[0]
