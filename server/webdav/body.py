"""Request bodies as streams that tell a whole body from a cut one.

`read` returns b"" only when the announced end was reached; a peer that goes away
earlier raises `BodyCutError`, so that no half body is ever taken for a whole one
(cheroot's own readers return b"" for both). RFC 9112 sections 6 and 7.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from server.model.errors import IncompleteUploadError, LimitError

DRAIN_BYTES_MAX: Final = 65536
"""How much of a refused body is read so that the connection can go on."""

_BLOCK_BYTES: Final = 262144
_CHUNK_LINE_BYTES_MAX: Final = 1024
_TRAILER_BYTES_MAX: Final = 8192
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")


class BodyCutError(IncompleteUploadError):
    """The connection ended, or fell silent, in the middle of a body."""


class MalformedBodyError(IncompleteUploadError):
    """A chunk is not coded as RFC 9112 section 7.1 asks."""

    reason = "malformed_body"


class BodyTooLargeError(LimitError):
    """The body is longer than the settings allow."""

    def __init__(self) -> None:
        """Name the setting."""
        super().__init__("The upload is too large.", rule="body_bytes_max")


class Source(Protocol):
    """Where body bytes come from."""

    def readinto(self, block: memoryview, /) -> int:
        """The next bytes, as many as fit; 0 only when the peer went away."""
        ...

    def readline(self, size_bytes_max: int) -> bytes:
        """A line with its end; b"" when it is longer or the peer went away."""
        ...


class Body:
    """What both kinds share: the 100 Continue and the drain."""

    def __init__(self, source: Source, on_first_read: Callable[[], None]) -> None:
        """Read from `source`; `on_first_read` asks the client for the body."""
        self._source = source
        self._on_first_read: Callable[[], None] | None = on_first_read
        self.received_bytes = 0
        self._sound = True

    @property
    def finished(self) -> bool:
        """Whether the announced end was reached."""
        raise NotImplementedError

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the next reads bring, as far as is known; 0 for none."""
        raise NotImplementedError

    def read(self, size_bytes: int = -1) -> bytes | bytearray:
        """The next bytes; b"" at the announced end.

        Args:
            size_bytes: At most so many; negative means all that is left.

        Raises:
            BodyCutError: The peer went away or fell silent before the end.
            MalformedBodyError: Wrong chunk coding.
            BodyTooLargeError: More than the settings allow.
        """
        if size_bytes < 0:
            return self._read_all()
        block = bytearray(min(size_bytes, self.waiting_bytes))
        with memoryview(block) as view:
            count = self.read_into(view)
        del block[count:]
        return block

    def read_into(self, block: memoryview) -> int:
        """Fill `block` with the next bytes, as many as there are; 0 at the end.

        Raises:
            BodyCutError: As `read`, and the others too.
        """
        if self.finished or not block:
            return 0
        if self._on_first_read is not None:
            ask, self._on_first_read = self._on_first_read, None
            ask()
        try:
            count = self._read_into(block)
        except BaseException:
            self._sound = False  # nobody knows any more where it ends
            raise
        self.received_bytes += count
        return count

    def drain(self) -> bool:
        """Read away a small rest; whether the connection can be used again."""
        left = DRAIN_BYTES_MAX
        try:
            while self._sound and not self.finished and left > 0:
                left -= len(self.read(left))
        except (IncompleteUploadError, LimitError, OSError):
            return False
        return self.finished

    def _read_into(self, block: memoryview) -> int:
        raise NotImplementedError

    def _read_all(self) -> bytes:
        blocks = []
        while block := self.read(DRAIN_BYTES_MAX):
            blocks.append(bytes(block))
        return b"".join(blocks)

    def _take(self, block: memoryview) -> int:
        try:
            count = self._source.readinto(block)
        except OSError as error:
            raise BodyCutError("The upload was cut off.") from error
        if not count:
            raise BodyCutError("The upload was cut off.")
        return count


class KnownBody(Body):
    """A body with a Content-Length."""

    def __init__(
        self, source: Source, length_bytes: int, on_first_read: Callable[[], None]
    ) -> None:
        """Expect exactly `length_bytes` bytes."""
        super().__init__(source, on_first_read)
        self.length_bytes = length_bytes

    @property
    def finished(self) -> bool:
        """Whether all announced bytes were read."""
        return self.received_bytes >= self.length_bytes

    def drain(self) -> bool:
        """Read away a rest of at most `DRAIN_BYTES_MAX` bytes, or nothing."""
        if self.length_bytes - self.received_bytes > DRAIN_BYTES_MAX:
            return False
        return super().drain()

    @property
    def waiting_bytes(self) -> int:
        """What is left."""
        return self.length_bytes - self.received_bytes

    def _read_into(self, block: memoryview) -> int:
        return self._take(block[: self.length_bytes - self.received_bytes])


class ChunkedBody(Body):
    """A chunked body, read block by block however large a chunk says it is."""

    def __init__(
        self, source: Source, bytes_max: int, on_first_read: Callable[[], None]
    ) -> None:
        """Refuse a body that grows beyond `bytes_max` bytes."""
        super().__init__(source, on_first_read)
        self._bytes_max = bytes_max
        self._chunk_left_bytes = 0
        self._ended = False

    @property
    def finished(self) -> bool:
        """Whether the last chunk and the trailer were read."""
        return self._ended

    @property
    def waiting_bytes(self) -> int:
        """Nobody knows; a block of the usual size, until the end."""
        return 0 if self._ended else _BLOCK_BYTES

    def _read_into(self, block: memoryview) -> int:
        if self._chunk_left_bytes == 0:
            self._open_chunk()
            if self._ended:
                return 0
        count = self._take(block[: self._chunk_left_bytes])
        self._chunk_left_bytes -= count
        if self._chunk_left_bytes == 0 and self._line() != b"\r\n":
            raise MalformedBodyError("A chunk does not end where it said.")
        return count

    def _open_chunk(self) -> None:
        match = _CHUNK.fullmatch(self._line())
        if match is None:
            raise MalformedBodyError("The size of a chunk is malformed.")
        self._chunk_left_bytes = int(match[1], 16)
        if self.received_bytes + self._chunk_left_bytes > self._bytes_max:
            raise BodyTooLargeError
        if self._chunk_left_bytes == 0:
            self._skip_trailer()
            self._ended = True

    def _skip_trailer(self) -> None:
        left = _TRAILER_BYTES_MAX
        while (line := self._line()) != b"\r\n":
            left -= len(line)
            if left < 0 or not line.endswith(b"\r\n"):
                raise MalformedBodyError("The trailer is too long, or malformed.")

    def _line(self) -> bytes:
        try:
            line = self._source.readline(_CHUNK_LINE_BYTES_MAX)
        except OSError as error:
            raise BodyCutError("The upload was cut off.") from error
        if not line.endswith(b"\n"):
            raise BodyCutError("The upload was cut off, or a line of it is too long.")
        return line
