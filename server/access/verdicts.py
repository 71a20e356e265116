"""Remembered Basic verdicts, so that argon2 does not run for each connection.

What is kept is an HMAC under a key of this process, never a password; it holds for one
revision of the accounts and for as long as the unlock window that it rests on.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

VERDICTS_MAX: Final = 4096
NO_END_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    until_us: int
    proved: tuple[str, ...]


class Verdicts:
    """Credentials that were found right. Thread-safe, bounded."""

    def __init__(self) -> None:
        """Draw this process's key."""
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._lock = threading.Lock()  # Guards _kept. Taken before none.

    def fingerprint(self, *parts: str) -> bytes:
        """Name credentials without keeping them; no two lists of parts collide."""
        raws = [part.encode("utf-8", "surrogateescape") for part in parts]
        told = b"".join([len(raw).to_bytes(8, "big") + raw for raw in raws])
        return hmac.digest(self._key, told, "sha256")

    def keep(
        self, fingerprint: bytes, *, revision: int, until_us: int, proved: list[str]
    ) -> None:
        """Remember right credentials; the oldest go when there are too many."""
        with self._lock:
            self._kept[fingerprint] = _Kept(revision, until_us, tuple(proved))
            while len(self._kept) > VERDICTS_MAX:
                self._kept.popitem(last=False)

    def find(
        self, fingerprint: bytes, *, revision: int, now_us: int
    ) -> tuple[int, list[str]] | None:
        """Until when the credentials hold and what they prove, if they are known."""
        with self._lock:
            kept = self._kept.get(fingerprint)
        if kept is None or kept.revision != revision or kept.until_us <= now_us:
            return None
        return kept.until_us, list(kept.proved)

    def drop_all(self) -> None:
        """Forget everything: the accounts have changed."""
        with self._lock:
            self._kept.clear()
