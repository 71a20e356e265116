"""Where the verifier's lines and notes come from: the journals, and the DB.

Reads only, needs no daemon and no secret. The journals' own notes (`checkpoint`,
`retention` and `system.key_rotation` records) count beside the files of notes, so a DB
or a journal can be verified where nothing else was kept.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa

from server.audit import hashchain, segment
from server.audit.checkpoint import KEYS, RETENTION, CheckpointFolder
from server.audit.hashchain import Link
from server.audit.index import Index
from server.audit.note import VerifierKey
from server.audit.segment import Segment
from server.audit.statements import Head
from server.audit.tables import (
    OWN_COLUMNS,
    PATHS,
    RECORDS,
    ROW_COLUMNS,
    STREAMS,
    row_of,
)
from server.audit.verify import Fault, Finding, Notes, Proof, Walk
from server.db.engine import Connection
from server.model.errors import UnavailableError
from server.model.operation import Operation

_SIGNED: Final = {
    Operation.CHECKPOINT: "checkpoints",
    Operation.RETENTION: "retentions",
    Operation.SYSTEM_KEY_ROTATION: "certificates",
}
_MARKS: Final = tuple(f'"operation":"{name}"'.encode() for name in _SIGNED)
_TELLERS: Final = ("keeper", "cli")
"""The streams that hold records with notes."""
_PAGE: Final = 5000

_Stored = sa.Row[Any]
"""A row of `records`, its columns in the order of `ROW_COLUMNS`."""


@dataclass(slots=True)
class Report:
    """What a verification came to."""

    source: str
    records: int = 0
    checkpoints: int = 0
    key: str = ""
    """The root's public key, as far as there is one."""
    up_to: str = ""
    """The time of the last checkpoint: what lies behind it is only linked."""
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What is no fault, but worth knowing."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def take(self, proof: Proof) -> None:
        """Tell what the notes came to."""
        self.findings.extend(proof.findings)
        self.checkpoints = proof.checkpoints
        self.key = str(proof.chain.root) if proof.chain else ""
        self.up_to = proof.last.time if proof.last else ""
        self.remarks.extend(
            f"{stream}: records up to {gone.seq} were dropped by retention"
            for stream, gone in sorted(proof.dropped.items())
        )


def verify_journals(
    journal: Path,
    folders: Sequence[CheckpointFolder],
    *,
    node: str,
    root: VerifierKey | None,
) -> Report:
    """Verify all streams of a node from its journals.

    Args:
        journal: `state_dir/journal`.
        folders: Where checkpoints are; the first is the journals' own.
        node: Whose streams they are.
        root: The root's public key; None trusts the first certificate.

    Raises:
        OSError: A file cannot be read.
        UnavailableError: A file of notes cannot be read.
    """
    if not journal.is_dir():
        raise UnavailableError(f"There is no journal at {journal}.")
    report = Report("journal")
    notes = notes_of(folders)
    notes.whole = True
    for slot in _TELLERS:
        folder = journal / slot
        if folder.is_dir():
            found = segment.segments(folder)
            gather(chain.from_iterable(map(segment.lines, found)), notes)
    proof = Proof(notes, root)
    report.take(proof)
    slots = segment.slots(journal)
    for slot in slots:
        _walk_journal(journal / slot, Walk(f"{node}/{slot}", proof), report)
    _miss_streams(proof, {f"{node}/{slot}" for slot in slots}, report)
    return report


def verify_database(
    url: str,
    folders: Sequence[CheckpointFolder],
    *,
    root: VerifierKey | None,
    strict: bool,
) -> Report:
    """Verify every row of the audit DB, index columns too.

    Args:
        url: The audit DB.
        folders: Where checkpoints are, if anywhere.
        root: The root's public key; None trusts the first certificate.
        strict: A DB that is behind a checkpoint of `folders` is an error, not lag.

    Raises:
        UnavailableError: The DB or a file of notes cannot be read.
        OSError: A file cannot be read.
    """
    report = Report("database")
    notes = notes_of(folders)
    with ExitStack() as stack:
        index = Index(url)
        stack.callback(index.close)
        with index.reading() as connection:
            _gather_rows(connection, notes)
            reached = {
                row.stream: Head(row.seq, row.hash)
                for row in connection.execute(sa.select(STREAMS))
            }
            streams = _streams(connection)
        proof = Proof(notes, root)
        report.take(proof)
        for stream in sorted(streams | reached.keys()):
            walk = Walk(stream, proof)
            head = reached.get(stream, Head(0, hashchain.GENESIS))
            _walk_rows(index, walk, head, report, strict=strict)
        _miss_streams(proof, streams | reached.keys(), report, lags=not strict)
    return report


def notes_of(folders: Iterable[CheckpointFolder]) -> Notes:
    """All notes of these folders.

    Raises:
        OSError: A file cannot be read.
        UnavailableError: It is no text.
    """
    notes = Notes()
    for folder in folders:
        notes.certificates += folder.kept(KEYS)
        notes.checkpoints += folder.notes()
        notes.retentions += folder.kept(RETENTION)
    return notes


def gather(lines: Iterable[bytes], notes: Notes) -> None:
    """Take the notes out of the records that hold one."""
    for line in lines:
        if any(mark in line for mark in _MARKS):
            _gather_record(line, notes)


def _gather_record(line: bytes | str, notes: Notes) -> None:
    try:
        record = json.loads(line)
        kind = _SIGNED[record["operation"]]
        written = record["detail"]["note"]
    except (ValueError, LookupError, TypeError):
        return  # the walk tells what is wrong with it
    if isinstance(written, str):
        getattr(notes, kind).append(written)


