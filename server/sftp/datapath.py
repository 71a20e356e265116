"""The sftp subsystem on one channel, served on the connection's own thread.

What comes lands in the channel's inflow; `work` answers it in its order and sends the
replies of a batch together. Nothing here waits for the client's window: what may not
go out stays in the train, and while that has no room no further request is answered,
so that a client which does not read costs no more memory than one that does.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from paramiko.channel import Channel
from paramiko.common import cMSG_CHANNEL_WINDOW_ADJUST
from paramiko.message import Message

from server.model.clock import Clock
from server.sftp.inflow import Inflow
from server.sftp.packetizer import BoundedPacketizer
from server.sftp.requests import Requests
from server.sftp.train import Train
from server.sftp.wire import LENGTH_BYTES, MalformedPacketError

log = logging.getLogger(__name__)

WINDOW_BYTES: Final = 2 * 1024 * 1024
"""What a client may send ahead. More was slower: the caches hold less of it."""
_GRANT_BYTES: Final = WINDOW_BYTES // 4
"""Taken bytes after which the client hears of the room."""
_REPLIES_MAX: Final = 2
"""Longest replies that a train has room for: about half a mebibyte by default."""
_MESSAGE_HEAD_BYTES: Final = 64
"""What paramiko keeps free of the peer's packet size."""


class DataPath:
    """Serves one channel until it ends; what is open then is aborted.

    All but `is_quiet` belongs to the connection's thread.
    """

    def __init__(
        self,
        channel: Channel,
        requests: Requests,
        packetizer: BoundedPacketizer,
        *,
        packet_bytes_max: int,
        clock: Clock,
        malformed: Callable[[], None],
    ) -> None:
        """Prepare to serve.

        Args:
            channel: Whose data it is.
            requests: Answers.
            packetizer: Sends.
            packet_bytes_max: Of a request, and of a reply.
            clock: Tells how long nothing was asked.
            malformed: Called when the client breaks the rules.
        """
        self.inflow = Inflow(
            window_bytes=WINDOW_BYTES, packet_bytes_max=packet_bytes_max
        )
        self.ended = False
        """Whether nothing is served any more."""
        self._channel = channel
        self._clear = packetizer.clear_to_send
        self._requests = requests
        self._packetizer = packetizer
        self._clock = clock
        self._malformed = malformed
        self._reply_bytes_max = LENGTH_BYTES + packet_bytes_max
        self._train = Train(
            channel=channel.remote_chanid,
            data_bytes=channel.out_max_packet_size - _MESSAGE_HEAD_BYTES,
            capacity=_REPLIES_MAX * self._reply_bytes_max,
        )
        self._input_over = False
        self._answering = False
        self._answered_ns = clock.mono_ns()

    def work(self) -> None:
        """Answer what can be answered now.

        Raises:
            EOFError: The connection is gone.
        """
        if self.ended:
            return
        try:
            self._work()
        except EOFError:
            raise
        except MalformedPacketError as error:
            log.warning("sftp session ended: malformed packet: %s", error)
            self._give_up()
        except Exception:
            log.exception("sftp channel failed")
            self._give_up()

    @property
    def busy(self) -> bool:
        """Whether `work` has more to do even when nothing comes."""
        return self._requests.busy and not self.ended

    def silence(self) -> None:
        """Nothing comes at present: give memory back."""
        self.inflow.rest()
        self._train.rest()

    def end_of_input(self) -> None:
        """The client sends nothing more; what came is still answered."""
        self._input_over = True

    def lost(self) -> None:
        """The channel is closed, or its connection gone: what is open is aborted."""
        if not self.ended:
            self.ended = True
            self.inflow.forget()
            self._train.forget()
            self._requests.close()

    def join(self, timeout_s: float) -> bool:  # noqa: ARG002 - as a command's
        """Whether it has ended; its thread is the connection's, so nobody waits."""
        return self.ended

    def is_quiet(self, quiet_ns: int) -> bool:
        """Whether nothing is open and no request came for `quiet_ns`."""
        if self.ended:
            return True
        if self._answering or self._requests.handles_open or self._train.waiting:
            return False
        return self._clock.mono_ns() - self._answered_ns >= quiet_ns

    def _work(self) -> None:
        waiting = self.inflow.waiting
        if not (waiting or self._train.waiting or self._input_over or self._goes_on):
            return
        self._answering = True
        all_answered = self._answer_all()
        self._depart()
        self.inflow.settle()
        self._grant()
        if waiting:
            self._answered_ns = self._clock.mono_ns()
        self._answering = False
        over = self._requests.ended or (self._input_over and all_answered)
        if over and not self._train.waiting and self._clear.is_set():
            self._finish()

    @property
    def _goes_on(self) -> bool:
        return self._requests.busy or self._requests.ended

    def _answer_all(self) -> bool:
        """Answer whole requests while the train has room; whether none is left."""
        inflow, train, requests = self.inflow, self._train, self._requests
        while not requests.ended:
            if train.room < self._reply_bytes_max:
                self._depart()
                if train.room < self._reply_bytes_max:
                    return False
            if requests.busy:
                requests.go_on(train)
                if requests.busy:
                    return False
            packet = inflow.take()
            if packet is None:
                break
            requests.reply(packet, train)
        return True

    def _depart(self) -> None:
        """Send replies as far as the client's window goes, but not in a key exchange.

        RFC 4253, section 7.1, allows no channel data between KEXINIT and NEWKEYS.
        """
        train, channel = self._train, self._channel
        waiting = train.waiting
        while waiting and channel.out_window_size and self._clear.is_set():
            departure = train.leave(channel.out_window_size)
            left = train.waiting
            channel.out_window_size -= waiting - left
            self._packetizer.send_data(channel.remote_chanid, departure)
            train.through()
            waiting = left

    def _grant(self) -> None:
        """Tell the client how much more it may send."""
        if self._input_over or not self._clear.is_set():
            return
        granted = self.inflow.grant(_GRANT_BYTES)
        if granted:
            message = Message()
            message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
            message.add_int(self._channel.remote_chanid)
            message.add_int(granted)
            self._packetizer.send_message(message)

    def _give_up(self) -> None:
        self._answering = False
        self._malformed()
        self.lost()

    def _finish(self) -> None:
        """All is answered: close what is open, then the channel."""
        self.lost()
        with suppress(OSError):  # closed by the client meanwhile
            self._channel.send_exit_status(0)
            self._channel.close()
