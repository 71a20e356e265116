"""Lines with a beginning, a comment and MAP-E parameters; bans of sources."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("line") as line:
        line.add_column(sa.Column("valid_from_us", sa.BigInteger(), nullable=True))
        line.add_column(
            sa.Column("comment", sa.Text(), nullable=False, server_default="")
        )
        line.add_column(
            sa.Column("map_e", sa.Text(), nullable=False, server_default="")
        )
    op.create_table(
        "ban",
        sa.Column("line_id", sa.String(length=26), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("line_id", "source", name="pk_ban"),
    )
