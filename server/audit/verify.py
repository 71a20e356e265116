"""Verifying the trail, as pure functions over lines and signed notes.

`Proof` takes the notes apart: which keys lead from the root, what each checkpoint says
of each stream, which records went by a signed retention. `Walk` goes along one stream
and recomputes every link; it stops at the first record that is not what it must be.
Nothing here reads a file: `audit.evidence` does.

What no verifier can see: a change behind the last checkpoint by somebody who makes all
hashes there anew. That window is `audit.checkpoint_s`.
"""

from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from server.audit import hashchain
from server.audit.hashchain import ChainError
from server.audit.keychain import KeyChain, KeyChainError
from server.audit.note import Note, NoteError, VerifierKey
from server.audit.statements import (
    Certificate,
    Checkpoint,
    Head,
    Retention,
    StatementError,
)

_SUFFIX: Final = 76
"""Bytes of a line behind the hashed text: `,"hash":"…"}` and the line feed."""
_AHEAD_MAX: Final = 1_000_000
"""How far a missing record is looked for before it is called missing."""


@unique
class Fault(StrEnum):
    """What is wrong."""

    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"
    FOREIGN = "foreign"
    """A record of another stream stands here: the two were swapped."""
    CUT = "cut"
    REWRITTEN = "rewritten"
    """Links hold, but not to what a checkpoint signed."""
    KEY = "key"
    CHECKPOINT = "checkpoint"
    RETENTION = "retention"
    INDEX = "index"
    """A column of the DB says something else than the record."""
    MANIFEST = "manifest"


class Finding(NamedTuple):
    """One thing that is wrong, and where."""

    fault: Fault
    where: str
    """A record's id, `checkpoint 7`, `key 3`, a stream."""
    text: str


class Anchor(NamedTuple):
    """A hash that a stream must have at a place, and who says so."""

    hash: str
    source: str


@dataclass(slots=True)
class Notes:
    """Signed notes as found, in any order, the same ones more than once or not."""

    certificates: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    retentions: list[str] = field(default_factory=list)
    whole: bool = False
    """Whether `checkpoints` must have every number from its first on."""


_Statement = TypeVar("_Statement", Checkpoint, Retention)


