"""Retention: what is older than `audit.retention_days` goes, and leaves a signed stub.

A stream loses its beginning only, by whole sealed segments (a new one is begun every
day), so what is gone collapses into one head: number and hash of the last record that
went. In this order, so that a crash leaves something that can be finished:

    1  the segments, with checkpoints and keys, into `audit.archive_dir`, if set
    2  the signed retention beside the checkpoints; from then on it holds
    3  an intent in the trail with that retention in it
    4  the segments are removed; the recorder deletes the rows, a few at a time
    5  the outcome

A segment that is not in the DB, or behind the last checkpoint, is never due. Nor is one
that has a record of a contract which is held, or whose own time is longer: it stays as
a whole, and so does the stream behind it.
"""

import gzip
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from server.audit import heads, segment
from server.audit.checkpoint import KEYS, RETENTION, CheckpointFolder, Witness
from server.audit.gate import Gate
from server.audit.keeping import Keeping, Limits, is_kept
from server.audit.keys import SigningKeys
from server.audit.released import RowDropper, dropped, retentions
from server.audit.segment import Segment
from server.audit.statements import (
    Dropped,
    Head,
    Retention,
    origin_of,
)
from server.model.clock import Clock, parse_rfc3339, rfc3339
from server.model.errors import UnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome
from server.settings.schema import AuditSettings

log = logging.getLogger(__name__)

DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The beginning of a stream that may go: whole segments."""

    stream: str
    segments: tuple[Segment, ...]
    first: int
    head: Head
    """The last record that goes."""
    until: str
    """All that go are as old as this, or older."""

    @property
    def count(self) -> int:
        """How many records go."""
        return self.head.seq - self.first + 1


class Pruner:
    """Plans and carries out retention for one node. Used by one thread."""

    def __init__(
        self,
        journal: Path,
        keys: SigningKeys,
        folders: Sequence[CheckpointFolder],
        *,
        node: str,
        clock: Clock,
        settings: AuditSettings,
    ) -> None:
        """Prepare.

        Args:
            journal: `state_dir/journal`.
            keys: This node's.
            folders: The store's own checkpoints first, then the copy's, if any.
            node: This machine's name.
            clock: Whose day it is (UTC).
            settings: How long records are kept, and where they go then.
        """
        self._journal = journal
        self._keys = keys
        self._folders = folders
        self._witness = Witness(journal, keys, folders, node=node)
        self._node = node
        self._clock = clock
        self._days = settings.retention_days
        self._archive = settings.archive_dir
        self.keeping: Callable[[], Keeping] = dict
        """Asked at each plan which contracts' records are kept longer."""

    def plan(self) -> list[Due]:
        """What may go today, a stream each.

        Raises:
            CheckpointError: The last checkpoint cannot be read.
            OSError: A segment cannot be read.
        """
        last = self._witness.last()
        if last is None:
            return []
        limits = self._limits()
        plan = []
        for stream, head in sorted(last[0].heads.items()):
            due = self._due(stream, head, limits)
            if due is not None:
                plan.append(due)
        return plan

    def _limits(self) -> Limits:
        """The times before which records are due."""
        longer = {
            name: days
            for name, days in self.keeping().items()
            if days is None or days > self._days
        }
        return Limits(
            self._before(self._days),
            {
                name: "" if days is None else self._before(days)
                for name, days in longer.items()
            },
            "; ".join([
                f"days {self._days}",
                *(
                    f"{name} {'held' if days is None else days}"
                    for name, days in sorted(longer.items())
                ),
            ]),
        )

    def _before(self, days: int) -> str:
        """The time before which records that are kept for so many days are due.

        A clock that jumps forward must not make a young record old, so as many days
        as records are kept for must also have been lived through: each has its file
        of checkpoints. Days on which the store was off do not count, and it keeps
        its records that much longer.
        """
        today_us = self._clock.time_us() // DAY_US * DAY_US
        lived = [day.stem for day in self._folders[0].days()][:-days]
        if not lived:
            return ""
        # `lived[-1]` is the newest day with enough days behind it: it may go whole.
        witnessed_us = parse_rfc3339(lived[-1]) + DAY_US
        before_us = min(today_us - days * DAY_US, witnessed_us)
        return rfc3339(max(before_us, 0))

    def run(self, gate: Gate, who: Fields) -> list[Due]:
        """Finish what a crash cut, then drop what is due.

        Returns:
            What was dropped.

        Raises:
            AuditUnavailableError: It cannot be recorded; nothing is dropped.
            OSError: The archive or a file cannot be written.
        """
        self._finish(gate, who)
        plan = self.plan()
        if not plan:
            return []
        with gate.act(who, Operation.RETENTION) as act:
            if self._archive is not None:
                self._keep_archive(self._archive, plan)
            written = self._sign(plan, self._limits().policy)
            act.note(
                detail={
                    "note": written,
                    "records": sum(due.count for due in plan),
                    "archive": str(self._archive or ""),
                }
            )
            self._keep(written)
            act.begin()
            _remove([one for due in plan for one in due.segments])
        return plan

    def _due(self, stream: str, checkpointed: Head, limits: Limits) -> Due | None:
        folder = self._journal / stream.rpartition("/")[2]
        found = segment.segments(folder)
        recorded = segment.read_recorded(folder).segment
        gone: list[Segment] = []
        head, until, latest = Head(0, ""), "", ""
        for one, following in pairwise(found):
            if following.first > min(recorded, checkpointed.seq):
                break
            link = heads.record_at(folder, following.first)
            if link is None:
                break
            time = link.fields["time"]
            if time >= limits.first:  # then the last record's own time decides
                last = heads.record_at(folder, following.first - 1)
                time = last.fields["time"] if last else time
            until = max(until, time)
            if until >= limits.before or is_kept(one, until, limits.longer):
                break
            gone.append(one)
            head = Head(following.first - 1, link.fields["prev"])
            latest = until
        if not gone:
            return None
        return Due(
            stream=stream,
            segments=tuple(gone),
            first=gone[0].first,
            head=head,
            until=latest,
        )

    def _sign(self, plan: Sequence[Due], policy: str) -> str:
        known = retentions(self._folders[0])
        streams: dict[str, Dropped] = {
            stream: Dropped(head=gone.head, count=0, until="")
            for stream, gone in (known[-1].streams.items() if known else ())
        }
        for due in plan:
            streams[due.stream] = Dropped(
                head=due.head, count=due.count, until=due.until
            )
        key = self._keys.current()
        return key.signer.sign(
            Retention(
                origin=origin_of(self._node),
                number=known[-1].number + 1 if known else 1,
                key=key.certificate.number,
                time=rfc3339(self._clock.time_us()),
                policy=policy,
                streams=streams,
            ).text()
        )

    def _finish(self, gate: Gate, who: Fields) -> None:
        """Remove segments that an earlier retention released and did not remove."""
        left = [
            one
            for stream, head in dropped(self._folders[0]).items()
            for one in self._covered(stream, head)
        ]
        if left:
            written = self._folders[0].kept(RETENTION)[-1]
            detail: dict[str, Json] = {"note": written, "finished": len(left)}
            gate.event(who, Operation.RETENTION, Outcome.DONE, detail=detail)
            _remove(left)

    def _keep(self, written: str) -> None:
        """Add a retention to the store's own and to each copy that can be reached."""
        own, *copies = self._folders
        kept = [*own.kept(RETENTION), written]
        own.keep(RETENTION, kept)
        for copy in copies:
            with suppress(OSError):
                copy.keep(RETENTION, kept)

    def _covered(self, stream: str, head: Head) -> list[Segment]:
        folder = self._journal / stream.rpartition("/")[2]
        found = segment.segments(folder) if folder.is_dir() else []
        return [
            one for one, following in pairwise(found) if following.first <= head.seq + 1
        ]

    def _keep_archive(self, archive: Path, plan: Sequence[Due]) -> None:
        """Copy what will go, compressed, and what proves it."""
        if not archive.is_dir():
            raise UnavailableError(
                f"The archive {archive} is not there, so nothing is dropped."
            )
        node = archive / self._node
        node.mkdir(mode=0o700, exist_ok=True)
        for due in plan:
            folder = node / due.stream.rpartition("/")[2]
            folder.mkdir(mode=0o700, exist_ok=True)
            for one in due.segments:
                _copy(one, folder / f"{one.first:020d}{segment.PACKED}")
            segment.sync_folder(folder)
        beside = CheckpointFolder(node)
        beside.catch_up(self._folders[0])
        beside.keep(KEYS, self._keys.notes())
        segment.sync_folder(node)


