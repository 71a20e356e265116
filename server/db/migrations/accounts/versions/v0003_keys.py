"""Devices: owner, note, use, pending keys, own authorities; TOTP: recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.String(length=26)


def upgrade() -> None:
    with op.batch_alter_table("device") as device:
        device.add_column(_text("owner"))
        device.add_column(_text("note"))
        device.add_column(
            sa.Column(
                "weak_key", sa.Boolean(), nullable=False, server_default=sa.false()
            )
        )
    with op.batch_alter_table("totp") as totp:
        totp.add_column(sa.Column("confirmed_us", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("unlock_window") as window:
        window.add_column(_moment("opened_us"))
        window.add_column(_text("protocol"))
    _device_use()
    _pending_key()
    _device_ca()
    _recovery_code()


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _moment(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _device_use() -> None:
    op.create_table(
        "device_use",
        sa.Column("device_id", _ID, nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        *_seen("first"),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        *_seen("last"),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name="fk_device_use_device_id"
        ),
        sa.PrimaryKeyConstraint("device_id", name="pk_device_use"),
    )


def _seen(when: str) -> "list[sa.Column[str]]":
    return [
        sa.Column(f"{when}_{what}", sa.Text(), nullable=False)
        for what in ("line", "source", "protocol", "client")
    ]


def _pending_key() -> None:
    op.create_table(
        "pending_key",
        sa.Column("login_id", _ID, nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("ssh_key", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("proved", sa.Boolean(), nullable=False),
        sa.Column("weak_key", sa.Boolean(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["login_id"], ["login.id"], name="fk_pending_key_login_id"
        ),
        sa.PrimaryKeyConstraint("login_id", "key_sha256", name="pk_pending_key"),
    )


def _device_ca() -> None:
    op.create_table(
        "device_ca",
        sa.Column("id", _ID, nullable=False),
        sa.Column("contract_id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_device_ca_contract_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_device_ca"),
    )
    op.create_index(
        "ux_device_ca_name",
        "device_ca",
        ["contract_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _recovery_code() -> None:
    op.create_table(
        "recovery_code",
        sa.Column("login_id", _ID, nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("used_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["login_id"], ["login.id"], name="fk_recovery_code_login_id"
        ),
        sa.PrimaryKeyConstraint("login_id", "code_hash", name="pk_recovery_code"),
    )
