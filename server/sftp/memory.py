"""Memory that is taken from the system for one purpose and given back to it whole.

A private mapping: only pages that were touched count, and a dropped one is gone, where
a `bytearray` of that size may stay with the allocator for ever.
"""

import mmap
from contextlib import suppress


def block(size: int) -> memoryview:
    """Zeroed, writable bytes; given back when the last view of them is dropped."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        # One touched byte of a huge page would cost each idle session two mebibytes.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memoryview(memory)
