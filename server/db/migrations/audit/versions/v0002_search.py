"""Searching ten million records: paths once each, networks, pairs; views to read.

The index is made anew from the journals: its rows go, and where each stream stood goes
with them, so the recorder begins with the first record that is kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_INDEXES = {
    "time": ("", "time_us, path_id"),
    "login": ("login", "login, time_us, path_id"),
    "operation": ("", "operation, time_us, path_id"),
    "contract": ("contract", "contract, time_us"),
    "device": ("device", "device, time_us"),
    "device_name": ("device_name", "device_name, time_us"),
    "line": ("line", "line, time_us"),
    "source": ("source_key", "source_key, time_us"),
    "protocol": ("protocol", "protocol, time_us"),
    "outcome": ("outcome", "outcome, time_us"),
    "session": ("session", "session, time_us"),
    "act": ("act", "act, time_us"),
    "sha256": ("sha256", "sha256, time_us"),
    "path": ("path_id", "path_id, time_us"),
    "target": ("target_id", "target_id, time_us"),
    "targets": ("target_id", "time_us, target_id, login, operation"),
    "login_operation": ("login", "login, operation, time_us"),
    "login_outcome": ("outcome", "login, outcome, time_us"),
    "login_path": ("path_id", "login, path_id, time_us"),
    "path_operation": ("path_id", "path_id, operation, time_us"),
}


def upgrade() -> None:
    op.drop_table("records")
    op.execute("DELETE FROM streams")
    _records()
    for name, (sparse, columns) in _INDEXES.items():
        filled = sa.text(f"{sparse} IS NOT NULL") if sparse else None
        op.create_index(
            f"ix_records_{name}",
            "records",
            columns.split(", "),
            sqlite_where=filled,
            postgresql_where=filled,
        )
    _paths()
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_search()
        _views(_SQLITE)
    else:
        _postgresql_search()
        _views(_POSTGRESQL)


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("row", _NUMBER, primary_key=True, autoincrement=True),
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
        sa.Column("source_key", _KEY),
        sa.Column("protocol", sa.Text()),
        sa.Column("session", sa.Text()),
        sa.Column("path_id", sa.BigInteger()),
        sa.Column("path", sa.Text()),
        sa.Column("target_id", sa.BigInteger()),
        sa.Column("target", sa.Text()),
        sa.Column("sha256", sa.Text()),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.UniqueConstraint("stream", "seq", name="uq_records_stream_seq"),
        sqlite_autoincrement=True,
    )


def _paths() -> None:
    op.create_table(
        "paths",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
    )
    op.create_index("ix_paths_key", "paths", ["key"])
    op.create_table(
        "upkeep",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO upkeep (name, value) VALUES ('paths', 0)")


def _sqlite_search() -> None:
    op.execute(
        "CREATE VIRTUAL TABLE path_grams USING fts5(folded, content='', detail=none, "
        "tokenize='trigram case_sensitive 1')"
    )
    op.execute("CREATE VIRTUAL TABLE path_terms USING fts5vocab(path_grams, row)")


def _postgresql_search() -> None:
    """With pg_trgm where it is installed and may be; a pass over `paths` without."""
    op.execute(
        """
        DO $$
        BEGIN
            CREATE EXTENSION IF NOT EXISTS pg_trgm;
            CREATE INDEX ix_paths_folded ON paths USING gin (folded gin_trgm_ops);
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'substring search goes without pg_trgm: %', SQLERRM;
        END $$
        """
    )


_SQLITE = {
    "text": "json_extract({row}.record, '$.{name}')",
    "number": "json_extract({row}.record, '$.{name}')",
    "utc": "strftime('%Y-%m-%d %H:%M:%f', {us} / 1000000.0, 'unixepoch')",
    "local": (
        "strftime('%Y-%m-%d %H:%M:%f', {us} / 1000000.0, 'unixepoch', 'localtime')"
    ),
}
_POSTGRESQL = {
    "text": "({row}.record::json ->> '{name}')",
    "number": "({row}.record::json ->> '{name}')::bigint",
    "utc": "to_timestamp({us} / 1000000.0) AT TIME ZONE 'UTC'",
    "local": "to_timestamp({us} / 1000000.0) AT TIME ZONE current_setting('TimeZone')",
}


def _views(spelt: dict[str, str]) -> None:
    def text(name: str, row: str = "o") -> str:
        return spelt["text"].format(row=row, name=name)

    def number(name: str, row: str = "o") -> str:
        return spelt["number"].format(row=row, name=name)

    def select(*, row: str, begun: str, ended: str, outcome: str, source: str) -> str:
        return f"""
            SELECT {row}."row" AS "row", {row}.stream, {row}.seq, {row}.act,
                {spelt["utc"].format(us=begun)} AS begun_utc,
                {spelt["local"].format(us=begun)} AS begun_local,
                {spelt["utc"].format(us=ended)} AS ended_utc,
                {spelt["local"].format(us=ended)} AS ended_local,
                {row}.operation, {outcome} AS outcome, {text("reason", row)} AS reason,
                {text("stage", row)} AS stage, {text("rule", row)} AS rule,
                {row}.contract, {row}.login, {row}.device_name, {row}.line,
                {row}.source_ip, {row}.protocol, {row}.session,
                {row}.path, {row}.target,
                {number("size", row)} AS size_bytes,
                {number("bytes", row)} AS moved_bytes, {row}.sha256,
                {text("recovered", row)} AS recovered,
                {begun} AS begun_us, {ended} AS ended_us
            {source}
        """

    ended = select(
        row="o",
        begun="coalesce(i.time_us, o.time_us)",
        ended="o.time_us",
        outcome="o.outcome",
        source="""
            FROM records AS o LEFT JOIN records AS i
                ON o.phase = 'outcome' AND i.act = o.act AND i.phase = 'intent'
            WHERE o.phase IN ('outcome', 'event')
        """,
    )
    running = select(
        row="i",
        begun="i.time_us",
        ended="NULL",
        outcome="'open'",
        source="""
            FROM records AS i
            WHERE i.phase = 'intent' AND NOT EXISTS (
                SELECT 1 FROM records AS o
                WHERE o.act = i.act AND o.phase = 'outcome')
        """,
    )
    null = "NULL" if spelt is _SQLITE else "NULL::bigint"
    running = running.replace("NULL /", f"{null} /").replace(
        "NULL AS ended_us", f"{null} AS ended_us"
    )
    op.execute(f"CREATE VIEW audit_acts AS {ended} UNION ALL {running}")
