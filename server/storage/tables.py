"""The store's own book-keeping in its database: tables, and nothing that decides.

A resource is named by its root and the path inside it, never by a path of the disk. It
takes the database of the accounts on PostgreSQL, and a file of its own with SQLite, so
that a lock taken does not stand in a login's way.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

_PATH: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared byte by byte, so that what lies below a folder is one range."""


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


FILE_LOCK: Final = Table(
    "file_lock",
    METADATA,
    Column("token", Text, primary_key=True),
    _text("contract_id"),
    _text("root"),
    _text("inside"),
    _text("path"),
    _text("scope"),
    Column("deep", Boolean, nullable=False),
    _text("owner"),
    _text("contract"),
    _text("login_id"),
    _text("login"),
    _text("device_id"),
    _text("device"),
    _text("line_id"),
    _text("protocol"),
    Column("taken_us", BigInteger, nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Index(None, "contract_id"),
)
"""Names are copies, so that a lock can be shown whatever became of its holder."""

PROPERTY: Final = Table(
    "property",
    METADATA,
    Column("root", _PATH, primary_key=True),
    Column("folder", _PATH, primary_key=True),
    Column("file", _PATH, primary_key=True),
    Column("name", Text, primary_key=True),
    _text("value"),
)
"""Dead properties. `folder` ends in `/`, or is empty for what lies in the root itself;
`file` is the name in it; the root itself has neither."""
