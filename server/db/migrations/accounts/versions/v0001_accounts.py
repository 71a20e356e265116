"""The accounts as of release 0.1."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _applied_acts()
    _contract()
    _revision()
    _sessions()
    _workers()
    _folder()
    _grp()
    _line()
    _login()
    _device()
    _folder_grant()
    _membership()
    _totp()
    _unlock_window()


def _applied_acts() -> None:
    op.create_table(
        "applied_acts",
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("applied_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("act", name="pk_applied_acts"),
    )


def _contract() -> None:
    op.create_table(
        "contract",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("device_ca", sa.Text(), nullable=False),
        sa.Column("purged_us", sa.BigInteger(), nullable=True),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_contract"),
    )
    op.create_index(
        "ux_contract_name",
        "contract",
        ["name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _revision() -> None:
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.execute("INSERT INTO revision (id, number) VALUES (1, 1)")


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("login_id", sa.String(length=26), nullable=False),
        sa.Column("device_id", sa.String(length=26), nullable=False),
        sa.Column("line_id", sa.String(length=26), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("source_ip", sa.Text(), nullable=False),
        sa.Column("source_port", sa.Integer(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_rule", sa.Text(), nullable=True),
        sa.Column("cut_asked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_device_id", "sessions", ["device_id"], unique=False)
    op.create_index("ix_sessions_ended_us", "sessions", ["ended_us"], unique=False)
    op.create_index("ix_sessions_line_id", "sessions", ["line_id"], unique=False)
    op.create_index("ix_sessions_login_id", "sessions", ["login_id"], unique=False)


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "slot", name="pk_workers"),
    )


def _folder() -> None:
    op.create_table(
        "folder",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_folder_contract_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_folder"),
    )
    op.create_index(
        "ux_folder_name",
        "folder",
        ["contract_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _grp() -> None:
    op.create_table(
        "grp",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_grp_contract_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_grp"),
    )
    op.create_index(
        "ux_grp_name",
        "grp",
        ["contract_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _line() -> None:
    op.create_table(
        "line",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("ports", sa.Text(), nullable=False),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("crypto", sa.Text(), nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_line_contract_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_line"),
    )
    op.create_index(
        "ux_line_name",
        "line",
        ["contract_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _login() -> None:
    op.create_table(
        "login",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("factors", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("totp_required", sa.Boolean(), nullable=False),
        sa.Column("credentials_us", sa.BigInteger(), nullable=False),
        sa.Column("enrolment_hash", sa.Text(), nullable=True),
        sa.Column("enrolment_until_us", sa.BigInteger(), nullable=True),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_login_contract_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_login"),
    )
    op.create_index(
        "ux_login_name",
        "login",
        ["contract_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("contract_id", sa.String(length=26), nullable=False),
        sa.Column("login_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ssh_key", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=True),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=True),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name="fk_device_contract_id"
        ),
        sa.ForeignKeyConstraint(["login_id"], ["login.id"], name="fk_device_login_id"),
        sa.PrimaryKeyConstraint("id", name="pk_device"),
    )
    op.create_index(
        "ux_device_key",
        "device",
        ["contract_id", "key_sha256"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL AND key_sha256 != ''"),
        postgresql_where=sa.text("removed_us IS NULL AND key_sha256 != ''"),
    )
    op.create_index(
        "ux_device_name",
        "device",
        ["login_id", "name"],
        unique=True,
        sqlite_where=sa.text("removed_us IS NULL"),
        postgresql_where=sa.text("removed_us IS NULL"),
    )


def _folder_grant() -> None:
    op.create_table(
        "folder_grant",
        sa.Column("folder_id", sa.String(length=26), nullable=False),
        sa.Column("below", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.String(length=26), nullable=False),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folder.id"], name="fk_folder_grant_folder_id"
        ),
        sa.PrimaryKeyConstraint(
            "folder_id", "below", "subject_id", name="pk_folder_grant"
        ),
    )


def _membership() -> None:
    op.create_table(
        "membership",
        sa.Column("group_id", sa.String(length=26), nullable=False),
        sa.Column("login_id", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["grp.id"], name="fk_membership_group_id"
        ),
        sa.ForeignKeyConstraint(
            ["login_id"], ["login.id"], name="fk_membership_login_id"
        ),
        sa.PrimaryKeyConstraint("group_id", "login_id", name="pk_membership"),
    )


def _totp() -> None:
    op.create_table(
        "totp",
        sa.Column("login_id", sa.String(length=26), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["login_id"], ["login.id"], name="fk_totp_login_id"),
        sa.PrimaryKeyConstraint("login_id", name="pk_totp"),
    )


def _unlock_window() -> None:
    op.create_table(
        "unlock_window",
        sa.Column("login_id", sa.String(length=26), nullable=False),
        sa.Column("device_id", sa.String(length=26), nullable=False),
        sa.Column("line_id", sa.String(length=26), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name="fk_unlock_window_device_id"
        ),
        sa.ForeignKeyConstraint(
            ["line_id"], ["line.id"], name="fk_unlock_window_line_id"
        ),
        sa.ForeignKeyConstraint(
            ["login_id"], ["login.id"], name="fk_unlock_window_login_id"
        ),
        sa.PrimaryKeyConstraint(
            "login_id", "device_id", "line_id", name="pk_unlock_window"
        ),
    )
