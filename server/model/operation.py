"""The closed vocabularies of the trail. Stored values are never renamed."""

from enum import Flag, StrEnum, auto, unique
from typing import Final


@unique
class Operation(StrEnum):
    """What an act does; `admin.<noun>.<verb>` and `system.<what>` are spelt out."""

    LOGIN = "login"
    LOGOUT = "logout"
    READ = "read"
    WRITE = "write"
    LIST = "list"
    STAT = "stat"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"
    SETATTR = "setattr"
    SYMLINK = "symlink"
    """Always refused; the attempt is on record."""
    LOCK = "lock"
    UNLOCK = "unlock"
    DEPOSIT = "deposit"
    RESTORE = "restore"
    TRANSFER_OFFER = "transfer_offer"
    TRANSFER_ACCEPT = "transfer_accept"
    TRANSFER_DECLINE = "transfer_decline"
    TRANSFER_RECALL = "transfer_recall"
    BACKUP = "backup"
    RETENTION = "retention"
    CHECKPOINT = "checkpoint"
    COMMAND = "command"
    """What a person asked for beside files: own devices and sessions; a refused one is
    any other command."""
    AUDIT_SEARCH = "audit_search"
    AUDIT_EXPORT = "audit_export"
    AUDIT_TAIL = "audit_tail"
    AUDIT_VERIFY = "audit_verify"
    ADMIN_INIT = "admin.store.init"
    ADMIN_CONTRACT_ADD = "admin.contract.add"
    ADMIN_CONTRACT_REMOVE = "admin.contract.remove"
    ADMIN_CONTRACT_PURGE = "admin.contract.purge"
    ADMIN_CONTRACT_CHANGE = "admin.contract.change"
    ADMIN_CONTRACT_HOLD = "admin.contract.hold"
    ADMIN_CONTRACT_RELEASE = "admin.contract.release"
    ADMIN_LINE_ADD = "admin.line.add"
    ADMIN_LINE_CHANGE = "admin.line.change"
    ADMIN_LINE_SUSPEND = "admin.line.suspend"
    ADMIN_LINE_RESUME = "admin.line.resume"
    ADMIN_LINE_REMOVE = "admin.line.remove"
    ADMIN_LOGIN_ADD = "admin.login.add"
    ADMIN_LOGIN_CHANGE = "admin.login.change"
    ADMIN_LOGIN_ENROL = "admin.login.enrol"
    ADMIN_LOGIN_ENABLE = "admin.login.enable"
    ADMIN_LOGIN_DISABLE = "admin.login.disable"
    ADMIN_LOGIN_RESET = "admin.login.reset"
    ADMIN_LOGIN_REMOVE = "admin.login.remove"
    ADMIN_LOGIN_UNLOCK_WINDOW = "admin.login.unlock_window"
    ADMIN_LOGIN_REVOKE_WINDOW = "admin.login.revoke_window"
    ADMIN_LOGIN_CONFIRM_CODE = "admin.login.confirm_code"
    ADMIN_LOGIN_RECOVERY_CODES = "admin.login.recovery_codes"
    ADMIN_LOGIN_REHASH = "admin.login.rehash"
    """The person's password again, hashed at the cost of today's settings."""
    ADMIN_DEVICE_ADD = "admin.device.add"
    ADMIN_DEVICE_APPROVE = "admin.device.approve"
    ADMIN_DEVICE_KIT = "admin.device.kit"
    ADMIN_DEVICE_LOCK = "admin.device.lock"
    ADMIN_DEVICE_UNLOCK = "admin.device.unlock"
    ADMIN_DEVICE_REMOVE = "admin.device.remove"
    ADMIN_DEVICE_CA_ADD = "admin.device.ca_add"
    ADMIN_DEVICE_CA_REMOVE = "admin.device.ca_remove"
    ADMIN_FOLDER_ADD = "admin.folder.add"
    ADMIN_FOLDER_CHANGE = "admin.folder.change"
    ADMIN_FOLDER_GRANT = "admin.folder.grant"
    ADMIN_FOLDER_REMOVE = "admin.folder.remove"
    ADMIN_GROUP_ADD = "admin.group.add"
    ADMIN_GROUP_JOIN = "admin.group.join"
    ADMIN_GROUP_LEAVE = "admin.group.leave"
    ADMIN_GROUP_REMOVE = "admin.group.remove"
    ADMIN_SESSION_CUT = "admin.session.cut"
    ADMIN_SESSION_LIFT_BAN = "admin.session.lift_ban"
    ADMIN_LOGIN_WHY = "admin.login.why"
    ADMIN_STORE_DOCTOR = "admin.store.doctor"
    ADMIN_SETTINGS_RELOAD = "admin.settings.reload"
    SYSTEM_START = "system.start"
    SYSTEM_STOP = "system.stop"
    SYSTEM_SEGMENT = "system.segment"
    SYSTEM_RECOVERY = "system.recovery"
    SYSTEM_TAIL_REPAIR = "system.tail_repair"
    SYSTEM_CHILD_EXIT = "system.child_exit"
    SYSTEM_CERTIFICATE = "system.certificate"
    SYSTEM_TRAIL_SPACE = "system.trail_space"
    SYSTEM_CLOCK_JUMP = "system.clock_jump"
    SYSTEM_KEY_ROTATION = "system.key_rotation"
    SYSTEM_BAN = "system.ban"
    SYSTEM_QUOTA_WARNING = "system.quota_warning"
    SYSTEM_QUOTA_RECOUNT = "system.quota_recount"


