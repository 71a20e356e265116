"""A narrower row: paths stand in `paths` alone, the hash in the record alone.

Indexes of outcomes leave out `done`, which nearly all are. The index is made anew from
the journals, as it was by revision 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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
    "outcome": ("outcome <> 'done'", "outcome, time_us"),
    "session": ("session", "session, time_us"),
    "act": ("act", "act, time_us"),
    "sha256": ("sha256", "sha256, time_us"),
    "path": ("path_id", "path_id, time_us"),
    "target": ("target_id", "target_id, time_us"),
    "targets": ("target_id", "time_us, target_id, login, operation"),
    "login_operation": ("login", "login, operation, time_us"),
    "login_outcome": ("outcome <> 'done'", "login, outcome, time_us"),
    "login_path": ("path_id", "login, path_id, time_us"),
    "path_operation": ("path_id", "path_id, operation, time_us"),
}


def upgrade() -> None:
    op.execute("DROP VIEW audit_acts")
    op.drop_table("records")
    op.execute("DELETE FROM streams")
    _records()
    for name, (sparse, columns) in _INDEXES.items():
        filled = sparse if " " in sparse or not sparse else f"{sparse} IS NOT NULL"
        condition = sa.text(filled) if filled else None
        op.create_index(
            f"ix_records_{name}",
            "records",
            columns.split(", "),
            sqlite_where=condition,
            postgresql_where=condition,
        )
    sqlite = op.get_bind().dialect.name == "sqlite"
    _views(_SQLITE if sqlite else _POSTGRESQL)


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
        sa.Column("target_id", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("record", sa.Text(), nullable=False),
        sa.UniqueConstraint("stream", "seq", name="uq_records_stream_seq"),
        sqlite_autoincrement=True,
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
                p.path, t.path AS target,
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
            LEFT JOIN paths AS p ON p.id = o.path_id
            LEFT JOIN paths AS t ON t.id = o.target_id
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
            LEFT JOIN paths AS p ON p.id = i.path_id
            LEFT JOIN paths AS t ON t.id = i.target_id
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
