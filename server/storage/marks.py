"""Who has a file open for writing, told to all processes by the open file itself.

A handle marks one byte far behind every content, that of its login, for as long as it
is open. Who wants to lock, move or replace a file asks for all the other bytes: so own
handles are told from those of others, with two system calls, nothing written anywhere,
and nothing left behind by a process that dies (docs/adr/0025).
"""

import hashlib
from functools import lru_cache
from typing import Final

from server.model.errors import LockedError
from server.storage import ranges

_BASE: Final = 1 << 62
_END: Final = (1 << 63) - 2
"""The kernel's last offset is one more; a range that ends there would be open-ended."""
WAIT_S: Final = 5.0

_Range = tuple[int, int]


@lru_cache(maxsize=4096)
def _byte_of(login_id: str) -> int:
    digest = hashlib.sha256(login_id.encode()).digest()
    return _BASE + 1 + int.from_bytes(digest[:8], "big") % (_END - _BASE - 2)


def _others(login_id: str) -> tuple[_Range, _Range]:
    own = _byte_of(login_id)
    return (_BASE, own - _BASE), (own + 1, _END - own)


def mark(fd: int, login_id: str) -> None:
    """Tell that `login_id` has the file open for writing, until `fd` is closed.

    Raises:
        TimeoutError: Somebody is taking the file away all the time.
        OSError: As the kernel says.
    """
    ranges.wait(fd, ranges.READ, (_byte_of(login_id), 1), seconds=WAIT_S)


def is_written(fd: int, login_id: str) -> bool:
    """Whether anybody but `login_id` has the file open for writing.

    Raises:
        OSError: As the kernel says.
    """
    return any(
        ranges.blocker(fd, ranges.WRITE, *others) == ranges.READ
        for others in _others(login_id)
    )


def keep_away(fd: int, login_id: str) -> None:
    """Nobody but `login_id` opens the file for writing until `fd` is closed.

    Args:
        fd: Open for writing.
        login_id: Who is about to take the file away.

    Raises:
        LockedError: Somebody has it open.
        TimeoutError: Others are taking it away all the time.
        OSError: As the kernel says.
    """

    def refuse() -> None:
        if is_written(fd, login_id):
            raise being_written()

    for others in _others(login_id):
        ranges.wait(fd, ranges.WRITE, others, seconds=WAIT_S, between=refuse)


def being_written() -> LockedError:
    """The refusal of who comes while another writes."""
    return LockedError(
        "Somebody else has it open for writing. Try again when it is closed.",
        rule="open_for_writing",
    )


def probe(fd: int) -> None:
    """Return when the file system keeps such marks.

    Raises:
        OSError: It does not.
    """
    ranges.take(fd, ranges.READ, _BASE, 1)
    ranges.take(fd, ranges.FREE, _BASE, 1)
