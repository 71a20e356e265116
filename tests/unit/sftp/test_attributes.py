"""Attributes in both directions."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.path import VirtualPath
from server.sftp import wire
from server.sftp.attributes import attributes_of, long_name, read_attributes
from server.sftp.wire import MalformedPacketError, Reader
from server.vfs.entry import Attributes, Changes, Entry, entry_of

NS = 1_000_000_000
MAY_2033_S = 2_000_000_000


def entry(name: str = "a.txt", *, mtime_ns: int = 0, is_folder: bool = False) -> Entry:
    found = Attributes(
        is_folder=is_folder,
        size=1234,
        mode=0o640,
        mtime_ns=mtime_ns,
        atime_ns=0,
        ctime_ns=0,
        inode=1,
    )
    return entry_of(VirtualPath(("private", name)), found)


def read(flags: int, body: bytes) -> Changes:
    reader = Reader(memoryview(wire.u32(flags) + body))
    changes = read_attributes(reader)
    reader.end()
    return changes


def test_owner_and_group_are_read_and_ignored() -> None:
    """Clients send them along with the mode; the mode must still arrive."""
    body = wire.u32(1000) + wire.u32(1000) + wire.u32(0o100755)

    assert read(0x2 | 0x4, body) == Changes(mode=0o755)


def test_times_come_in_seconds_and_go_on_in_nanoseconds() -> None:
    """`put -p` keeps the time of a file."""
    changes = read(0x8, wire.u32(5) + wire.u32(7))

    assert changes == Changes(atime_ns=5 * NS, mtime_ns=7 * NS)


def test_unknown_flags_are_malformed() -> None:
    """Their fields have a length that only a later version knows."""
    with pytest.raises(MalformedPacketError):
        read(0x10, b"")


def test_a_count_of_extensions_costs_nothing_by_itself() -> None:
    """Four billion announced pairs end at the packet's end."""
    with pytest.raises(MalformedPacketError):
        read(0x80000000, wire.u32(0xFFFFFFFF))


@given(st.binary(max_size=100))
def test_any_bytes_are_attributes_or_malformed(body: bytes) -> None:
    """Nothing else is raised."""
    with suppress(MalformedPacketError):
        read_attributes(Reader(memoryview(body)))


def test_times_outside_the_protocol_are_clamped() -> None:
    """Version 3 has unsigned 32-bit seconds; a file from 1901 must not break `ls`."""
    sent = attributes_of(entry(mtime_ns=-NS))

    assert sent[-4:] == wire.u32(0)


@pytest.mark.parametrize(
    ("mtime_s", "has_year"), [(MAY_2033_S - 3600, False), (MAY_2033_S - 10**8, True)]
)
def test_long_names_look_like_ls(mtime_s: int, *, has_year: bool) -> None:
    """FileZilla and others read these lines."""
    line = long_name(
        "a.txt",
        entry(mtime_ns=mtime_s * NS, is_folder=True),
        owner="alice",
        now_s=MAY_2033_S,
    )

    mode, links, owner, group, size, _month, _day, when, name = line.split()
    assert (mode, links, owner, group, size) == (
        "drw-r-----",
        "1",
        "alice",
        "kagikura",
        "1234",
    )
    assert (":" not in when) is has_year
    assert name == "a.txt"
