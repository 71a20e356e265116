"""CSV as spreadsheets take it: UTF-8 with BOM, RFC 4180, no cell is a formula."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final

from server.model.event import Fields, Json

COLUMNS: Final = ("row", *Fields.__annotations__)

_BOM: Final = "\ufeff"
_FORMULA: Final = tuple("=+-@\t\r\n\0") + tuple("＝＋－＠")  # noqa: RUF001 - the full-width forms are meant
_FLUSH_CHARACTERS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to."""

    count: int
    bytes: int
    sha256: str


def cell(value: Json) -> str:
    """A value as a cell's text; what a spreadsheet would calculate gets a `'`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        value = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )
    return f"'{value}" if value.startswith(_FORMULA) else value


def write_csv(file: BinaryIO, rows: Iterable[Mapping[str, Json]]) -> Exported:
    """Write a header and all rows.

    Returns:
        How many rows and bytes, and the SHA-256 of every byte written.
    """
    digest, count, length = sha256(), 0, 0
    text = io.StringIO(newline="")
    text.write(_BOM)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)

    def flush() -> int:
        block = text.getvalue().encode()
        text.seek(0)
        text.truncate()
        digest.update(block)
        file.write(block)
        return len(block)

    for row in rows:
        writer.writerow([cell(row.get(name)) for name in COLUMNS])
        count += 1
        if text.tell() > _FLUSH_CHARACTERS:
            length += flush()
    length += flush()
    return Exported(count, length, digest.hexdigest())
