"""Recovery codes: ten that stand in for the authenticator, each once.

They are drawn with 80 bits, so SHA-256 is enough of a hash (see `auth.secret`). They
count only while the login has a TOTP secret: without one nothing is to be recovered.
"""

from typing import Final

from sqlalchemy import delete, func, insert, select, update

from server.auth.secret import draw, hash_secret, plain_secret
from server.auth.tables import RECOVERY_CODE
from server.db.engine import Connection

COUNT: Final = 10
CODE_LENGTH: Final = 16
_GROUP: Final = 4


def new_codes(connection: Connection, login_id: str) -> list[str]:
    """Give a login fresh codes in the place of all older ones."""
    drop_codes(connection, login_id)
    codes = [draw(CODE_LENGTH) for _ in range(COUNT)]
    for code in codes:
        connection.execute(
            insert(RECOVERY_CODE).values(login_id=login_id, code_hash=hash_secret(code))
        )
    return [
        "-".join(code[i : i + _GROUP] for i in range(0, CODE_LENGTH, _GROUP))
        for code in codes
    ]


def drop_codes(connection: Connection, login_id: str) -> None:
    """Forget a login's codes."""
    connection.execute(
        delete(RECOVERY_CODE).where(RECOVERY_CODE.c.login_id == login_id)
    )


def codes_left(connection: Connection, login_id: str) -> int:
    """How many codes a login has not used."""
    query = (
        select(func.count())
        .select_from(RECOVERY_CODE)
        .where(RECOVERY_CODE.c.login_id == login_id, RECOVERY_CODE.c.used_us.is_(None))
    )
    return int(connection.execute(query).scalar_one())


def looks_like_one(text: str) -> bool:
    """Whether what was typed for a one-time code is meant as a recovery code."""
    return len(plain_secret(text)) == CODE_LENGTH


def use_recovery_code(
    connection: Connection, login_id: str, code: str, now_us: int
) -> bool:
    """Accept a code: true for exactly one caller, and once."""
    used = connection.execute(
        update(RECOVERY_CODE)
        .where(
            RECOVERY_CODE.c.login_id == login_id,
            RECOVERY_CODE.c.code_hash == hash_secret(code),
            RECOVERY_CODE.c.used_us.is_(None),
        )
        .values(used_us=now_us)
    )
    return used.rowcount == 1
