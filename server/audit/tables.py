"""The audit DB: an index over the journals that can always be made again.

`records.record` is the canonical line as stored, so the DB alone can be verified; the
other columns only find it. Names are copied, never referenced: rows outlive accounts.
"""

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple, cast

import sqlalchemy as sa

from server.audit.hashchain import Link
from server.model.clock import parse_rfc3339

KEY_CHARACTERS_MAX: Final = 255
"""Indexed text is cut here (PostgreSQL: 2,704 bytes an entry); the record is not."""

_MAPPED_BITS: Final = 96
"""Of an IPv6 address before the IPv4 address in it."""

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
    sa.Column("source_key", _Key),
    sa.Column("protocol", sa.Text()),
    sa.Column("session", sa.Text()),
    sa.Column("path_id", sa.BigInteger()),
    sa.Column("target_id", sa.BigInteger()),
    sa.Column("sha256", sa.Text()),
    sa.Column("record", sa.Text(), nullable=False),
    sa.UniqueConstraint("stream", "seq", name="uq_records_stream_seq"),
    sqlite_autoincrement=True,
)


class Keyed(NamedTuple):
    """An index that leads, for one value of each of `equal`, through the time."""

    name: str
    equal: tuple[str, ...]
    rest: tuple[str, ...] = ("time_us",)
    sparse: str = ""
    """The column that may be empty: only rows where it is not are in the index."""
    without: str = ""
    """Nor those where it has this value, which nearly all have: along the time they
    are found as fast."""

    @property
    def leads_past(self) -> str:
        """The column without which rows of `equal` are left out; mostly none."""
        return "" if self.sparse in self.equal else self.sparse


KEYED: Final = (
    # With `path_id` behind: whether a path is meant is seen without its row.
    Keyed("ix_records_time", (), ("time_us", "path_id")),
    Keyed("ix_records_login", ("login",), ("time_us", "path_id"), "login"),
    Keyed("ix_records_operation", ("operation",), ("time_us", "path_id")),
    Keyed("ix_records_contract", ("contract",), sparse="contract"),
    Keyed("ix_records_device", ("device",), sparse="device"),
    Keyed("ix_records_device_name", ("device_name",), sparse="device_name"),
    Keyed("ix_records_line", ("line",), sparse="line"),
    Keyed("ix_records_source", ("source_key",), sparse="source_key"),
    Keyed("ix_records_protocol", ("protocol",), sparse="protocol"),
    Keyed("ix_records_outcome", ("outcome",), sparse="outcome", without="done"),
    Keyed("ix_records_session", ("session",), sparse="session"),
    Keyed("ix_records_act", ("act",), sparse="act"),
    Keyed("ix_records_sha256", ("sha256",), sparse="sha256"),
    Keyed("ix_records_path", ("path_id",), sparse="path_id"),
    Keyed("ix_records_target", ("target_id",), sparse="target_id"),
    Keyed(
        "ix_records_targets",
        (),
        ("time_us", "target_id", "login", "operation"),
        "target_id",
    ),
    Keyed(
        "ix_records_login_targets", ("login",), ("time_us", "target_id"), "target_id"
    ),
    Keyed("ix_records_login_operation", ("login", "operation"), sparse="login"),
    Keyed(
        "ix_records_login_outcome",
        ("login", "outcome"),
        sparse="outcome",
        without="done",
    ),
    Keyed("ix_records_login_path", ("login", "path_id"), sparse="path_id"),
    Keyed("ix_records_path_operation", ("path_id", "operation"), sparse="path_id"),
)
"""Every filter alone and the pairs that are asked for most, newest first."""


def within(keyed: Keyed) -> sa.ColumnElement[bool] | None:
    """What must hold of a row that an index has; None where it has all."""
    if keyed.without:
        return RECORDS.c[keyed.sparse] != sa.literal_column(f"'{keyed.without}'")
    return RECORDS.c[keyed.sparse].is_not(None) if keyed.sparse else None


