"""One SSH connection from its accept to its record of leaving."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paramiko.channel import Channel
from paramiko.common import (
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)
from paramiko.pkey import PKey
from paramiko.server import ServerInterface
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport
from typing_extensions import override

from server.access.login import Arrival, Desk, OwnAccount
from server.model.clock import Clock
from server.model.errors import RefusedError, ServerError
from server.model.operation import Stage
from server.settings.schema import SftpSettings
from server.sftp.authentication import Authentication
from server.sftp.commands import Command, printable
from server.sftp.datapath import DataPath
from server.sftp.handshake import judge
from server.sftp.legacy import transport_of
from server.sftp.requests import Requests
from server.vfs.filesystem import FileSystem
from server.vfs.view import View

log = logging.getLogger(__name__)

FIRST_LOGIN_PATIENCE: Final = 5
FAREWELL_S_MAX: Final = 1.5
"""How long the connection of who locks the device in use outlives its session."""
READ_S_MAX: Final = 0.5
"""How long of it for the client to read the answer."""
_POLL_S: Final = 0.02
CHANNEL_END_S: Final = 60.0
"""How long a channel may take to end, a slow fsync included, before we go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What every connection works with."""

    desk: Desk
    filesystem: FileSystem
    settings: SftpSettings
    host_keys: Sequence[PKey]
    clock: Clock


class Connection(ServerInterface):
    """What paramiko asks about a connection, and the connection's life.

    Sessions with the sftp subsystem are served, and a few commands for people about
    themselves; who asks for a shell is told so. Terminals, environment, forwarding of
    ports, agent and X11 are refused by `ServerInterface` itself.
    """

    def __init__(
        self,
        sock: socket.socket,
        arrival: Arrival,
        *,
        house: House,
        ended: Callable[["Connection"], None],
    ) -> None:
        """Take over `sock`; `ended` is called once, after the last record."""
        self._house = house
        self._arrival = arrival
        self._ended = ended
        self._login = house.desk.ssh(arrival)
        self._view: View | None = None
        self._own: OwnAccount | None = None
        self._reason = ""
        self._started_ns = house.clock.mono_ns()
        # Guards the next three. Taken before none.
        self._lock = threading.Lock()
        self._draining = False
        self._services: dict[int, DataPath | Command] = {}
        self._farewell: Command | None = None
        peer = f"{arrival.source.ip}:{arrival.source.port}"
        strict = house.settings.algorithms == "strict"
        self._transport = transport_of(arrival.profile, strict=strict)(
            sock,
            name=f"sftp-{peer}",
            host_keys=house.host_keys,
            authentication=self._authentication,
            ended=self._end,
        )
        arrival.place.drop = lambda: self.cut("made room")

    def start(self) -> None:
        """Serve on the transport's own thread."""
        self._transport.start_server(event=threading.Event(), server=self)

    @property
    def is_admitted(self) -> bool:
        """Whether a login succeeded."""
        return self._login.session is not None

    @property
    def patience(self) -> int:
        """By how much the grace time is longer: a first login needs a phone."""
        return FIRST_LOGIN_PATIENCE if self._login.first_login else 1

    @property
    def age_s(self) -> float:
        """Seconds since the connection was accepted."""
        return (self._house.clock.mono_ns() - self._started_ns) / 1e9

    @property
    def heard_s(self) -> float:
        """When the last packet came, seconds of the monotonic clock."""
        return self._transport.heard_s

    def cut(self, reason: str) -> None:
        """End the connection now; the first reason is the one on record."""
        self._reason = self._reason or reason
        self._transport.cut()

    def _cut_session(self) -> None:
        """Nothing more is served; who locked this very device still gets the answer."""
        self._reason = self._reason or "session cut"
        with self._lock:
            farewell = self._farewell
        if farewell is None:
            self._transport.abort()
            return
        timer = threading.Timer(FAREWELL_S_MAX, self._transport.abort)
        timer.name = f"{self._transport.name}-farewell"
        timer.daemon = True
        timer.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the last record; whether it came in time."""
        self._transport.join(timeout_s)
        return not self._transport.is_alive()

    def drain(self) -> None:
        """Serve no further channel; those that are open may finish."""
        with self._lock:
            self._draining = True

    def is_quiet(self, quiet_ns: int) -> bool:
        """Whether cutting it now would interrupt nothing."""
        with self._lock:
            services = list(self._services.values())
        return all(service.is_quiet(quiet_ns) for service in services)

    def abort(self) -> None:
        """Abort what is open, from any thread; nothing opens after this."""
        view = self._view
        if view is not None:
            view.close()

    # What paramiko asks.

    @override
    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if self._transport.channels_open >= self._house.settings.channels_max:
            return OPEN_FAILED_RESOURCE_SHORTAGE
        return OPEN_SUCCEEDED

    @override
    def check_channel_subsystem_request(self, channel: Channel, name: str) -> bool:
        if self._view is None:
            return False
        if name != "sftp":
            self._refuse_subsystem(name)
            return False
        return self._serve_files(channel, self._view)

    def _serve_files(self, channel: Channel, view: View) -> bool:
        house = self._house
        path = DataPath(
            channel,
            Requests(view, settings=house.settings, clock=house.clock),
            self._transport.packets,
            packet_bytes_max=house.settings.packet_bytes_max,
            clock=house.clock,
            malformed=lambda: self.cut("malformed packet"),
        )
        if not self._takes(channel.chanid, path):
            return False
        self._transport.serve(path, channel.chanid)
        return True

    @override
    def check_channel_exec_request(self, channel: Channel, command: bytes) -> bool:
        return self._serve_command(channel, command)

    @override
    def check_channel_shell_request(self, channel: Channel) -> bool:
        return self._serve_command(channel, None)

    def _serve_command(self, channel: Channel, raw: bytes | None) -> bool:
        if self._own is None:
            return False
        command = Command(
            channel,
            raw,
            self._own,
            name=f"{self._transport.name}-{channel.chanid}",
            answered=self._answered,
        )
        if not self._takes(channel.chanid, command):
            return False
        if command.locks_itself:
            with self._lock:
                self._farewell = command
        self._transport.once_granted(command.start)
        return True

    def _takes(self, chanid: int, service: DataPath | Command) -> bool:
        """Whether the channel was free and is this service's now.

        Commands come one at a time, or they could be asked for faster than the threads
        that answer them end.
        """
        with self._lock:
            if self._draining or self._serves(chanid):
                return False
            self._forget_ended()
            alone = isinstance(service, Command)
            if alone and any(isinstance(s, Command) for s in self._services.values()):
                return False
            self._services[chanid] = service
        return True

    def _answered(self, command: Command) -> None:
        """A command is over, on its own thread."""
        with self._lock:
            if self._farewell is not command:
                return
        until_s = time.monotonic() + READ_S_MAX
        while self._transport.is_open(command.chanid) and time.monotonic() < until_s:
            time.sleep(_POLL_S)  # its close says that the client has read all of it
        with self._lock:
            self._farewell = None
        session = self._login.session
        if session is not None and session.cut_rule is not None:
            self._transport.abort()

    def _refuse_subsystem(self, name: str) -> None:
        if self._own is None:
            return
        try:
            self._own.refuse(printable(name), "", "unknown_subsystem")
        except RefusedError:
            return
        except ServerError:  # not on record, so not to be answered either
            self.cut("trail unavailable")

    def _serves(self, chanid: int) -> bool:
        """Whether the channel has a service; numbers of ended ones come again."""
        former = self._services.get(chanid)
        return former is not None and not former.join(0)

    def _forget_ended(self) -> None:
        """Or a client that opens and closes channels would fill the memory."""
        self._services = {
            chanid: service
            for chanid, service in self._services.items()
            if not service.join(0)
        }

    # Its life.

    def _authentication(self, transport: Transport) -> Authentication:
        """The first key exchange is over: the peer's side is known."""
        self._arrival.client = transport.remote_version
        self._arrival.algorithms = self._transport.algorithms
        return Authentication(
            transport,
            login=self._login,
            keys=self._transport.user_keys,
            settings=self._house.settings,
            admitted=self._admitted,
        )

    def _admitted(self) -> None:
        session = self._login.session
        if session is None:
            raise SSHException("admitted without a session")
        self._arrival.settled()
        self._view = self._house.filesystem.view(session)
        self._own = self._house.desk.own_account(session)
        self._transport.allow_packets(self._house.settings.packet_bytes_max)
        session.on_cut(self._cut_session)

    def _end(self) -> None:
        """The last thing on the transport's thread: records, then word of the end."""
        self._arrival.settled()
        try:
            self._log_fault()
            self._leave()
        except ServerError as error:
            log.exception(
                "sftp session's end not on record", extra={"reason": error.reason}
            )
        except Exception:
            log.exception("sftp session's end failed")
        finally:
            self._ended(self)

    def _leave(self) -> None:
        with self._lock:
            services, self._services = list(self._services.values()), {}
        for service in services:
            if isinstance(service, DataPath):
                service.lost()
            elif not service.join(CHANNEL_END_S):
                log.error("sftp channel does not end")
        if self._login.session is None:
            self._leave_unknown(self._reason or "disconnected")
            return
        try:
            self.abort()
        finally:
            self._house.desk.leave(self._login.session, self._reason)

    def _leave_unknown(self, ended: str) -> None:
        if self._transport.initial_kex_done:
            self._login.give_up(ended)
            return
        self._arrival.client = self._transport.remote_version
        rule, detail = judge(self._transport)
        detail["ended"] = ended
        self._house.desk.turn_away(self._arrival, Stage.HANDSHAKE, rule, detail)

    def _log_fault(self) -> None:
        fault = self._transport.saved_exception
        if fault is None or isinstance(fault, EOFError | OSError):
            return
        if isinstance(fault, SSHException):
            self._reason = self._reason or "protocol error"
            log.info("ssh connection ended: %s", fault)
            return
        self._reason = self._reason or "internal error"
        log.error("ssh connection failed", exc_info=fault)
