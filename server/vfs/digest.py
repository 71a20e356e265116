"""The SHA-256 of content that goes by whole and in order."""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

_BESIDE_BYTES_MIN: Final = 256 * 1024
"""Shorter blocks are hashed in less time than it takes to hand them over twice."""


class Digest:
    """Hashes what it is shown; gives up once something does not follow on.

    For one thread at a time. To hash takes longer than to write (0.5 ms a MiB beside
    0.3), so a long block that its owner leaves alone is hashed by another thread, while
    the next one is received.
    """

    def __init__(self, *, wanted: bool) -> None:
        """Have seen nothing yet."""
        self._hash = hashlib.sha256() if wanted else None
        self._bytes = 0
        self._beside: Future[None] | None = None

    @property
    def stands(self) -> bool:
        """Whether all that went by was hashed."""
        return self._hash is not None

    def give_up(self) -> None:
        """Something goes by unseen."""
        self._hash = None

    def add(
        self, offset: int, data: bytes | bytearray | memoryview, *, kept: bool = False
    ) -> None:
        """See `data`, which lies at `offset`.

        Args:
            offset: Of the content.
            data: The next bytes.
            kept: Nobody changes `data` until the next call.
        """
        if self._hash is None:
            return
        if offset != self._bytes:
            self.give_up()  # out of order: the content does not go by whole
            return
        self._settle()
        self._bytes += len(data)
        # Either way the GIL is left for blocks above 2 KiB.
        if kept and len(data) >= _BESIDE_BYTES_MIN:
            self._beside = _hashers().submit(self._hash.update, data)
        else:
            self._hash.update(data)

    def of(self, size: int) -> str | None:
        """The hash of content that is `size` bytes long; None if not all went by."""
        if self._hash is None or self._bytes != size:
            return None
        self._settle()
        return self._hash.hexdigest()

    def _settle(self) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.result()


@cache
def _hashers() -> ThreadPoolExecutor:
    """The threads of this process that hash; more than cores would gain nothing."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hash")