def _gather_rows(connection: Connection, notes: Notes) -> None:
    told = sa.select(RECORDS.c.record).where(
        RECORDS.c.operation.in_([str(operation) for operation in _SIGNED])
    )
    for record in connection.execute(told).scalars():
        _gather_record(record, notes)


def _walk_journal(folder: Path, walk: Walk, report: Report) -> None:
    found = segment.segments(folder)
    durable = max(
        segment.read_synced(folder).seq,
        segment.read_recorded(folder).seq,
    )
    wrong: Finding | None = None
    for one in found:
        wrong = walk.feed(_plain_lines(one))
        if wrong is not None:
            break
        if one is not found[-1]:
            durable = max(durable, walk.seq)
    torn = wrong is not None and one is found[-1] and walk.seq >= durable
    if torn:
        report.remarks.append(
            f"{walk.stream}: behind record {walk.seq} a crash left a torn end, or it "
            "is being written"
        )
        wrong = None
    _conclude(walk, wrong or walk.end(), report)


def _plain_lines(found: Segment) -> Iterator[bytes]:
    """The lines of a segment; a compressed one that is broken ends in a bad line."""
    try:
        yield from segment.lines(found)
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        if not found.packed or (isinstance(error, OSError) and error.errno):
            raise
        yield b"the compressed segment is broken\n"


def _walk_rows(
    index: Index, walk: Walk, reached: Head, report: Report, *, strict: bool
) -> None:
    wrong: Finding | None = None
    after = 0
    while wrong is None:
        rows = _page(index, walk.stream, after, reached.seq)
        if not rows:
            break
        after = cast("int", rows[-1].seq)
        wrong = walk.feed([f"{row.record}\n".encode() for row in rows])
        known = rows if wrong is None else rows[: max(walk.seq - rows[0].seq + 1, 0)]
        wrong = _first_wrong_row(known, walk.stream) or wrong
    if wrong is None and walk.seq < reached.seq:
        wrong = Finding(
            Fault.CUT,
            f"{walk.stream}:{walk.seq + 1}",
            f"The rows of {walk.stream} end at {walk.seq}, but the recorder had come "
            f"to {reached.seq}. Rows were deleted.",
        )
    if wrong is None and walk.seq and walk.hash != reached.hash:
        wrong = Finding(
            Fault.REWRITTEN,
            f"{walk.stream}:{walk.seq}",
            f"{walk.stream}:{walk.seq} is not the record that the recorder read.",
        )
    wrong = wrong or _beyond(index, walk.stream) or walk.end(behind=not strict)
    if wrong is None and (lag := walk.end()):
        report.remarks.append(f"the database is behind: {lag.text}")
    _conclude(walk, wrong, report)


def _page(index: Index, stream: str, after: int, until: int) -> list[_Stored]:
    path, target = PATHS.alias("path"), PATHS.alias("target")
    statement = (
        sa
        .select(
            *(RECORDS.c[name] for name in OWN_COLUMNS),
            path.c.path.label("path"),
            target.c.path.label("target"),
        )
        .outerjoin_from(RECORDS, path, path.c.id == RECORDS.c.path_id)
        .outerjoin(target, target.c.id == RECORDS.c.target_id)
        .where(
            RECORDS.c.stream == stream, RECORDS.c.seq > after, RECORDS.c.seq <= until
        )
        .order_by(RECORDS.c.seq)
        .limit(_PAGE)
    )
    with index.reading() as connection:
        return list(connection.execute(statement))


def _first_wrong_row(rows: list[_Stored], stream: str) -> Finding | None:
    """Whether a row can be found by what its record says."""
    for row in rows:
        line = f"{row.record}\n".encode()
        made = row_of(Link(json.loads(line), line), stream)
        if made == tuple(row):
            continue
        names = [
            name
            for name, now, then in zip(ROW_COLUMNS, row, made, strict=True)
            if now != then
        ]
        where = f"{stream}:{row.seq}"
        text = f"{where} was changed: column {', '.join(names)} is not the record's."
        return Finding(Fault.INDEX, where, text)
    return None


def _beyond(index: Index, stream: str) -> Finding | None:
    """Rows that no recorder wrote: it keeps its position with them."""
    newest = sa.select(sa.func.max(RECORDS.c.seq)).where(RECORDS.c.stream == stream)
    place = sa.select(STREAMS.c.seq).where(STREAMS.c.stream == stream)
    with index.reading() as connection:
        top = connection.execute(newest).scalar() or 0
        reached = connection.execute(place).scalar() or 0
    if top <= reached:
        return None
    where = f"{stream}:{reached + 1}"
    text = f"The recorder had come to {reached} only: {where} was inserted."
    return Finding(Fault.INSERTED, where, text)


def _streams(connection: Connection) -> set[str]:
    """The streams that rows name, each found by one look into the index."""
    found: set[str] = set()
    last = ""
    while True:
        following = sa.select(sa.func.min(RECORDS.c.stream)).where(
            RECORDS.c.stream > last
        )
        stream = connection.execute(following).scalar()
        if stream is None:
            return found
        found.add(stream)
        last = stream


def _miss_streams(
    proof: Proof, there: Iterable[str], report: Report, *, lags: bool = False
) -> None:
    missing = proof.anchors.keys() - set(there)
    for stream in sorted(missing):
        wrong = Walk(stream, proof).end()
        if wrong is None:
            continue
        if lags:
            report.remarks.append(f"the database is behind: {wrong.text}")
        else:
            text = f"Stream {stream} is missing as a whole."
            report.findings.append(Finding(Fault.MISSING, stream, text))


def _conclude(walk: Walk, wrong: Finding | None, report: Report) -> None:
    report.records += walk.count
    if wrong is not None:
        report.findings.append(wrong)
