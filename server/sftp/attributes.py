"""File attributes of SFTP version 3 (filexfer-02, section 5), and `ls -l` lines."""

import stat
import struct
import time
from functools import lru_cache
from typing import Final

from server.sftp.wire import MalformedPacketError, Reader, u32
from server.vfs.entry import Attributes, Changes, Entry

SIZE: Final = 0x1
UIDGID: Final = 0x2
PERMISSIONS: Final = 0x4
ACMODTIME: Final = 0x8
EXTENDED: Final = 0x80000000
_KNOWN: Final = SIZE | UIDGID | PERMISSIONS | ACMODTIME | EXTENDED

GROUP: Final = "kagikura"
OWNER: Final = 0
NO_ATTRIBUTES: Final = u32(0)

_NS: Final = 1_000_000_000
_U32_MAX: Final = 0xFFFFFFFF
_SIX_MONTHS_S: Final = 182 * 86400
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_ENTRY: Final = struct.Struct(">IQIIIII")
ATTRIBUTES_BYTES: Final = _ENTRY.size
"""Of what `attributes_of` tells."""


def read_attributes(packet: Reader) -> Changes:
    """Read what a client wants set. Owner and group are read and ignored.

    Raises:
        MalformedPacketError: Cut short, or flags whose fields are not known.
    """
    flags = packet.u32()
    if flags & ~_KNOWN:
        raise MalformedPacketError(f"attribute flags {flags:#x}")
    size = packet.u64() if flags & SIZE else None
    if flags & UIDGID:
        packet.u32()
        packet.u32()
    mode = packet.u32() & 0o7777 if flags & PERMISSIONS else None
    atime_ns = packet.u32() * _NS if flags & ACMODTIME else None
    mtime_ns = packet.u32() * _NS if flags & ACMODTIME else None
    if flags & EXTENDED:
        for _ in range(packet.u32()):
            packet.string()
            packet.string()
    return Changes(size=size, mode=mode, atime_ns=atime_ns, mtime_ns=mtime_ns)


def attributes_of(entry: Entry | Attributes) -> bytes:
    """Tell size, owner, type with mode, and times.

    This store keeps no owners; one is told because OpenSSH's chown and sshfs's
    `idmap=user` ask for it, and it is the same for all.
    """
    return _ENTRY.pack(
        SIZE | UIDGID | PERMISSIONS | ACMODTIME,
        entry.size,
        OWNER,
        OWNER,
        _mode(entry),
        _seconds(entry.atime_ns),
        _seconds(entry.mtime_ns),
    )


def long_name(name: str, entry: Entry | Attributes, *, owner: str, now_s: int) -> str:
    """A line as `ls -l` writes it, which clients show (section 7).

    Args:
        name: Of what the line is about.
        entry: Its attributes.
        owner: Whom to name as the owner: the login.
        now_s: Seconds since 1970; older than six months shows the year.
    """
    return (
        f"{_permissions(_mode(entry))} {1:3} {owner:<8} {GROUP:<8} "
        f"{entry.size:>12} {_moment(entry.mtime_ns // _NS, now_s)} {name}"
    )


def _mode(entry: Entry | Attributes) -> int:
    return (stat.S_IFDIR if entry.is_folder else stat.S_IFREG) | entry.mode


def _seconds(time_ns: int) -> int:
    return min(max(time_ns // _NS, 0), _U32_MAX)


def _moment(time_s: int, now_s: int) -> str:
    time_s = min(max(time_s, 0), _U32_MAX)
    if now_s - _SIX_MONTHS_S < time_s <= now_s + 60:
        return _minute(time_s // 60)
    return _day(time_s // 60)


# What few of the files of a folder have of their own is worked out once.
_permissions = lru_cache(maxsize=64)(stat.filemode)


@lru_cache(maxsize=1024)
def _minute(minute: int) -> str:
    moment = time.localtime(minute * 60)
    hour = f"{moment.tm_hour:02}:{moment.tm_min:02}"
    return f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2} {hour}"


@lru_cache(maxsize=1024)
def _day(minute: int) -> str:
    moment = time.localtime(minute * 60)
    return f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2}  {moment.tm_year:4}"
