"""Quotas of contracts, logins and shared folders: bytes, files; none is no limit."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("contract", "login", "folder"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
            table.add_column(sa.Column("quota_files", sa.BigInteger(), nullable=True))
