"""Compares ledger, disk and trail after a run: a list of violations, hopefully empty.

    1  what was acknowledged is on the disk, byte for byte, unless superseded
    2  what was acknowledged has its intent and its outcome `done` in the trail
    3  what is on the disk has an intent that explains it
    4  every intent has exactly one outcome
    5  the chain of every stream holds

Each client works below a folder of its own and asks one thing at a time, so the order
of the ledger is the order of effects.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.audit import hashchain
from tests.support.ledger import Entry, Ledger, content

Record = dict[str, Any]

_OPERATIONS = {
    "put": "write",
    "write": "write",
    "get": "read",
    "rename": "rename",
    "delete": "delete",
    "mkdir": "mkdir",
}
_MAKING = {"write", "deposit", "copy", "rename", "mkdir"}


def read_journal(journal: Path) -> Iterator[Record]:
    """Every record of every stream, a stream at a time, in order."""
    for stream in sorted(path for path in journal.iterdir() if path.is_dir()):
        for line in stream_lines(stream):
            yield json.loads(line)


def stream_lines(stream: Path) -> Iterator[bytes]:
    """A stream's lines, sealed and compressed segments included."""
    for segment in sorted(stream.glob("*.jsonl*"), key=lambda path: path.name):
        if segment.suffix == ".gz":
            with gzip.open(segment) as packed:
                yield from packed
        elif not segment.with_name(segment.name + ".gz").exists():
            with segment.open("rb") as plain:
                yield from plain


@dataclass(slots=True)
class _Expected:
    """What may be at a path: the contents of these entries; None is nothing."""

    choices: list[Entry | None] = field(default_factory=lambda: [None])
    anything: bool = False
    """An overwrite in place was cut: old, new or a part of it."""


class Checker:
    """One comparison; `violations` gathers what is wrong."""

    def __init__(
        self, ledger: Ledger, *, root: Path, prefix: str, journal: Path
    ) -> None:
        """Compare.

        Args:
            ledger: What the clients were told.
            root: The folder on disk behind `prefix`.
            prefix: The virtual folder, `/private` for instance.
            journal: `state_dir/journal`.
        """
        self.violations: list[str] = []
        self._ledger = ledger
        self._root = root
        self._prefix = prefix
        self._journal = journal
        self._records = list(read_journal(journal))

    def check(self) -> list[str]:
        """Do all of it."""
        self._check_disk()
        self._check_trail()
        self._check_effects()
        self._check_intents()
        self._check_chains()
        return self.violations

    def _on_disk(self, path: str) -> Path:
        return self._root / path.removeprefix(self._prefix).lstrip("/")

    def _check_disk(self) -> None:
        for path, expected in self._expected().items():
            if expected.anything:
                continue
            found = self._read(path)
            if not any(found == _bytes(choice) for choice in expected.choices):
                wanted = [c.asked.id if c else None for c in expected.choices]
                size = None if found is None else len(found)
                self.violations.append(f"disk: {path}: {size} bytes, wanted {wanted}")

    def _read(self, path: str) -> bytes | None:
        try:
            return self._on_disk(path).read_bytes()
        except FileNotFoundError:
            return None

    def _expected(self) -> dict[str, _Expected]:
        state: dict[str, _Expected] = {}
        for entry in self._ledger.entries:
            asked = entry.asked
            refused, in_place = entry.answer == "fail", asked.kind == "write"
            if asked.kind in {"get", "mkdir"} or (refused and not in_place):
                continue
            before = state.setdefault(asked.path, _Expected())
            if refused:  # it may have been opened, which empties the file
                before.anything = True
                continue
            sure = entry.answer == "ok"
            if asked.kind in {"put", "write"}:
                after = _Expected([entry])
                if not sure:
                    after = _Expected([*before.choices, entry], anything=True)
                state[asked.path] = after
            elif asked.kind == "delete":
                choices: list[Entry | None] = (
                    [None] if sure else [*before.choices, None]
                )
                state[asked.path] = _Expected(
                    choices, anything=before.anything and not sure
                )
            else:
                self._expect_rename(state, entry, sure=sure)
        return state

    def _expect_rename(
        self, state: dict[str, _Expected], entry: Entry, *, sure: bool
    ) -> None:
        source = state[entry.asked.path]
        target = state.setdefault(entry.asked.target, _Expected())
        if sure:
            state[entry.asked.target] = source
            state[entry.asked.path] = _Expected()
            return
        state[entry.asked.target] = _Expected(
            [*target.choices, *source.choices], anything=source.anything
        )
        state[entry.asked.path] = _Expected(
            [*source.choices, None], anything=source.anything
        )

    def _check_trail(self) -> None:
        intents: Counter[tuple[str, str]] = Counter()
        done: Counter[tuple[str, str]] = Counter()
        for record in self._records:
            key = (record.get("operation", ""), record.get("path", ""))
            if record.get("phase") == "intent":
                intents[key] += 1
            elif record.get("phase") == "outcome" and record["outcome"] == "done":
                done[key] += 1
        wanted: Counter[tuple[str, str]] = Counter(
            (_OPERATIONS[entry.asked.kind], entry.asked.path)
            for entry in self._ledger.entries
            if entry.answer == "ok"
        )
        for key, count in wanted.items():
            if intents[key] < count:
                self.violations.append(
                    f"trail: {key}: {count} ok, {intents[key]} intents"
                )
            # A read's outcome need not be waited for, so a crash may lose it.
            if key[0] != "read" and done[key] < count:
                self.violations.append(
                    f"trail: {key}: {count} ok, {done[key]} outcomes"
                )

    def _check_effects(self) -> None:
        made: set[str] = set()
        for record in self._records:
            if record.get("phase") == "intent" and record["operation"] in _MAKING:
                made.add(record.get("path", ""))
                made.add(record.get("target", ""))
        for path in self._root.rglob("*"):
            virtual = f"{self._prefix}/{path.relative_to(self._root)}"
            if virtual not in made:
                self.violations.append(f"effect without intent: {virtual}")

    def _check_intents(self) -> None:
        outcomes = Counter(
            record["act"]
            for record in self._records
            if record.get("phase") == "outcome"
        )
        for record in self._records:
            if record.get("phase") == "intent" and outcomes[record["act"]] != 1:
                self.violations.append(
                    f"intent {record['id']} {record['operation']} "
                    f"{record.get('path')}: {outcomes[record['act']]} outcomes"
                )

    def _check_chains(self) -> None:
        for stream in sorted(path for path in self._journal.iterdir() if path.is_dir()):
            self.violations.extend(_chain_faults(stream.name, stream_lines(stream)))


def _chain_faults(name: str, lines: Iterable[bytes]) -> Iterator[str]:
    prev = hashchain.GENESIS
    for seq, line in enumerate(lines, start=1):
        stream = json.loads(line)["id"].rpartition(":")[0]
        try:
            prev = hashchain.follow(line, stream=stream, seq=seq, prev=prev).hash
        except hashchain.ChainError as error:
            yield f"chain: {name}:{seq}: {error}"
            return


def _bytes(choice: Entry | None) -> bytes | None:
    return None if choice is None else content(choice.asked.seed, choice.asked.length)
