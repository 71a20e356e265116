"""What each SFTP request does: translate in, call the view, translate out.

Every function here handles one kind of request (filexfer-02, section 6; OpenSSH's
PROTOCOL, section 4). It reads the packet to its end before it does anything, so that
a malformed packet has no effect (`write` tells of the one exception). Paths go to the
view as they came, made absolute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from paramiko.sftp import (
    CMD_ATTRS,
    CMD_DATA,
    CMD_EXTENDED_REPLY,
    CMD_HANDLE,
    CMD_NAME,
    CMD_STATUS,
    SFTP_EOF,
    SFTP_FLAG_APPEND,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_EXCL,
    SFTP_FLAG_READ,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    SFTP_OP_UNSUPPORTED,
)

from server.model import path as model_path
from server.model.clock import Clock
from server.model.errors import LimitError, LinkRefusedError
from server.model.operation import Operation
from server.settings.schema import SftpSettings
from server.sftp import wire
from server.sftp.attributes import (
    ATTRIBUTES_BYTES,
    NO_ATTRIBUTES,
    attributes_of,
    long_name,
    read_attributes,
)
from server.sftp.handles import FileHandle, Handles, Listing
from server.sftp.status import OK, status_body
from server.sftp.wire import Reader
from server.vfs.entry import Changes, Disposition, Space
from server.vfs.handle import OpenFile
from server.vfs.view import View

DATA_BYTES_MAX: Final = 255 * 1024
"""Longest READ answered and WRITE announced; OpenSSH's own figure."""
LISTING_BYTES_MAX: Final = 100_000
_REPLY_HEAD_BYTES: Final = 1024

_PFLAGS: Final = (
    SFTP_FLAG_READ
    | SFTP_FLAG_WRITE
    | SFTP_FLAG_APPEND
    | SFTP_FLAG_CREATE
    | SFTP_FLAG_TRUNC
    | SFTP_FLAG_EXCL
)

Reply = tuple[int, tuple[bytes, ...]]
"""The type of a reply and what follows its id."""

DONE: Final[Reply] = (CMD_STATUS, (OK,))
END: Final[Reply] = (CMD_STATUS, (status_body(SFTP_EOF, "End of file"),))


@dataclass(slots=True, kw_only=True)
class Context:
    """What the requests of one channel share."""

    view: View
    handles: Handles
    settings: SftpSettings
    owner: str
    clock: Clock

    @property
    def data_bytes_max(self) -> int:
        """The longest file content in one packet."""
        return min(DATA_BYTES_MAX, self.settings.packet_bytes_max - _REPLY_HEAD_BYTES)

    def path(self, packet: Reader) -> str:
        """Read a path and make it absolute."""
        return model_path.absolute(packet.text(), self.view.home)