PATHS: Final = sa.Table(
    "paths",
    METADATA,
    sa.Column("id", _Row, primary_key=True, autoincrement=False),
    sa.Column("key", _Key, nullable=False),
    sa.Column("path", sa.Text(), nullable=False),
    sa.Column("folded", sa.Text(), nullable=False),
)
"""Every path once, as searches read it; `server.audit.paths` says how."""

UPKEEP: Final = sa.Table(
    "upkeep",
    METADATA,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("value", sa.BigInteger(), nullable=False),
)
"""Counters by name; `paths` goes up when paths were removed."""

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


def declare_indexes() -> None:
    """Tell `METADATA` of the indexes, for comparing it with a DB.

    Not at import: SQLAlchemy loads every dialect with all its drivers to look at the
    conditions, several MiB that no reader needs.
    """
    for keyed in KEYED:
        filled = within(keyed)
        sa.Index(
            keyed.name,
            *(RECORDS.c[name] for name in keyed.equal + keyed.rest),
            sqlite_where=filled,
            postgresql_where=filled,
        )
    sa.Index("ix_paths_key", PATHS.c.key)


ROW_COLUMNS: Final = (
    # Fields whose values this product makes: short, no NUL.
    "act",
    "phase",
    "operation",
    "outcome",
    "device",
    "source_ip",
    "protocol",
    "session",
    "sha256",
    # Names that people choose; a failed login may hold anything.
    "contract",
    "login",
    "device_name",
    "line",
    "stream",
    "seq",
    "time_us",
    "source_key",
    "record",
    # Stored once for all records, in `paths`.
    "path",
    "target",
)
"""What a record makes of its row, in the order of `row_of`."""

OWN_COLUMNS: Final = ROW_COLUMNS[:-2]
"""Those that stand in `records` as they are."""

STORED_COLUMNS: Final = (*OWN_COLUMNS, "path_id", "target_id")
"""What is inserted."""

TIME_US: Final = ROW_COLUMNS.index("time_us")

Row = tuple[str | int | None, ...]


def row_of(link: Link, stream: str) -> Row:
    """The row that a journal's record becomes."""
    get = cast("dict[str, str | None]", link.fields).get
    return (
        get("act"),
        get("phase"),
        get("operation"),
        get("outcome"),
        get("device"),
        get("source_ip"),
        get("protocol"),
        get("session"),
        get("sha256"),
        key_of(get("contract")),
        key_of(get("login")),
        key_of(get("device_name")),
        key_of(get("line")),
        stream,
        link.seq,
        parse_rfc3339(link.fields["time"]),
        source_key(get("source_ip")),
        link.line[:-1].decode(),
        text_of(get("path")),
        text_of(get("target")),
    )


def key_of(value: object) -> str | None:
    """Text as an indexed column holds it: cut, and without NUL (PostgreSQL)."""
    if not isinstance(value, str) or not value:
        return None
    if len(value) <= KEY_CHARACTERS_MAX and "\0" not in value:
        return value
    return value[:KEY_CHARACTERS_MAX].replace("\0", "\ufffd")


def text_of(value: str | None) -> str | None:
    """Text as a column holds it: whole, but without NUL (PostgreSQL)."""
    return value.replace("\0", "\ufffd") if value else None


@lru_cache(maxsize=4096)
def source_key(address: str | None) -> str | None:
    """An address as text that sorts as its number does, so that networks are ranges.

    `4` and 8 digits, or `6` and 32, hexadecimal; an IPv4 address in IPv6's clothes
    is IPv4. None when it is no address.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return f"{parsed.version}{parsed.packed.hex()}"


def source_range(source: str) -> tuple[str, str]:
    """The first and the last key of an address or a network.

    Raises:
        ValueError: It is neither.
    """
    network = ipaddress.ip_network(source, strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped:
        network = ipaddress.ip_network(
            f"{mapped}/{max(network.prefixlen - _MAPPED_BITS, 0)}", strict=False
        )
    first, last = (
        f"{network.version}{address.packed.hex()}"
        for address in (network.network_address, network.broadcast_address)
    )
    return first, last
