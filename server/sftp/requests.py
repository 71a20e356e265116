"""SFTP version 3 from packet to reply: bytes in, bytes out, no transport.

One table row per request: its name, its number on the wire, who handles it, whether it
changes the store. What is advertised comes from the same table. Every malformed packet
ends the session; every other failure is a STATUS reply.
"""

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, ParamSpec, TypeVar

from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_FSETSTAT,
    CMD_FSTAT,
    CMD_INIT,
    CMD_LSTAT,
    CMD_MKDIR,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_READLINK,
    CMD_REALPATH,
    CMD_REMOVE,
    CMD_RENAME,
    CMD_RMDIR,
    CMD_SETSTAT,
    CMD_STAT,
    CMD_STATUS,
    CMD_SYMLINK,
    CMD_VERSION,
    CMD_WRITE,
    SFTP_FAILURE,
    SFTP_OP_UNSUPPORTED,
)

from server.model.clock import Clock
from server.model.errors import AuditUnavailableError, ServerError
from server.settings.schema import SftpSettings
from server.sftp import copying, operations, wire
from server.sftp.handles import Handles
from server.sftp.operations import Context, Reply
from server.sftp.status import status_body, status_of
from server.sftp.train import Train
from server.sftp.wire import MalformedPacketError, Reader
from server.vfs.view import View

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

VERSION: Final = 3
_HEAD: Final = struct.Struct(">IBI")
_TYPE_AND_ID_BYTES: Final = 5
_DATA_HEAD: Final = struct.Struct(">IBII")
"""Of a DATA reply: length, type, id, length of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One row: a request that is understood."""

    name: str
    number: int
    """Its type on the wire; CMD_EXTENDED for extensions, which go by name."""
    handle: Callable[[Context, Reader], Reply]
    writes: bool = False
    """Whether it can change the store."""
    version: str = ""
    """An extension's version as advertised; empty: served, not advertised."""
    steps: Callable[[Context, Reader], Iterator[None]] | None = None
    """The same as `handle` in steps, for what may take long."""


def _plain(
    name: str,
    number: int,
    handle: Callable[[Context, Reader], Reply],
    *,
    writes: bool = False,
) -> Request:
    return Request(name=name, number=number, handle=handle, writes=writes)


def _extension(
    name: str,
    version: str,
    handle: Callable[[Context, Reader], Reply],
    *,
    writes: bool = False,
) -> Request:
    return Request(
        name=f"{name}@openssh.com",
        number=CMD_EXTENDED,
        handle=handle,
        writes=writes,
        version=version,
    )


TABLE: Final = (
    _plain("open", CMD_OPEN, operations.open_file, writes=True),
    _plain("close", CMD_CLOSE, operations.close, writes=True),
    _plain("read", CMD_READ, operations.read),
    _plain("write", CMD_WRITE, operations.write, writes=True),
    _plain("lstat", CMD_LSTAT, operations.stat),
    _plain("fstat", CMD_FSTAT, operations.fstat),
    _plain("setstat", CMD_SETSTAT, operations.setstat, writes=True),
    _plain("fsetstat", CMD_FSETSTAT, operations.fsetstat, writes=True),
    _plain("opendir", CMD_OPENDIR, operations.opendir),
    _plain("readdir", CMD_READDIR, operations.readdir),
    _plain("remove", CMD_REMOVE, operations.remove, writes=True),
    _plain("mkdir", CMD_MKDIR, operations.mkdir, writes=True),
    _plain("rmdir", CMD_RMDIR, operations.rmdir, writes=True),
    _plain("realpath", CMD_REALPATH, operations.realpath),
    _plain("stat", CMD_STAT, operations.stat),
    _plain("rename", CMD_RENAME, operations.rename, writes=True),
    _plain("readlink", CMD_READLINK, operations.readlink),
    _plain("symlink", CMD_SYMLINK, operations.symlink, writes=True),
    _extension("posix-rename", "1", operations.posix_rename, writes=True),
    _extension("statvfs", "2", operations.statvfs),
    _extension("fstatvfs", "2", operations.fstatvfs),
    _extension("fsync", "1", operations.fsync, writes=True),
    _extension("limits", "1", operations.limits),
    _extension("lsetstat", "1", operations.setstat, writes=True),
    Request(
        name="copy-data",
        number=CMD_EXTENDED,
        handle=copying.copy_data,
        writes=True,
        version="1",
        steps=copying.copy_steps,
    ),
    _extension("hardlink", "", operations.symlink, writes=True),
)

_BY_NUMBER: Final = {row.number: row for row in TABLE if row.number != CMD_EXTENDED}
_BY_NAME: Final = {row.name: row for row in TABLE if row.number == CMD_EXTENDED}


class Job(NamedTuple):
    """A request that goes on in steps."""

    row: Request
    request_id: int
    steps: Iterator[Reply | None]


