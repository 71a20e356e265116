"""Folders: case and files of macOS; devices: the character set of their names."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("folder") as folder:
        folder.add_column(_word("case_rule", "distinct"))
        folder.add_column(_word("mac_files", "keep"))
    with op.batch_alter_table("device") as device:
        device.add_column(_word("charset", "utf-8"))


def _word(name: str, default: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False, server_default=default)
