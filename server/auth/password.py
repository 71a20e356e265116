"""Passwords: argon2id with a bound on how many are checked at once.

A check costs memory by design, so its number is bounded, and so is the queue in front
of it. An unknown login costs the same as a known one: the dummy hash is checked.

Clients connect for each transfer, so a password that was right is known again for some
minutes without that cost, by a MAC under a key that only this process's memory holds.
A wrong one always costs all of it, so guessing gets no cheaper.
"""

import hashlib
import hmac
import os
import threading
import time
import unicodedata
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from server.settings.schema import AuthSettings

PASSWORD_BYTES_MAX: Final = 1024
WAITING_MAX: Final = 64
WAIT_S_MAX: Final = 10.0


REMEMBERED_MAX: Final = 1024


class BusyError(Exception):
    """Too many password checks are waiting."""


class Remembered:
    """Passwords that were right a while ago. Thread-safe."""

    def __init__(self, keep_s: int) -> None:
        """Know them again for `keep_s` seconds; 0 knows none."""
        self._keep_s = keep_s
        self._key = os.urandom(32)
        self._lock = threading.Lock()  # Guards _known. Taken before none.
        self._known: dict[str, tuple[bytes, float]] = {}

    def add(self, stored: str, password: bytes) -> None:
        """It was right for the hash `stored`."""
        if not self._keep_s:
            return
        known = self._mac(stored, password), time.monotonic() + self._keep_s
        with self._lock:
            self._known.pop(stored, None)
            self._known[stored] = known
            while len(self._known) > REMEMBERED_MAX:
                del self._known[next(iter(self._known))]

    def holds(self, stored: str, password: bytes) -> bool:
        """Whether it was right for this very hash, not too long ago."""
        with self._lock:
            mac, until_s = self._known.get(stored, (b"", 0.0))
        if time.monotonic() >= until_s:
            return False
        return hmac.compare_digest(mac, self._mac(stored, password))

    def _mac(self, stored: str, password: bytes) -> bytes:
        return hmac.digest(
            self._key, stored.encode() + b"\0" + password, hashlib.sha256
        )


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
        self._remembered = Remembered(60 * settings.password_minutes)
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
        if stored and self._remembered.holds(stored, typed):
            return True
        self._take_slot()
        try:
            right = self._check(stored or self._dummy, typed) and bool(stored)
        finally:
            self._slots.release()
        if right and stored:
            self._remembered.add(stored, typed)
        return right

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
