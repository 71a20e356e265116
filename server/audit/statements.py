"""What the trail signs: key certificates, checkpoints, retentions, export manifests.

Each is the text of a signed note (`audit.note`): its first line says whose and what it
is, so that none can stand for another; then `name value` lines in a fixed order.

    kagikura/<node>             a checkpoint, laid out as https://c2sp.org/tlog-checkpoint
    kagikura/<node>/key         a key certificate, signed by the key before
    kagikura/<node>/retention   which records were dropped
    kagikura/<node>/export      the manifest of an exported file
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, Self

from server.audit.note import VerifierKey

NOTHING: Final = "0" * 64
"""Where a hash would stand and there is nothing before."""

_HEADS_DOMAIN: Final = b"\x02"
_STREAM: Final = r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*"
_NUMBER: Final = r"0|[1-9][0-9]{0,17}"
_RECORD: Final = rf"{_STREAM}:(?:{_NUMBER})"
_HASH: Final = r"[0-9a-f]{64}"
_TIME: Final = r"[0-9T:.-]{26}Z"
_NODE: Final = r"kagikura/[a-z0-9][a-z0-9-]*"


class StatementError(ValueError):
    """A note's text does not say what it should; the message says why."""


class Head(NamedTuple):
    """A place in a stream: its record `seq`, which has this hash."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A key and from which checkpoint on it signs.

    Number 0 is the root: it signs itself and key 1, and is erased. Each further key is
    signed by the one before, which is then erased.
    """

    origin: str
    number: int
    after: Head
    """The last checkpoint before this key: number and hash of its text."""
    time: str
    key: bytes

    @property
    def verifier(self) -> VerifierKey:
        """As it verifies notes."""
        return VerifierKey(self.origin, self.key)

    def text(self) -> str:
        """As signed."""
        return (
            f"{self.origin}/key\n"
            f"number {self.number}\n"
            f"after {self.after.seq} {self.after.hash}\n"
            f"time {self.time}\n"
            f"key {base64.b64encode(self.key).decode('ascii')}\n"
        )

    _FORM = re.compile(
        rf"({_NODE})/key\nnumber ({_NUMBER})\nafter ({_NUMBER}) ({_HASH})\n"
        rf"time ({_TIME})\nkey ([A-Za-z0-9+/]{{43}}=)\n"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` writes.

        Raises:
            StatementError: Not a key certificate.
        """
        origin, number, after, digest, time, key = _fields(cls._FORM, text)
        return cls(
            origin=origin,
            number=int(number),
            after=Head(int(after), digest),
            time=time,
            key=base64.b64decode(key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The heads of a node's streams at one moment: all up to there was durable."""

    origin: str
    number: int
    time: str
    prev: str
    """The hash of the checkpoint before; `NOTHING` for the first."""
    heads: Mapping[str, Head]

    @property
    def size(self) -> int:
        """How many records lie up to the heads."""
        return sum(head.seq for head in self.heads.values())

    def text(self) -> str:
        """As signed."""
        heads = _head_lines(self.heads)
        root = base64.b64encode(sha256(_HEADS_DOMAIN + heads.encode()).digest())
        return (
            f"{self.origin}\n{self.size}\n{root.decode('ascii')}\n"
            f"number {self.number}\ntime {self.time}\nprev {self.prev}\n{heads}"
        )

    _FORM = re.compile(
        rf"({_NODE})\n({_NUMBER})\n([A-Za-z0-9+/]{{43}}=)\n"
        rf"number ({_NUMBER})\ntime ({_TIME})\nprev ({_HASH})\n"
        rf"((?:head {_STREAM} (?:{_NUMBER}) {_HASH}\n)*)"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` writes.

        Raises:
            StatementError: Not a checkpoint, or its size or root hash is not that
                of its heads.
        """
        origin, _, _, number, time, prev, heads = _fields(cls._FORM, text)
        found = cls(
            origin=origin,
            number=int(number),
            time=time,
            prev=prev,
            heads=_heads(heads),
        )
        if found.text() != text:
            raise StatementError("size and root are not those of the heads")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The beginning of a stream that is gone: all up to a head."""

    head: Head
    count: int
    """How many records went with this retention; 0 when they had gone before."""
    until: str
    """The time of the latest of them; empty when none went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What was dropped by when, all earlier retentions included."""

    origin: str
    number: int
    key: int
    """The number of the key that signs it."""
    time: str
    policy: str
    """The rule that it follows, `days 366` for instance."""
    streams: Mapping[str, Dropped]

    def text(self) -> str:
        """As signed."""
        lines = "".join(
            f"dropped {stream} {gone.head.seq} {gone.head.hash} {gone.count} "
            f"{gone.until or '-'}\n"
            for stream, gone in sorted(self.streams.items())
        )
        return (
            f"{self.origin}/retention\nnumber {self.number}\n"
            f"key {self.key}\ntime {self.time}\n"
            f"policy {self.policy}\n{lines}"
        )

    _FORM = re.compile(
        rf"({_NODE})/retention\nnumber ({_NUMBER})\nkey ({_NUMBER})\n"
        rf"time ({_TIME})\npolicy ([^\n]+)\n"
        rf"((?:dropped {_STREAM} (?:{_NUMBER}) {_HASH} (?:{_NUMBER}) (?:{_TIME}|-)\n)+)"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` writes.

        Raises:
            StatementError: Not a retention.
        """
        origin, number, key, time, policy, lines = _fields(cls._FORM, text)
        streams = {}
        for line in lines.splitlines():
            _, stream, seq, digest, count, until = line.split(" ")
            streams[stream] = Dropped(
                head=Head(int(seq), digest),
                count=int(count),
                until="" if until == "-" else until,
            )
        return cls(
            origin=origin,
            number=int(number),
            key=int(key),
            time=time,
            policy=policy,
            streams=streams,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an exported file is: its filter, its records, its SHA-256."""

    origin: str
    key: int
    """The number of the key that signs it."""
    time: str
    form: str
    """`jsonl` or `csv`."""
    query: str
    """The filter as canonical JSON on one line."""
    records: int
    first: str
    """The `id` of its first record; empty when there is none."""
    last: str
    """The `id` of its last one."""
    bytes: int
    sha256: str

    def text(self) -> str:
        """As signed."""
        return (
            f"{self.origin}/export\nkey {self.key}\ntime {self.time}\n"
            f"form {self.form}\nquery {self.query}\nrecords {self.records}\n"
            f"first {self.first or '-'}\nlast {self.last or '-'}\n"
            f"bytes {self.bytes}\nsha256 {self.sha256}\n"
        )

    _FORM = re.compile(
        rf"({_NODE})/export\nkey ({_NUMBER})\ntime ({_TIME})\n"
        rf"form ([a-z]+)\nquery ([^\n]+)\nrecords ({_NUMBER})\n"
        rf"first (-|{_RECORD})\nlast (-|{_RECORD})\n"
        rf"bytes ({_NUMBER})\nsha256 ({_HASH})\n"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` writes.

        Raises:
            StatementError: Not a manifest.
        """
        told = _fields(cls._FORM, text)
        origin, key, time, form, query, records, first, last, size, digest = told
        return cls(
            origin=origin,
            key=int(key),
            time=time,
            form=form,
            query=query,
            records=int(records),
            first="" if first == "-" else first,
            last="" if last == "-" else last,
            bytes=int(size),
            sha256=digest,
        )


def origin_of(node: str) -> str:
    """The name that a node's statements bear, and its keys."""
    return f"kagikura/{node}"


def _fields(form: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = form.fullmatch(text)
    if match is None:
        raise StatementError("the text is not laid out as it must be")
    return match.groups()


def _head_lines(heads: Mapping[str, Head]) -> str:
    return "".join(
        f"head {stream} {head.seq} {head.hash}\n"
        for stream, head in sorted(heads.items())
    )


def _heads(lines: str) -> dict[str, Head]:
    heads = {}
    for line in lines.splitlines():
        _, stream, seq, digest = line.split(" ")
        heads[stream] = Head(int(seq), digest)
    return heads
