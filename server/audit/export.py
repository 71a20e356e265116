"""Writing records out as a stream: CSV for spreadsheets, JSON Lines for machines.

CSV: UTF-8 with BOM, RFC 4180, no cell is a formula, the time in UTC and where this
machine stands. JSON Lines: each record's canonical line as stored, hash and all, so
that the file can be checked by itself.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from hashlib import sha256
from typing import BinaryIO, Final

from server.audit.headings import Language, headings
from server.audit.index import Line
from server.model.event import Fields, Json

COLUMNS: Final = (
    "row",
    "id",
    "act",
    "phase",
    "time",
    "time_local",
    *[
        name
        for name in Fields.__annotations__
        if name not in {"id", "act", "phase", "time"}
    ],
)

_BOM: Final = "\ufeff"
_FORMULA: Final = frozenset("=+-@\t\r\n\0＝＋－＠")  # noqa: RUF001 - the full-width forms are meant
_EMPTY: Final = ("",) * len(COLUMNS)
_BLOCK_BYTES: Final = 1 << 16
_encode: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":")
).encode
_MINUTE: Final = len("2026-01-31T09:05")


@unique
class Form(StrEnum):
    """How records are written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to."""

    count: int
    first: str
    """The `id` of the first record; empty when there is none."""
    last: str
    bytes: int
    sha256: str


def write(
    file: BinaryIO,
    lines: Iterable[Line],
    form: Form,
    *,
    language: Language = Language.EN,
) -> Exported:
    """Write all records.

    Args:
        file: Takes the bytes.
        lines: The records in their order.
        form: How.
        language: Of the CSV's headings.

    Returns:
        How many records and bytes, and the SHA-256 of every byte written.
    """
    digest, length = sha256(), 0
    counted = _Counted(lines)
    blocks = _csv(counted, language) if form is Form.CSV else _jsonl(counted)
    for block in blocks:
        digest.update(block)
        file.write(block)
        length += len(block)
    return Exported(
        count=counted.count,
        first=_id_of(counted.first),
        last=_id_of(counted.last),
        bytes=length,
        sha256=digest.hexdigest(),
    )


def cell(value: Json) -> str:
    """A value as a cell's text; what a spreadsheet would calculate gets a `'`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        value = _encode(value)
    return f"'{value}" if value[:1] in _FORMULA else value


class _Counted:
    """Lines as they go by: how many, the first and the last."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines
        self.count = 0
        self.first: Line | None = None
        self.last: Line | None = None

    def __iter__(self) -> Iterator[Line]:
        line = None
        for line in self._lines:
            if self.count == 0:
                self.first = line
            self.count += 1
            yield line
        self.last = line


def _id_of(line: Line | None) -> str:
    return str(json.loads(line.record)["id"]) if line else ""


def _jsonl(lines: Iterable[Line]) -> Iterator[bytes]:
    block, length = list[bytes](), 0
    for line in lines:
        block.append(line.record.encode())
        length += len(block[-1])
        if length > _BLOCK_BYTES:
            yield b"\n".join((*block, b""))
            block, length = [], 0
    if block:
        yield b"\n".join((*block, b""))


def _csv(lines: Iterable[Line], language: Language) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    text.write(_BOM)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(headings(COLUMNS, language))
    local = _LocalTime()
    for line in lines:
        record = json.loads(line.record)
        record["row"] = line.row
        record["time_local"] = local(record["time"])
        writer.writerow([
            value
            if value.__class__ is str and value[:1] not in _FORMULA
            else cell(value)
            for value in map(record.get, COLUMNS, _EMPTY)
        ])
        if text.tell() > _BLOCK_BYTES:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


class _LocalTime:
    """UTC as written in records, as this machine's wall clock shows it.

    To the millisecond, as spreadsheets read it: `2026-01-31 18:05:07.123`. Zones differ
    from UTC by whole minutes, so one look a minute is enough.
    """

    def __init__(self) -> None:
        self._known = ("", "")

    def __call__(self, time: str) -> str:
        minute = time[:_MINUTE]
        if minute != self._known[0]:
            moment = datetime.fromisoformat(f"{minute}Z").astimezone()
            self._known = minute, moment.strftime("%Y-%m-%d %H:%M")
        return self._known[1] + time[_MINUTE:-4]