class Proof:
    """What the signed notes prove; `findings` tells what is wrong with them."""

    def __init__(self, notes: Notes, root: VerifierKey | None) -> None:
        """Check all notes.

        Args:
            notes: As found.
            root: The root's public key as the reader knows it; None trusts the
                first certificate.
        """
        self.findings: list[Finding] = []
        self.anchors: dict[str, dict[int, Anchor]] = {}
        self.dropped: dict[str, Head] = {}
        self.last: Checkpoint | None = None
        self.checkpoints = 0
        self.chain: KeyChain | None = None
        if root is None and not notes.certificates:
            self._find(Fault.KEY, "key 0", "There are no keys, so nothing is signed.")
            return
        try:
            self.chain = KeyChain.of(dict.fromkeys(notes.certificates), root)
        except KeyChainError as error:
            self._find(Fault.KEY, "keys", f"The keys do not hold together: {error}.")
            return
        self._check_checkpoints(notes, self.chain)
        self._check_retentions(notes, self.chain)

    def _find(self, fault: Fault, where: str, text: str) -> None:
        self.findings.append(Finding(fault, where, text))

    def _check_checkpoints(self, notes: Notes, chain: KeyChain) -> None:
        found = self._numbered(notes, Checkpoint.parse, Fault.CHECKPOINT, chain)
        before: tuple[Checkpoint, Note] | None = None
        for number, (checkpoint, note) in sorted(found.items()):
            where = f"checkpoint {number}"
            wrong = _wrong_signature(number, note, chain) or (
                before and _does_not_follow(checkpoint, *before, whole=notes.whole)
            )
            if wrong:
                self._find(Fault.CHECKPOINT, where, f"{where.capitalize()} {wrong}.")
            else:
                self._anchor(where, checkpoint.heads)
                self.last = checkpoint
                self.checkpoints += 1
            before = checkpoint, note
        self._check_bindings(found, chain.certificates, whole=notes.whole)

    def _check_bindings(
        self,
        found: Mapping[int, tuple[Checkpoint, Note]],
        certificates: list[Certificate],
        *,
        whole: bool,
    ) -> None:
        """Each key was made behind a certain checkpoint."""
        for certificate in certificates:
            after, where = certificate.after, f"checkpoint {certificate.after.seq}"
            bound = found.get(after.seq)
            if bound is not None and bound[1].digest != after.hash:
                text = f"is not the one that key {certificate.number} was made behind"
                self._find(Fault.CHECKPOINT, where, f"{where.capitalize()} {text}.")
            if whole and after.seq > max(found, default=0):
                text = f"is missing; key {certificate.number} was made behind it"
                self._find(Fault.CHECKPOINT, where, f"{where.capitalize()} {text}.")

    def _check_retentions(self, notes: Notes, chain: KeyChain) -> None:
        found = self._numbered(notes, Retention.parse, Fault.RETENTION, chain)
        for number, (retention, note) in sorted(found.items()):
            where = f"retention {number}"
            key = chain.numbered(retention.key)
            if key is None or not note.is_signed_by(key.verifier):
                text = f"is not signed by key {retention.key}, which it names"
                self._find(Fault.RETENTION, where, f"{where.capitalize()} {text}.")
                continue
            heads = {stream: gone.head for stream, gone in retention.streams.items()}
            self._anchor(where, heads)
            for stream, head in heads.items():
                self.dropped[stream] = max(head, self.dropped.get(stream, head))

    def _anchor(self, source: str, heads: Mapping[str, Head]) -> None:
        for stream, head in heads.items():
            known = self.anchors.setdefault(stream, {}).setdefault(
                head.seq, Anchor(head.hash, source)
            )
            if known.hash != head.hash:
                self._find(
                    Fault.CHECKPOINT,
                    source,
                    f"{source.capitalize()} and {known.source} name different hashes "
                    f"for {stream}:{head.seq}.",
                )

    def _numbered(
        self,
        notes: Notes,
        parse: Callable[[str], _Statement],
        fault: Fault,
        chain: KeyChain,
    ) -> dict[int, tuple[_Statement, Note]]:
        found: dict[int, tuple[_Statement, Note]] = {}
        mine = notes.checkpoints if fault is Fault.CHECKPOINT else notes.retentions
        for written in dict.fromkeys(mine):
            try:
                note = Note.parse(written)
                statement = parse(note.text)
            except (NoteError, StatementError) as error:
                self._find(fault, f"a {fault}", f"A {fault} cannot be read: {error}.")
                continue
            if statement.origin != chain.root.name:
                if notes.whole:
                    text = f"A {fault} of {statement.origin} lies among these."
                    self._find(fault, f"a {fault}", text)
                continue  # another node's, which has keys of its own
            known = found.setdefault(statement.number, (statement, note))
            if known[1] != note:
                where = f"{fault} {statement.number}"
                text = "exists in two versions"
                self._find(fault, where, f"{where.capitalize()} {text}.")
        return found


def _wrong_signature(number: int, note: Note, chain: KeyChain) -> str:
    key = chain.for_checkpoint(number)
    if note.is_signed_by(key.verifier):
        return ""
    other = chain.signer_of(note)
    if other is None:
        return f"is not signed by key {key.number}, nor by any key of this trail"
    return (
        f"is signed by key {other.number}, which signs those behind "
        f"{other.after.seq}; it belongs to key {key.number}"
    )


def _does_not_follow(
    checkpoint: Checkpoint, before: Checkpoint, note: Note, *, whole: bool
) -> str:
    if checkpoint.number == before.number + 1 and checkpoint.prev != note.digest:
        return f"does not follow checkpoint {before.number}"
    if whole and checkpoint.number != before.number + 1:
        return f"follows {before.number}: those between are missing"
    for stream, head in before.heads.items():
        now = checkpoint.heads.get(stream)
        if now is None or now.seq < head.seq:
            return f"says less of {stream} than checkpoint {before.number}"
    return ""


