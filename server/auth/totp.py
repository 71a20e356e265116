"""Time-based one-time codes, RFC 6238, each accepted once in the whole store.

The secret lies encrypted in the database (AES-256-GCM, the login's id as associated
data); the key is a file of `state_dir`. Section 5.2 forbids accepting a step twice:
the last accepted one is moved forward by a conditional update, so of all processes and
nodes that see the same code at the same moment exactly one wins.
"""

import base64
import os
import unicodedata
from typing import Final

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyotp.exceptions import OTPVerificationError
from sqlalchemy import delete, func, insert, select, update

from server.auth.tables import TOTP
from server.db.engine import Connection

DIGITS: Final = 6
_SECRET_CHARACTERS: Final = 32
_NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class SecretBox:
    """Encrypts what the database keeps of TOTP."""

    def __init__(self, key: bytes) -> None:
        """Use `key`, 32 random bytes."""
        self._cipher = AESGCM(key)

    def seal(self, secret: str, login_id: str) -> str:
        """Encrypt for one login; the text cannot be moved to another."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), login_id.encode())
        return base64.b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, login_id: str) -> str:
        """Decrypt.

        Raises:
            ValueError: Not sealed with this key for this login.
        """
        raw = base64.b64decode(sealed)
        nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, login_id.encode()).decode()
        except InvalidTag as error:
            raise ValueError("the TOTP secret does not fit keys/totp.key") from error


def fresh_secret() -> str:
    """A secret that no login has yet, base32."""
    return pyotp.random_base32(_SECRET_CHARACTERS)


def keep_secret(
    connection: Connection,
    box: SecretBox,
    login_id: str,
    secret: str,
    confirmed: tuple[int, int] | None = None,
) -> None:
    """Give a login a secret in place of any older one.

    Args:
        connection: Within a transaction.
        box: Seals it.
        login_id: Whose.
        secret: Base32.
        confirmed: The step of a code that its authenticator showed, used up by that,
            and when (microseconds); None while nobody has shown one.
    """
    drop_secret(connection, login_id)
    step, confirmed_us = confirmed or (0, None)
    connection.execute(
        insert(TOTP).values(
            login_id=login_id,
            secret=box.seal(secret, login_id),
            last_step=step,
            confirmed_us=confirmed_us,
        )
    )


def drop_secret(connection: Connection, login_id: str) -> None:
    """Forget a login's secret."""
    connection.execute(delete(TOTP).where(TOTP.c.login_id == login_id))


def enrolment_uri(secret: str, account: str) -> str:
    """The `otpauth:` URI that an authenticator app scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name="Kagikura")


def step_of(secret: str, code: str, *, now_s: int, drift_steps: int) -> int | None:
    """Which time step `code` belongs to, or None; pure."""
    digits = unicodedata.normalize("NFKC", code).replace(" ", "")
    if len(digits) != DIGITS:
        return None
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(
            digits, for_time=now_s, valid_window=drift_steps
        )
    except OTPVerificationError:
        return None


def read_secret(connection: Connection, box: SecretBox, login_id: str) -> str | None:
    """A login's secret, base32; None when it never enrolled.

    Raises:
        ValueError: It was sealed with another key file.
    """
    sealed = connection.execute(
        select(TOTP.c.secret).where(TOTP.c.login_id == login_id)
    ).scalar_one_or_none()
    return None if sealed is None else box.unseal(sealed, login_id)


def use_step(
    connection: Connection, login_id: str, step: int, now_us: int | None = None
) -> bool:
    """Accept a step: true for exactly one caller, and never for an older step.

    Args:
        connection: Within a transaction.
        login_id: Whose.
        step: As `step_of` found it.
        now_us: Wall clock; the first code of a secret confirms that it was taken.
    """
    values: dict[str, object] = {"last_step": step}
    if now_us is not None:
        values["confirmed_us"] = func.coalesce(TOTP.c.confirmed_us, now_us)
    moved = connection.execute(
        update(TOTP)
        .where(TOTP.c.login_id == login_id, TOTP.c.last_step < step)
        .values(values)
    )
    return moved.rowcount == 1


def split_code(password: str) -> tuple[str, str]:
    """Part a password from six digits typed after it; no code: an empty one."""
    base, tail = password[:-DIGITS], password[-DIGITS:]
    digits = unicodedata.normalize("NFKC", tail)
    if base and len(tail) == DIGITS and digits.isascii() and digits.isdigit():
        return base, digits
    return password, ""
