"""The audit index as of release 0.1."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _records()
    _indexes()
    op.create_table(
        "streams",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("position_bytes", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stream"),
    )


def _records() -> None:
    key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "records",
        sa.Column("row", number, primary_key=True, autoincrement=True),
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
        sa.Column("path_key", key),
        sa.Column("path", sa.Text()),
        sa.Column("target_key", key),
        sa.Column("target", sa.Text()),
        sa.Column("sha256", sa.Text()),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.UniqueConstraint("stream", "seq", name="uq_records_stream_seq"),
        sqlite_autoincrement=True,
    )


def _indexes() -> None:
    op.create_index("ix_records_time", "records", ["time_us"])
    for name in (
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
    ):
        op.create_index(f"ix_records_{name}", "records", [name, "time_us"])
    for name in ("act", "target_key", "sha256"):
        filled = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_records_{name}",
            "records",
            [name],
            sqlite_where=filled,
            postgresql_where=filled,
        )