def open_file(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_OPEN (6.3)."""
    raw = context.path(packet)
    pflags = packet.u32()
    wanted = read_attributes(packet)
    packet.end()
    if pflags & ~_PFLAGS:
        return CMD_STATUS, (status_body(SFTP_OP_UNSUPPORTED, "Unknown open flags."),)
    writes = pflags & ~SFTP_FLAG_READ
    _require_room(context, Operation.WRITE if writes else Operation.READ, raw)
    if writes:
        # Of the attributes only the mode: a size here would cut or stretch the file.
        file = context.view.open_write(
            raw, _disposition(pflags), Changes(mode=wanted.mode)
        )
    else:
        file = context.view.open_read(raw)
    return CMD_HANDLE, (wire.string(context.handles.add(FileHandle(raw, file))),)


def close(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_CLOSE (6.3): an error here says that the content is not safe."""
    name = packet.string()
    packet.end()
    opened = context.handles.remove(name)
    if isinstance(opened, FileHandle):
        opened.file.close()
    return DONE


class Wish(NamedTuple):
    """What a READ asks for."""

    file: OpenFile
    offset: int
    length: int
    """As long as a reply can be, whatever the client wishes."""


def read_wish(context: Context, packet: Reader) -> Wish:
    """Read the fields of SSH_FXP_READ (6.4)."""
    name, offset, length = packet.string(), packet.u64(), packet.u32()
    packet.end()
    file = context.handles.file(name)
    return Wish(file, offset, min(length, context.data_bytes_max))


def read(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_READ (6.4)."""
    wish = read_wish(context, packet)
    content = wish.file.read_at(wish.offset, wish.length)
    if not content:
        return END
    return CMD_DATA, (wire.u32(len(content)), content)


def write(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_WRITE (6.4).

    Alone among the requests it may be longer than its fields: Go's pkg/sftp of 2022
    (Debian's rclone) sends its whole buffer behind the length of what is in it. The
    length is binding, what follows is dropped, as OpenSSH does.
    """
    name, offset, content = packet.string(), packet.u64(), packet.string()
    context.handles.file(name).write_at(offset, content)
    return DONE


def stat(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_STAT and SSH_FXP_LSTAT (6.8): without links they are the same."""
    raw = context.path(packet)
    packet.end()
    return CMD_ATTRS, (attributes_of(context.view.stat(raw)),)


def fstat(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_FSTAT (6.8)."""
    name = packet.string()
    packet.end()
    return CMD_ATTRS, (attributes_of(context.handles.file(name).entry),)


def setstat(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_SETSTAT (6.9) and lsetstat@openssh.com."""
    raw = context.path(packet)
    changes = read_attributes(packet)
    packet.end()
    context.view.set_attributes(raw, changes)
    return DONE


def fsetstat(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_FSETSTAT (6.9)."""
    name = packet.string()
    changes = read_attributes(packet)
    packet.end()
    context.handles.file(name).change(changes)
    return DONE


def opendir(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_OPENDIR (6.7)."""
    raw = context.path(packet)
    packet.end()
    _require_room(context, Operation.LIST, raw)
    listing = Listing(raw, chain.from_iterable(context.view.batches(raw)))
    return CMD_HANDLE, (wire.string(context.handles.add(listing)),)


def readdir(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_READDIR (6.7): as many entries as fit in a reply."""
    handle = packet.string()
    packet.end()
    listing = context.handles.listing(handle)
    room = min(LISTING_BYTES_MAX, context.data_bytes_max)
    now_s = context.clock.time_us() // 1_000_000
    charset = context.view.session.actor.charset
    lines: list[bytes] = []
    for name, found in listing:
        shown = long_name(name, found, owner=context.owner, now_s=now_s)
        line = wire.string(charset.written(name)) + wire.string(charset.written(shown))
        room -= len(line) + ATTRIBUTES_BYTES
        if room < 0:
            listing.put_back(name, found)
            break
        lines += (line, attributes_of(found))
    if not lines:
        return END
    return CMD_NAME, (wire.u32(len(lines) // 2), *lines)


def remove(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_REMOVE (6.5)."""
    return _on_path(context, packet, context.view.delete)


def mkdir(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_MKDIR (6.6); the attributes are read and not applied."""
    raw = context.path(packet)
    read_attributes(packet)
    packet.end()
    context.view.make_folder(raw)
    return DONE


def rmdir(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_RMDIR (6.6)."""
    return _on_path(context, packet, context.view.remove_folder)


def rename(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_RENAME (6.5): "It is an error if there already exists a file"."""
    return _rename(context, packet, overwrite=False)


def posix_rename(context: Context, packet: Reader) -> Reply:
    """posix-rename@openssh.com: replaces a file that is there.

    As rename(2), it does not put a file in the place of a folder with all its files;
    an empty folder has to be removed first, too.
    """
    return _rename(context, packet, overwrite=True)


def realpath(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_REALPATH (6.11): lexical, for the store has no links."""
    raw = context.path(packet)
    packet.end()
    if ".." in raw.split("/") or len(raw) > model_path.PATH_BYTES_MAX:
        # Climbs above the root, or no reply could hold it: refused, and recorded.
        context.view.stat(raw)
    name = wire.text(raw)
    return CMD_NAME, (wire.u32(1), name, name, NO_ATTRIBUTES)


def readlink(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_READLINK (6.10): there is none to read."""
    raw = context.path(packet)
    packet.end()
    context.view.refuse(Operation.SYMLINK, raw, LinkRefusedError())


def symlink(context: Context, packet: Reader) -> Reply:
    """SSH_FXP_SYMLINK (6.10), hardlink@openssh.com: refused.

    Clients send the target first, as OpenSSH does, and not as the draft has it.
    """
    target = packet.text()
    raw = context.path(packet)
    packet.end()
    # One that is over-long, or no UTF-8, is shown as well as it can be.
    shown = target.encode(errors="backslashreplace").decode()
    context.view.refuse(
        Operation.SYMLINK,
        raw,
        LinkRefusedError(),
        detail={"points_to": shown[: model_path.PATH_BYTES_MAX]},
    )


def statvfs(context: Context, packet: Reader) -> Reply:
    """statvfs@openssh.com."""
    raw = context.path(packet)
    packet.end()
    return CMD_EXTENDED_REPLY, (_space(context.view.space(raw)),)


def fstatvfs(context: Context, packet: Reader) -> Reply:
    """fstatvfs@openssh.com."""
    name = packet.string()
    packet.end()
    raw = context.handles.find(name).raw
    return CMD_EXTENDED_REPLY, (_space(context.view.space(raw)),)


def fsync(context: Context, packet: Reader) -> Reply:
    """fsync@openssh.com."""
    name = packet.string()
    packet.end()
    context.handles.file(name).flush()
    return DONE


def limits(context: Context, packet: Reader) -> Reply:
    """limits@openssh.com: longest packet, READ and WRITE, and how many handles."""
    packet.end()
    bounds = (
        context.settings.packet_bytes_max,
        context.data_bytes_max,
        context.data_bytes_max,
        context.settings.handles_max,
    )
    return CMD_EXTENDED_REPLY, (b"".join(map(wire.u64, bounds)),)


def _require_room(context: Context, operation: Operation, raw: str) -> None:
    """Return when one more handle may be opened; the refusal is on record."""
    try:
        context.handles.require_room()
    except LimitError as error:
        context.view.refuse(operation, raw, error)


def _disposition(pflags: int) -> Disposition:
    return Disposition(
        read=bool(pflags & SFTP_FLAG_READ),
        create=bool(pflags & SFTP_FLAG_CREATE),
        exclusive=bool(pflags & SFTP_FLAG_EXCL),
        truncate=bool(pflags & SFTP_FLAG_TRUNC),
        append=bool(pflags & SFTP_FLAG_APPEND),
    )


def _on_path(context: Context, packet: Reader, act: Callable[[str], None]) -> Reply:
    raw = context.path(packet)
    packet.end()
    act(raw)
    return DONE


def _rename(context: Context, packet: Reader, *, overwrite: bool) -> Reply:
    raw = context.path(packet)
    target_raw = context.path(packet)
    packet.end()
    context.view.rename(raw, target_raw, overwrite=overwrite, folders=False)
    return DONE


def _space(space: Space) -> bytes:
    fields = (
        space.block_bytes,  # f_bsize
        space.block_bytes,  # f_frsize
        space.blocks,
        space.blocks_free,
        space.blocks_free,  # f_bavail
        space.files,
        space.files_free,
        space.files_free,  # f_favail
        0,  # f_fsid
        0,  # f_flag
        space.name_bytes_max,
    )
    return b"".join(map(wire.u64, fields))
