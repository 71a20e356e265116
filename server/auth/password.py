"""Passwords: argon2id with a bound on how many are checked at once.

A check costs memory by design, so its number is bounded, and so is the queue in front
of it. An unknown login costs the same as a known one: the dummy hash is checked.
"""

import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from server.settings.schema import AuthSettings

PASSWORD_BYTES_MAX: Final = 1024
WAITING_MAX: Final = 64
WAIT_S_MAX: Final = 10.0


class BusyError(Exception):
    """Too many password checks are waiting."""


class Hasher:
    """Makes and checks password hashes."""

    def __init__(self, settings: AuthSettings) -> None:
        """Take memory, passes and the number of checks at once from the settings."""
        self._argon2 = PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory_kib,
            parallelism=1,
            type=Type.ID,
        )
        self._slots = threading.BoundedSemaphore(settings.argon2_parallel_max)
        self._waiting = 0
        self._lock = threading.Lock()  # Guards _waiting. Taken before none.
        self._dummy = self._argon2.hash("no login has this password")

    def hash(self, password: str | bytes) -> str:
        """A new password's hash, with its parameters and salt."""
        with self._slots:
            return self._argon2.hash(_composed(password))

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made at another cost than the settings ask for now."""
        try:
            return self._argon2.check_needs_rehash(stored)
        except InvalidHashError:
            return False

    def verify(self, stored: str | None, password: str | bytes) -> bool:
        """Whether `password` is the stored one.

        Args:
            stored: The hash; None costs the same and is never right.
            password: As the client sent it.

        Raises:
            BusyError: No turn within the limits; nothing was checked.
        """
        typed = _composed(password)
        self._take_slot()
        try:
            return self._check(stored or self._dummy, typed) and bool(stored)
        finally:
            self._slots.release()

    def _check(self, stored: str, password: bytes) -> bool:
        too_long = len(password) > PASSWORD_BYTES_MAX
        try:
            self._argon2.verify(stored, password[:PASSWORD_BYTES_MAX])
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            return False
        return not too_long

    def _take_slot(self) -> None:
        with self._lock:
            if self._waiting >= WAITING_MAX:
                raise BusyError
            self._waiting += 1
        try:
            if not self._slots.acquire(timeout=WAIT_S_MAX):
                raise BusyError
        finally:
            with self._lock:
                self._waiting -= 1


def _composed(password: str | bytes) -> bytes:
    """One form for all systems: NFC, as RFC 8265 section 4.2 has it, in UTF-8."""
    if isinstance(password, bytes):
        password = password.decode("utf-8", "surrogateescape")
    composed = unicodedata.normalize("NFC", password)
    return composed.encode("utf-8", "surrogateescape")
