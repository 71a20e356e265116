"""The two ends of a connection's byte stream: what came in, what goes out.

The head of a request is gathered without blocking, so that a client that dribbles it
costs no thread; bodies and answers block with the socket's timeout for each call.
"""

import os
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

_RECEIVE_BYTES: Final = 65536
_SEND_BYTES: Final = 131072
"""The timeout holds for each send: a slow client gets 30 s for this much."""

_DISCARDS_MAX: Final = 16

HEAD_END: Final = b"\r\n\r\n"


class HeadTooLongError(Exception):
    """The head of a request is longer than the settings allow."""


class HasDescriptor(Protocol):
    """An open file."""

    @property
    def descriptor(self) -> int:
        """Its number in this process."""
        ...


class Inbox:
    """Bytes received and not yet used."""

    closed = True
    """cheroot's pool asks this before it shuts a connection down; we do that."""

    def __init__(self, sock: socket.socket) -> None:
        """Read from `sock`, which may be replaced after the handshake."""
        self.sock = sock
        self.at_end = False
        self._buffer = bytearray()
        self._failure: OSError | None = None
        self._until_s: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is waiting here (the kernel may hold more)."""
        return not self._buffer

    @property
    def holds_head(self) -> bool:
        """Whether a whole head is waiting here, of which the kernel knows no more."""
        return HEAD_END in self._buffer

    def head(self, bytes_max: int) -> bytes | None:
        """The next request's head with its empty line, or None while it is incomplete.

        The socket must not block, or not for long: its timeout counts as silence. For
        the rest of a head that has begun nobody waits.

        Raises:
            HeadTooLongError: More than `bytes_max` bytes without an end.
            OSError: The connection broke.
        """
        searched = 0
        while True:
            # One empty line before a request is forgiven (RFC 9112, section 2.2).
            if searched == 0 and self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            end = self._buffer.find(HEAD_END, max(0, searched - len(HEAD_END)))
            if 0 <= end <= bytes_max:
                head = bytes(self._buffer[: end + len(HEAD_END)])
                del self._buffer[: end + len(HEAD_END)]
                return head
            if len(self._buffer) > bytes_max:
                raise HeadTooLongError
            searched = len(self._buffer)
            if searched:
                self.sock.settimeout(0)  # else who dribbles it keeps the thread
            try:
                if not self._receive():
                    return None
            except TimeoutError:
                return None

    def _receive(self) -> bool:
        try:
            block = self.sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not block:
            self.at_end = True
            return False
        self._buffer += block
        return True

    def discard(self) -> bool:
        """Throw away some of what has arrived; whether more may come."""
        for _ in range(_DISCARDS_MAX):
            self._buffer.clear()
            if not self._receive():
                break
        return not self.at_end

    def readinto(self, block: memoryview, /) -> int:
        """Fill `block`, blocking; 0 only at the connection's end.

        Raises:
            OSError: The connection broke or fell silent.
        """
        if self._failure is not None:
            raise self._failure
        if self._buffer:
            count = min(len(block), len(self._buffer))
            block[:count] = self._buffer[:count]
            del self._buffer[:count]
            return count
        return self._fill(block)

    @contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """Let all blocking reads of the block together take so long at most."""
        timeout_s = self.sock.gettimeout()
        self._until_s = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until_s = None
            self.sock.settimeout(timeout_s)

    def _hurry(self) -> None:
        if self._until_s is None:
            return
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("too slow")
        self.sock.settimeout(left_s)

    def _fill(self, block: memoryview) -> int:
        filled = 0
        while filled < len(block):
            try:
                self._hurry()
                count = self.sock.recv_into(block[filled:])
            except OSError as error:
                # What came before is handed out first.
                if not filled:
                    raise
                self._failure = error
                break
            if count == 0:
                break
            filled += count
        return filled

    def readline(self, size_bytes_max: int) -> bytes:
        """A line with its LF, blocking; b"" when too long or at the connection's end.

        Raises:
            OSError: The connection broke or fell silent.
        """
        while (end := self._buffer.find(b"\n", 0, size_bytes_max)) < 0:
            self._hurry()
            if len(self._buffer) >= size_bytes_max or not self._receive():
                return b""
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line


class Outbox:
    """Bytes to send. A head may be held back to travel with what follows it."""

    def __init__(self, sock: socket.socket) -> None:
        """Write to `sock`, which may be replaced after the handshake."""
        self.sock = sock
        self.holding = False
        self._held = bytearray()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Send a block, what was held back first.

        Raises:
            OSError: The peer went away, or took nothing for the socket's timeout.
        """
        if self.holding or len(self._held) + len(block) <= _SEND_BYTES:
            self._held += block
            if not self.holding:
                self.flush()
            return
        self.flush()
        self._send(block)

    def flush(self) -> None:
        """Send what was held back.

        Raises:
            OSError: The peer went away, or took nothing for the socket's timeout.
        """
        if self._held:
            held, self._held = self._held, bytearray()
            self._send(held)

    @property
    def kernel_sends(self) -> bool:
        """Whether the kernel can send a file by itself: not through TLS."""
        return not isinstance(self.sock, ssl.SSLSocket)

    def send_file(self, file: HasDescriptor, offset: int, count: int) -> int:
        """Send bytes of a file without looking at them; how many went, 0 at its end.

        What was held back must have been flushed.

        Raises:
            BlockingIOError: The peer takes none now.
            OSError: The peer went away.
        """
        return os.sendfile(self.sock.fileno(), file.descriptor, offset, count)

    def wait(self) -> None:
        """Return when the peer takes more.

        Raises:
            TimeoutError: It took nothing for the socket's timeout.
        """
        timeout_s = self.sock.gettimeout()
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            raise TimeoutError("the peer takes nothing")

    def _send(self, block: bytes | bytearray | memoryview) -> None:
        with memoryview(block) as view:
            sent = 0
            while sent < len(view):
                sent += self.sock.send(view[sent : sent + _SEND_BYTES])