class Walk:
    """One stream, gone along from its first record; `feed` it lines in their order."""

    def __init__(self, stream: str, proof: Proof) -> None:
        """Begin before the first record."""
        self.stream = stream
        self.count = 0
        self.first = 0
        self.seq = 0
        self.hash = hashchain.GENESIS
        self._proof = proof
        self._anchors = proof.anchors.get(stream, {})
        self._places: Iterator[int] = iter(sorted(self._anchors))
        self._anchor = 0

    def feed(self, lines: Iterable[bytes]) -> Finding | None:
        """Go on along these lines, each with its line feed.

        Returns:
            What is wrong with the first one that is not what it must be.
        """
        following = iter(lines)
        if self.count == 0:
            line = next(following, None)
            if line is None:
                return None
            found = self._begin(line)
            if found is not None:
                return self._name(line, following, found)
            following = _chain(line, following)
        return self._follow(following)

    def end(self, *, behind: bool = False) -> Finding | None:
        """Look whether the stream reaches as far as it must.

        Args:
            behind: It need not reach the last checkpoint (an index that lags).
        """
        last = self._proof.last
        head = last.heads.get(self.stream) if last else None
        gone = self._proof.dropped.get(self.stream)
        if last is None or head is None or self.seq >= head.seq or behind:
            return None
        if self.count == 0 and gone is not None and gone.seq >= head.seq:
            return None
        return Finding(
            Fault.CUT,
            f"{self.stream}:{self.seq + 1}",
            f"{self.stream} ends at record {self.seq}; checkpoint {last.number} of "
            f"{last.time} knows {head.seq}. Its tail was cut.",
        )

    def _begin(self, line: bytes) -> Finding | None:
        """Take up the first record: number 1, or the first that was not dropped."""
        gone = self._proof.dropped.get(self.stream, Head(0, hashchain.GENESIS))
        try:
            link = hashchain.parse(line)
            own = link.fields["id"] == f"{self.stream}:{link.seq}"
        except ChainError:
            return Finding(Fault.CHANGED, f"{self.stream}:{gone.seq + 1}", "")
        if own and link.seq <= gone.seq:
            self.seq, self.hash = link.seq - 1, link.fields["prev"]
        else:
            self.seq, self.hash = gone
        self.first = self.seq + 1
        self._anchor = next((at for at in self._places if at > self.seq), 0)
        return None

    def _follow(self, lines: Iterator[bytes]) -> Finding | None:
        """The inner loop; all that is not plain is left to `_name`."""
        name = b'"id":"%b:' % self.stream.encode()
        seq, hexed, anchor = self.seq, self.hash.encode(), self._anchor
        prev, began = bytes.fromhex(self.hash), self.seq
        bad: bytes | None = None
        for line in lines:
            digest = sha256(b"\x01%b%b}" % (prev, line[:-_SUFFIX])).digest()
            before, hexed = hexed, hexlify(digest)
            seq += 1
            if (
                line[-_SUFFIX:] != b',"hash":"%b"}\n' % hexed
                or b'%b%d"' % (name, seq) not in line
                or b'"prev":"%b"' % before not in line
            ):
                seq, hexed, bad = seq - 1, before, line
                break
            prev = digest
            if seq == anchor:
                if hexed.decode() != self._anchors[seq].hash:
                    bad = b""
                    break
                anchor = next(self._places, 0)
        self.count += seq - began
        self.seq, self.hash, self._anchor = seq, hexed.decode(), anchor
        if bad is None:
            return None
        return self._rewritten() if bad == b"" else self._name(bad, lines)

    def _rewritten(self) -> Finding:
        source = self._anchors[self.seq].source
        return Finding(
            Fault.REWRITTEN,
            f"{self.stream}:{self.seq}",
            f"{self.stream}:{self.seq} is not the record that {source} names: it, or "
            "what lies before it, was written anew.",
        )

    def _name(
        self, line: bytes, following: Iterator[bytes], found: Finding | None = None
    ) -> Finding:
        """Say what is wrong with a line that stands where `seq + 1` belongs."""
        expected = f"{self.stream}:{self.seq + 1}"
        try:
            link = hashchain.parse(line)
        except ChainError as error:
            where = found.where if found else expected
            return Finding(Fault.CHANGED, where, f"{where} was changed: {error}.")
        told = str(link.fields["id"])
        stream = told.rpartition(":")[0]
        if stream != self.stream:
            text = f"{told} stands where {expected} belongs"
            return Finding(Fault.FOREIGN, expected, f"{text}: streams were swapped.")
        if link.seq <= self.seq:
            text = f"{told} stands behind {self.stream}:{self.seq}"
            return Finding(Fault.INSERTED, told, f"{text}: it was inserted or moved.")
        if link.seq == self.seq + 1:
            text = f"{told} does not follow the record before it, which was changed"
            at = f"{self.stream}:{self.seq}" if self.seq >= self.first else told
            return Finding(Fault.CHANGED, at, f"{text}, or is not the one it was.")
        return self._gap(link.seq, following)

    def _gap(self, seq: int, following: Iterator[bytes]) -> Finding:
        expected = f"{self.stream}:{self.seq + 1}"
        mark = f'"id":"{expected}"'.encode()
        if any(mark in line for line in islice(following, _AHEAD_MAX)):
            text = (
                f"{expected} stands behind {self.stream}:{seq}: the order was changed"
            )
            return Finding(Fault.REORDERED, expected, f"{text}.")
        last = f" to {seq - 1}" if seq - 1 > self.seq + 1 else ""
        are = "are" if last else "is"
        return Finding(Fault.MISSING, expected, f"{expected}{last} {are} missing.")


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
