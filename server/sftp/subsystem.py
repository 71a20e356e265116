"""The sftp subsystem on one channel: a thread between the channel and `Requests`."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from paramiko.channel import Channel

from server.model.clock import Clock
from server.sftp.requests import Requests
from server.sftp.wire import Framer, MalformedPacketError

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 256 * 1024
"""Taken from the channel at a time."""
SEND_BYTES: Final = 256 * 1024
"""Replies gathered before they are sent in the middle of a batch."""
_MESSAGE_HEAD_BYTES: Final = 64
"""What paramiko keeps free of the peer's packet size."""


class Subsystem:
    """Serves one channel until it ends; what is open then is aborted."""

    def __init__(
        self,
        channel: Channel,
        requests: Requests,
        *,
        name: str,
        packet_bytes_max: int,
        clock: Clock,
        malformed: Callable[[], None],
    ) -> None:
        """Prepare to serve; `malformed` is called when the client breaks the rules."""
        self._channel = channel
        self._requests = requests
        self._framer = Framer(packet_bytes_max)
        self._clock = clock
        self._malformed = malformed
        self._answering = False
        self._answered_ns = clock.mono_ns()
        self._thread = threading.Thread(target=self._fence, name=name, daemon=True)

    def start(self) -> None:
        """Serve on a thread of its own."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_quiet(self, quiet_ns: int) -> bool:
        """Whether nothing is open and no request came for `quiet_ns`."""
        if not self._thread.is_alive():
            return True
        if self._answering or self._requests.handles_open:
            return False
        return self._clock.mono_ns() - self._answered_ns >= quiet_ns

    def _fence(self) -> None:
        try:
            self._serve()
        except MalformedPacketError as error:
            log.warning("sftp session ended: malformed packet: %s", error)
            self._malformed()
        except (OSError, EOFError):
            log.debug("sftp channel lost", exc_info=True)
        except Exception:
            log.exception("sftp channel failed")
            self._malformed()
        finally:
            self._end()

    def _serve(self) -> None:
        while received := self._channel.recv(RECEIVE_BYTES):
            self._answering = True
            for replies in self._answers(received):
                self._send(replies)
            self._answered_ns = self._clock.mono_ns()
            self._answering = False
            if self._requests.ended:
                return

    def _answers(self, received: bytes) -> Iterator[bytes]:
        """The replies to what came, gathered into few and long blocks."""
        replies: list[bytes] = []
        gathered = 0
        for packet in self._framer.feed(received):
            reply = self._requests.answer(packet)
            replies.append(reply)
            gathered += len(reply)
            if gathered >= SEND_BYTES:
                yield b"".join(replies)
                replies, gathered = [], 0
        if replies:
            yield b"".join(replies)

    def _send(self, replies: bytes) -> None:
        step = self._channel.out_max_packet_size - _MESSAGE_HEAD_BYTES
        at = 0
        while at < len(replies):
            sent = self._channel.send(replies[at : at + step])
            if not sent:
                raise EOFError
            at += sent

    def _end(self) -> None:
        try:
            self._requests.close()
        finally:
            with suppress(OSError, EOFError):  # the connection is gone
                if not self._channel.closed:
                    self._channel.send_exit_status(0)
                self._channel.close()
