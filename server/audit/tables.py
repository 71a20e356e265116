"""The audit DB: an index over the journals that can always be made again.

`records.record` is the canonical line as stored, so the DB alone can be verified; the
other columns only find it. Names are copied, never referenced: rows outlive accounts.
"""

from typing import Final, cast

import sqlalchemy as sa

from server.audit.hashchain import Link
from server.model.clock import parse_rfc3339

KEY_CHARACTERS_MAX: Final = 255
"""Indexed text is cut here (PostgreSQL: 2,704 bytes an entry); the record is not."""

CHANNEL: Final = "kagikura_records"
"""Where PostgreSQL's readers are notified of each batch."""

METADATA: Final = sa.MetaData()

_Key: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_Row: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RECORDS: Final = sa.Table(
    "records",
    METADATA,
    sa.Column("row", _Row, primary_key=True, autoincrement=True),
    sa.Column("stream", sa.Text(), nullable=False),
    sa.Column("seq", sa.BigInteger(), nullable=False),
    sa.Column("time_us", sa.BigInteger(), nullable=False),
    sa.Column("act", sa.Text()),
    sa.Column("phase", sa.Text(), nullable=False),
    sa.Column("operation", sa.Text(), nullable=False),
    sa.Column("outcome", sa.Text()),
    sa.Column("contract", sa.Text()),
    sa.Column("login", sa.Text()),
    sa.Column("device", sa.Text()),
    sa.Column("device_name", sa.Text()),
    sa.Column("line", sa.Text()),
    sa.Column("source_ip", sa.Text()),
    sa.Column("protocol", sa.Text()),
    sa.Column("session", sa.Text()),
    sa.Column("path_key", _Key),
    sa.Column("path", sa.Text()),
    sa.Column("target_key", _Key),
    sa.Column("target", sa.Text()),
    sa.Column("sha256", sa.Text()),
    sa.Column("hash", sa.Text(), nullable=False),
    sa.Column("record", sa.Text(), nullable=False),
    sa.UniqueConstraint("stream", "seq", name="uq_records_stream_seq"),
    sqlite_autoincrement=True,
)

TIMED: Final = (
    "contract",
    "login",
    "device",
    "device_name",
    "line",
    "source_ip",
    "protocol",
    "operation",
    "outcome",
    "session",
    "path_key",
)
"""Searched together with the time, newest first."""

SPARSE: Final = ("act", "target_key", "sha256")
"""Found by value alone; most rows have none."""

sa.Index("ix_records_time", RECORDS.c.time_us)
for _name in TIMED:
    sa.Index(f"ix_records_{_name}", RECORDS.c[_name], RECORDS.c.time_us)
for _name in SPARSE:
    sa.Index(
        f"ix_records_{_name}",
        RECORDS.c[_name],
        sqlite_where=RECORDS.c[_name].is_not(None),
        postgresql_where=RECORDS.c[_name].is_not(None),
    )

STREAMS: Final = sa.Table(
    "streams",
    METADATA,
    sa.Column("stream", sa.Text(), primary_key=True),
    sa.Column("seq", sa.BigInteger(), nullable=False),
    sa.Column("segment", sa.BigInteger(), nullable=False),
    sa.Column("position_bytes", sa.BigInteger(), nullable=False),
    sa.Column("hash", sa.Text(), nullable=False),
)
"""How far each journal is in `records`, changed in the same transaction."""

_OURS: Final = (
    "act",
    "phase",
    "operation",
    "outcome",
    "device",
    "source_ip",
    "protocol",
    "session",
    "sha256",
)
"""Fields whose values this product makes: short, no NUL."""

_THEIRS: Final = ("contract", "login", "device_name", "line")
"""Names that people choose; a failed login may hold anything."""

ROW_COLUMNS: Final = (
    *_OURS,
    *_THEIRS,
    "stream",
    "seq",
    "time_us",
    "path_key",
    "path",
    "target_key",
    "target",
    "hash",
    "record",
)
"""What a row is made of, in the order of `row_of`."""

TIME_US: Final = ROW_COLUMNS.index("time_us")

Row = tuple[str | int | None, ...]


def insert_text(parameter: str) -> str:
    """The statement that adds rows and leaves alone those that are there.

    Args:
        parameter: The driver's placeholder.
    """
    names = ", ".join(ROW_COLUMNS)
    values = ", ".join(parameter for _ in ROW_COLUMNS)
    return (
        f"INSERT INTO records ({names}) VALUES ({values}) "  # noqa: S608 - constants
        "ON CONFLICT (stream, seq) DO NOTHING"
    )


def row_of(link: Link, stream: str) -> Row:
    """The row that a journal's record becomes."""
    fields = link.fields
    path, target = fields.get("path"), fields.get("target")
    return (
        *[cast("str | None", fields.get(name)) for name in _OURS],
        *[key_of(fields.get(name)) for name in _THEIRS],
        stream,
        link.seq,
        parse_rfc3339(fields["time"]),
        key_of(path),
        text_of(path),
        key_of(target),
        text_of(target),
        link.hash,
        link.line[:-1].decode(),
    )


def key_of(value: object) -> str | None:
    """Text as an indexed column holds it: cut, and without NUL (PostgreSQL)."""
    if not isinstance(value, str) or not value:
        return None
    return value[:KEY_CHARACTERS_MAX].replace("\0", "\ufffd")


def text_of(value: str | None) -> str | None:
    """Text as a column holds it: whole, but without NUL (PostgreSQL)."""
    return value.replace("\0", "\ufffd") if value else None
