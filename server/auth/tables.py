"""The accounts database: its tables, and nothing that decides.

A row that an administrator removes stays as a tombstone (`removed_us`), so that an id
is never used twice and a folder on the disk never meets a stranger.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

_ID_LENGTH: Final = 26


def _id() -> Column[str]:
    return Column("id", String(_ID_LENGTH), primary_key=True)


def _contract_id() -> Column[str]:
    return Column(
        "contract_id", String(_ID_LENGTH), ForeignKey("contract.id"), nullable=False
    )


def _life() -> tuple[Column[int], Column[int | None]]:
    return (
        Column("added_us", BigInteger, nullable=False),
        Column("removed_us", BigInteger, nullable=True),
    )


def _seen(when: str) -> list[Column[str]]:
    return [
        Column(f"{when}_{what}", Text, nullable=False)
        for what in ("line", "source", "protocol", "client")
    ]


def _quota() -> tuple[Column[int | None], Column[int | None]]:
    return (
        Column("quota_bytes", BigInteger, nullable=True),
        Column("quota_files", BigInteger, nullable=True),
    )


def _named_once(table: Table, *columns: str) -> None:
    """A name is free again once its row is a tombstone."""
    living = table.c.removed_us.is_(None)
    Index(
        f"ux_{table.name}_name",
        *(table.c[column] for column in columns),
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )


REVISION: Final = Table(
    "revision",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

CONTRACT: Final = Table(
    "contract",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("device_ca", Text, nullable=False),
    Column("purged_us", BigInteger, nullable=True),
    Column("retention_days", Integer, nullable=False, server_default="0"),
    Column("hold", Text, nullable=False, server_default=""),
    Column("hold_us", BigInteger, nullable=True),
    *_quota(),
    *_life(),
)
_named_once(CONTRACT, "name")

LINE: Final = Table(
    "line",
    METADATA,
    _id(),
    _contract_id(),
    Column("name", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("ports", Text, nullable=False),
    Column("map_e", Text, nullable=False, server_default=""),
    Column("valid_from_us", BigInteger, nullable=True),
    Column("valid_until_us", BigInteger, nullable=True),
    Column("state", Text, nullable=False),
    Column("crypto", Text, nullable=False),
    Column("comment", Text, nullable=False, server_default=""),
    *_life(),
)
_named_once(LINE, "contract_id", "name")

LOGIN: Final = Table(
    "login",
    METADATA,
    _id(),
    _contract_id(),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("factors", Text, nullable=False),
    Column("password_hash", Text, nullable=True),
    Column("totp_required", Boolean, nullable=False),
    Column("credentials_us", BigInteger, nullable=False),
    Column("enrolment_hash", Text, nullable=True),
    Column("enrolment_until_us", BigInteger, nullable=True),
    *_quota(),
    *_life(),
)
_named_once(LOGIN, "contract_id", "name")

DEVICE: Final = Table(
    "device",
    METADATA,
    _id(),
    _contract_id(),
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("ssh_key", Text, nullable=False),
    Column("key_sha256", Text, nullable=False),
    Column("certificate", Text, nullable=False),
    Column("secret_hash", Text, nullable=True),
    Column("valid_until_us", BigInteger, nullable=True),
    Column("owner", Text, nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    Column("weak_key", Boolean, nullable=False, server_default=false()),
    Column("charset", Text, nullable=False, server_default="utf-8"),
    *_life(),
)
_named_once(DEVICE, "login_id", "name")
_KEYED = DEVICE.c.removed_us.is_(None) & (DEVICE.c.key_sha256 != "")
Index(
    "ux_device_key",
    DEVICE.c.contract_id,
    DEVICE.c.key_sha256,
    unique=True,
    sqlite_where=_KEYED,
    postgresql_where=_KEYED,
)

DEVICE_USE: Final = Table(
    "device_use",
    METADATA,
    Column("device_id", String(_ID_LENGTH), ForeignKey("device.id"), primary_key=True),
    Column("first_us", BigInteger, nullable=False),
    *_seen("first"),
    Column("last_us", BigInteger, nullable=False),
    *_seen("last"),
)

PENDING_KEY: Final = Table(
    "pending_key",
    METADATA,
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), primary_key=True),
    Column("key_sha256", Text, primary_key=True),
    Column("ssh_key", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("proved", Boolean, nullable=False),
    Column("weak_key", Boolean, nullable=False),
    Column("line", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
)

DEVICE_CA: Final = Table(
    "device_ca",
    METADATA,
    _id(),
    _contract_id(),
    Column("name", Text, nullable=False),
    Column("certificate", Text, nullable=False),
    *_life(),
)
_named_once(DEVICE_CA, "contract_id", "name")

FOLDER: Final = Table(
    "folder",
    METADATA,
    _id(),
    _contract_id(),
    Column("name", Text, nullable=False),
    Column("case_rule", Text, nullable=False, server_default="distinct"),
    Column("mac_files", Text, nullable=False, server_default="keep"),
    *_quota(),
    *_life(),
)
_named_once(FOLDER, "contract_id", "name")

GROUP: Final = Table(
    "grp",
    METADATA,
    _id(),
    _contract_id(),
    Column("name", Text, nullable=False),
    *_life(),
)
_named_once(GROUP, "contract_id", "name")

MEMBERSHIP: Final = Table(
    "membership",
    METADATA,
    Column("group_id", String(_ID_LENGTH), ForeignKey("grp.id"), primary_key=True),
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), primary_key=True),
)

GRANT: Final = Table(
    "folder_grant",
    METADATA,
    Column("folder_id", String(_ID_LENGTH), ForeignKey("folder.id"), primary_key=True),
    Column("below", Text, primary_key=True),
    Column("subject_id", String(_ID_LENGTH), primary_key=True),
    Column("rights", Text, nullable=False),
)

TOTP: Final = Table(
    "totp",
    METADATA,
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("confirmed_us", BigInteger, nullable=True),
)

RECOVERY_CODE: Final = Table(
    "recovery_code",
    METADATA,
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), primary_key=True),
    Column("code_hash", Text, primary_key=True),
    Column("used_us", BigInteger, nullable=True),
)

UNLOCK_WINDOW: Final = Table(
    "unlock_window",
    METADATA,
    Column("login_id", String(_ID_LENGTH), ForeignKey("login.id"), primary_key=True),
    Column("device_id", String(_ID_LENGTH), ForeignKey("device.id"), primary_key=True),
    Column("line_id", String(_ID_LENGTH), ForeignKey("line.id"), primary_key=True),
    Column("until_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False, server_default="0"),
    Column("protocol", Text, nullable=False, server_default=""),
)

SESSION: Final = Table(
    "sessions",
    METADATA,
    _id(),
    Column("contract_id", String(_ID_LENGTH), nullable=False),
    Column("login_id", String(_ID_LENGTH), nullable=False, index=True),
    Column("device_id", String(_ID_LENGTH), nullable=False, index=True),
    Column("line_id", String(_ID_LENGTH), nullable=False, index=True),
    Column("contract", Text, nullable=False),
    Column("login", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("source_ip", Text, nullable=False),
    Column("source_port", Integer, nullable=False),
    Column("client", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=True, index=True),
    Column("ended_rule", Text, nullable=True),
    Column("cut_asked_us", BigInteger, nullable=True),
)

WORKER: Final = Table(
    "workers",
    METADATA,
    Column("node", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("heartbeat_us", BigInteger, nullable=False),
)

BAN: Final = Table(
    "ban",
    METADATA,
    Column("line_id", String(_ID_LENGTH), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("level", Integer, nullable=False),
)

APPLIED_ACT: Final = Table(
    "applied_acts",
    METADATA,
    Column("act", Text, primary_key=True),
    Column("applied_us", BigInteger, nullable=False),
)