class Requests:
    """Answers the requests of one channel, in the order they come."""

    def __init__(self, view: View, *, settings: SftpSettings, clock: Clock) -> None:
        """Serve `view`, which channels of one session share."""
        self._context = Context(
            view=view,
            handles=Handles(settings.handles_max),
            settings=settings,
            owner=view.session.actor.login or "kagikura",
            clock=clock,
        )
        self._greeted = False
        self._job: Job | None = None
        self.ended = False
        """Whether the session must end after the replies given so far."""

    @property
    def handles_open(self) -> int:
        """How many files and folders are open."""
        return len(self._context.handles)

    def answer(self, packet: memoryview) -> bytes:
        """Do what a packet asks for.

        Args:
            packet: From its type on, without the length field.

        Returns:
            The whole reply, length field included.

        Raises:
            MalformedPacketError: Not a packet of version 3; nothing was done.
        """
        reader = Reader(packet)
        number = reader.byte()
        if not self._greeted:
            return self._greet(number, reader)
        if number == CMD_INIT:
            raise MalformedPacketError("a second INIT")
        request_id = reader.u32()
        row = _row(number, reader)
        if row is None:
            return _reply(request_id, _UNSUPPORTED)
        return _reply(request_id, self._fence(row, row.handle, self._context, reader))

    def reply(self, packet: memoryview, out: Train) -> None:
        """As `answer`, laid into a train that has room for the longest reply.

        The content that a READ asks for goes from the file right to its place there.

        Raises:
            MalformedPacketError: Not a packet of version 3; nothing was done.
        """
        if self._greeted and packet[0] == CMD_READ:
            self._read(packet, out)
        elif self._greeted and packet[0] == CMD_EXTENDED and self._begin(packet):
            self.go_on(out)
        else:
            out.add(self.answer(packet))

    @property
    def busy(self) -> bool:
        """Whether a request goes on in steps; no other may be answered before it."""
        return self._job is not None

    def go_on(self, out: Train) -> None:
        """Do one step of what is going on; its reply comes with the last.

        Raises:
            MalformedPacketError: The request was not what it said.
        """
        job = self._job
        if job is None:
            return
        reply = self._fence(job.row, next, job.steps, operations.DONE)
        if reply is not None:
            self._job = None
            out.add(_reply(job.request_id, reply))

    def _begin(self, packet: memoryview) -> bool:
        """Whether a request is one that goes on in steps; the first reads it."""
        reader = Reader(packet)
        reader.byte()
        request_id = reader.u32()
        row = _BY_NAME.get(reader.text())
        if row is None or row.steps is None:
            return False
        self._job = Job(row, request_id, row.steps(self._context, reader))
        return True

    def _read(self, packet: memoryview, out: Train) -> None:
        reader = Reader(packet)
        reader.byte()
        request_id, count = reader.u32(), 0
        begin = out.used + _DATA_HEAD.size

        def read() -> Reply:
            nonlocal count
            wish = operations.read_wish(self._context, reader)
            count = wish.file.read_into(wish.offset, out.gaps(begin, wish.length))
            return operations.END

        reply = self._fence(_BY_NUMBER[CMD_READ], read)
        if not count:
            out.add(_reply(request_id, reply))
            return
        length = _DATA_HEAD.size - wire.LENGTH_BYTES + count
        out.extend(_DATA_HEAD.pack(length, CMD_DATA, request_id, count), count)

    def close(self) -> None:
        """The channel is gone: what is open is aborted. A second call does nothing."""
        self._job = None
        self._context.handles.abort_all()

    def _greet(self, number: int, packet: Reader) -> bytes:
        """SSH_FXP_INIT (section 4): the client's extensions are read, none is used."""
        if number != CMD_INIT:
            raise MalformedPacketError(f"request {number} before INIT")
        packet.u32()
        while packet.more():
            packet.string()
            packet.string()
        self._greeted = True
        reply = bytes([CMD_VERSION]) + wire.u32(VERSION)
        for row in TABLE:
            if row.version:
                reply += wire.text(row.name) + wire.text(row.version)
        return wire.string(reply)

    def _fence(
        self, row: Request, handle: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | Reply:
        try:
            return handle(*args, **kwargs)
        except MalformedPacketError:
            raise
        except ServerError as error:
            # Nothing can be done here until the trail can be written again.
            self.ended = self.ended or isinstance(error, AuditUnavailableError)
            return CMD_STATUS, (status_of(error),)
        except Exception:
            log.exception(
                "sftp request failed",
                extra={"request": row.name, "writes": row.writes},
            )
            return CMD_STATUS, (status_body(SFTP_FAILURE, "Internal error."),)


_UNSUPPORTED: Final[Reply] = (
    CMD_STATUS,
    (status_body(SFTP_OP_UNSUPPORTED, "This server does not know that request."),),
)


def _reply(request_id: int, reply: Reply) -> bytes:
    kind, parts = reply
    length = _TYPE_AND_ID_BYTES + sum(map(len, parts))
    return b"".join((_HEAD.pack(length, kind, request_id), *parts))


def _row(number: int, packet: Reader) -> Request | None:
    if number == CMD_EXTENDED:
        return _BY_NAME.get(packet.text())
    return _BY_NUMBER.get(number)
