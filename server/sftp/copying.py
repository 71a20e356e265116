"""copy-data: a part of one open file into another, without a way over the wire.

draft-ietf-secsh-filexfer-extensions-00, section 7, as OpenSSH serves it: never within
one file. It goes on in steps, so that a long one keeps nobody waiting for an answer.
"""

from collections.abc import Iterator
from typing import Final

from server.sftp.operations import DONE, Context, Reply
from server.sftp.wire import Reader

_STEP_BYTES: Final = 1 << 30
"""More than the store copies at a time."""


def copy_steps(context: Context, packet: Reader) -> Iterator[None]:
    """Read the request, then copy a piece with each step."""
    source_name, offset, length = packet.string(), packet.u64(), packet.u64()
    target_name, to = packet.string(), packet.u64()
    packet.end()
    source = context.handles.file(source_name)
    target = context.handles.file(target_name)
    endless, left = not length, length
    while endless or left:
        count = target.copy_from(
            source, offset, to, min(left or _STEP_BYTES, _STEP_BYTES)
        )
        if not count:
            return
        offset, to = offset + count, to + count
        left -= 0 if endless else count
        yield


def copy_data(context: Context, packet: Reader) -> Reply:
    """Do all steps at once."""
    for _ in copy_steps(context, packet):
        pass
    return DONE