class DailyPruning:
    """The keeper's job: once a day (UTC), and when a command asks for it."""

    def __init__(
        self, pruner: Pruner, released: RowDropper, request: Path, *, clock: Clock
    ) -> None:
        """Prune with `pruner`, then have rows deleted by `released`.

        Args:
            pruner: Drops segments.
            released: Drops rows.
            request: A file that a command makes when it wants it done now.
            clock: Whose day it is.
        """
        self._pruner = pruner
        self._released = released
        self._request = request
        self._clock = clock
        self._day = -1

    def run(self, gate: Gate, who: Fields) -> None:
        """Prune if it is time.

        Raises:
            UnavailableError: As `Pruner.run`; it is tried again the next day.
            OSError: The same.
        """
        day = self._clock.time_us() // DAY_US
        if day == self._day and not self._request.exists():
            return
        self._day = day
        self._request.unlink(missing_ok=True)
        self._pruner.run(gate, who)
        self._released.look()


def facts(plan: Sequence[Due]) -> list[dict[str, object]]:
    """A plan for people and scripts."""
    return [
        {
            "stream": due.stream,
            "first": due.first,
            "last": due.head.seq,
            "records": due.count,
            "segments": len(due.segments),
            "before": due.until,
        }
        for due in plan
    ]


def _remove(found: Sequence[Segment]) -> None:
    """Oldest first, so that what is left is always an end of the stream."""
    for one in sorted(found, key=lambda one: (one.path.parent, one.first)):
        one.path.unlink(missing_ok=True)
        twin = one.path.with_name(segment.plain_name(one.first))
        twin.unlink(missing_ok=True)
    for folder in {one.path.parent for one in found}:
        segment.sync_folder(folder)


def _copy(one: Segment, target: Path) -> None:
    draft = target.with_name(f"{target.name}.new")
    with draft.open("wb") as raw:
        os.fchmod(raw.fileno(), 0o600)
        if one.packed:
            with one.path.open("rb") as source:
                shutil.copyfileobj(source, raw)
        else:
            with (
                one.open() as source,
                gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            ):
                shutil.copyfileobj(source, packed)
        raw.flush()
        os.fsync(raw.fileno())
    draft.replace(target)
