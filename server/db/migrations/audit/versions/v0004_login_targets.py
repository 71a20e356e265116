"""From a login through its renames and copies, by where they led.

What is there stays: an index more is made of it, nothing is recorded anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    filled = sa.text("target_id IS NOT NULL")
    op.create_index(
        "ix_records_login_targets",
        "records",
        ["login", "time_us", "target_id"],
        sqlite_where=filled,
        postgresql_where=filled,
    )
