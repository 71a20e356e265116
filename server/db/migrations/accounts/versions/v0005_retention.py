"""Contracts: how long their records are kept, and whether they are held."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    days = sa.Column("retention_days", sa.Integer(), nullable=False, server_default="0")
    with op.batch_alter_table("contract") as contract:
        contract.add_column(days)
        contract.add_column(
            sa.Column("hold", sa.Text(), nullable=False, server_default="")
        )
        contract.add_column(sa.Column("hold_us", sa.BigInteger(), nullable=True))