UPLOADS: Final = frozenset({Operation.WRITE, Operation.DEPOSIT, Operation.COPY})
"""Refused first when the journal's space runs short (audit.md, "Fail closed")."""


@unique
class Phase(StrEnum):
    """Which part of an act a record tells."""

    INTENT = "intent"
    PROGRESS = "progress"
    OUTCOME = "outcome"
    EVENT = "event"
    """An act told whole by one record."""


@unique
class Outcome(StrEnum):
    """How an act ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@unique
class Stage(StrEnum):
    """Where a refusal was decided; `rule` then names the rule of that stage."""

    LINE = "line"
    HANDSHAKE = "handshake"
    LOGIN = "login"
    DEVICE = "device"
    PASSWORD = "password"  # noqa: S105 - the stage's name, not a secret
    TOTP = "totp"
    SESSION = "session"
    REQUEST = "request"
    """What came is not what its protocol asks for."""
    PATH = "path"
    RIGHTS = "rights"
    LOCK = "lock"
    QUOTA = "quota"
    LIMIT = "limit"


@unique
class Protocol(StrEnum):
    """Through which door an act came."""

    SFTP = "sftp"
    WEBDAV = "webdav"
    SMTP = "smtp"
    CONSOLE = "console"
    CLI = "cli"
    SYSTEM = "system"


class Right(Flag):
    """What a grant allows on a folder and what lies below it."""

    LIST = auto()
    READ = auto()
    WRITE = auto()
    DELETE = auto()


PRESETS: Final[dict[str, Right]] = {
    "viewer": Right.LIST | Right.READ,
    "editor": Right.LIST | Right.READ | Right.WRITE | Right.DELETE,
    "depositor": Right.LIST | Right.WRITE,
}


def parse_rights(text: str) -> Right:
    """Read `viewer`, `editor`, `depositor` or a list such as `list,read`.

    Raises:
        ValueError: A word is none of these.
    """
    if text in PRESETS:
        return PRESETS[text]
    rights = Right(0)
    for word in text.split(","):
        try:
            rights |= Right[word.strip().upper()]
        except KeyError:
            allowed = ", ".join([*PRESETS, "list", "read", "write", "delete"])
            raise ValueError(f"unknown right {word.strip()!r}; use {allowed}") from None
    return rights


def format_rights(rights: Right) -> str:
    """Write rights as `parse_rights` reads them."""
    return ",".join(str(right.name).lower() for right in Right if right in rights)
