"""Keys that were shown beside a right password and are nobody's yet, and use of keys.

A pending key opens nothing. It saves an administrator the typing: the key is there to
be looked at, compared and approved.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select, update

from server.auth.records import RowMap
from server.auth.tables import DEVICE_USE, LOGIN, PENDING_KEY
from server.db.engine import Connection

KEYS_MAX: int = 8
"""Pending keys of one login; the oldest go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingKey:
    """One key that a login showed."""

    login_id: str
    key_sha256: str
    ssh_key: str = ""
    """Empty when a certificate showed it."""
    subject: str = ""
    """The certificate's common name."""
    proved: bool
    """A signature or a TLS handshake proved it; else it was only named."""
    weak_key: bool = False
    line: str
    source: str
    protocol: str
    client: str


def note(
    connection: Connection, keys: Sequence[PendingKey], *, now_us: int, keep_us: int
) -> None:
    """Keep keys that were shown; old ones go.

    Args:
        connection: Within a transaction.
        keys: What was shown, one login's or several's.
        now_us: Wall clock.
        keep_us: How long a key stays after it was last shown.
    """
    forget(connection, now_us - keep_us)
    for key in keys:
        here = (PENDING_KEY.c.login_id == key.login_id) & (
            PENDING_KEY.c.key_sha256 == key.key_sha256
        )
        values = asdict(key)
        if not key.proved:
            del values["proved"]  # what was proved once stays so
        again = (
            update(PENDING_KEY)
            .where(here)
            .values(**values, last_us=now_us, tries=PENDING_KEY.c.tries + 1)
        )
        if connection.execute(again).rowcount:
            continue
        living = select(LOGIN.c.id).where(
            LOGIN.c.id == key.login_id, LOGIN.c.removed_us.is_(None)
        )
        if connection.execute(living).first() is None:
            continue
        connection.execute(
            insert(PENDING_KEY).values(
                **asdict(key), first_us=now_us, last_us=now_us, tries=1
            )
        )
        _bound(connection, key.login_id)


def forget(connection: Connection, before_us: int) -> None:
    """Drop keys that were last shown before a moment."""
    connection.execute(delete(PENDING_KEY).where(PENDING_KEY.c.last_us < before_us))


def pending_of(connection: Connection, login_id: str, since_us: int) -> list[RowMap]:
    """The pending keys of a login that were shown since, newest first."""
    query = (
        select(PENDING_KEY)
        .where(PENDING_KEY.c.login_id == login_id, PENDING_KEY.c.last_us >= since_us)
        .order_by(PENDING_KEY.c.last_us.desc())
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def note_use(connection: Connection, device_id: str, used_us: int, **how: str) -> None:
    """Keep a device's first and last use; telling it twice is harmless.

    Args:
        connection: Within a transaction.
        device_id: Whose.
        used_us: When.
        **how: `line`, `source`, `protocol` and `client`.
    """
    last = {f"last_{name}": value for name, value in how.items()}
    this = DEVICE_USE.c.device_id == device_id
    later = (
        update(DEVICE_USE)
        .where(this, DEVICE_USE.c.last_us <= used_us)
        .values(last_us=used_us, **last)
    )
    if connection.execute(later).rowcount:
        return
    if connection.execute(select(DEVICE_USE.c.device_id).where(this)).first() is None:
        first = {f"first_{name}": value for name, value in how.items()}
        connection.execute(
            insert(DEVICE_USE).values(
                device_id=device_id, first_us=used_us, last_us=used_us, **first, **last
            )
        )


def _bound(connection: Connection, login_id: str) -> None:
    mine = (
        select(PENDING_KEY.c.key_sha256)
        .where(PENDING_KEY.c.login_id == login_id)
        .order_by(PENDING_KEY.c.last_us.desc(), PENDING_KEY.c.key_sha256)
    )
    surplus = connection.execute(mine).scalars().all()[KEYS_MAX:]
    if surplus:
        connection.execute(
            delete(PENDING_KEY).where(
                PENDING_KEY.c.login_id == login_id,
                PENDING_KEY.c.key_sha256.in_(surplus),
            )
        )
