"""Compressing sealed segments that the DB holds, one at a time, in the background."""

import gzip
import logging
import os
import threading
from pathlib import Path
from typing import Final

from server.audit import segment
from server.audit.segment import Segment

log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 1 << 20
_LEVEL: Final = 6


class Packer:
    """The thread that packs; `look` tells it that there may be something to do."""

    def __init__(self, journal: Path) -> None:
        """Pack in all streams below `journal`."""
        self._journal = journal
        self._look = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._fence, name="audit-packer", daemon=True
        )

    def start(self) -> None:
        """Start the thread and have it look at once."""
        self._look.set()
        self._thread.start()

    def look(self) -> None:
        """Segments may have become recorded as a whole."""
        self._look.set()

    def close(self) -> None:
        """End the thread; a segment half packed stays plain."""
        self._stop.set()
        self._look.set()
        self._thread.join()

    def _fence(self) -> None:
        """The thread's top."""
        while not self._stop.is_set():
            self._look.wait()
            self._look.clear()
            try:
                self._pack_all()
            except OSError:
                log.warning("a journal segment could not be packed", exc_info=True)

    def _pack_all(self) -> None:
        for slot in segment.slots(self._journal):
            folder = self._journal / slot
            recorded = segment.read_recorded(folder).segment
            for found in segment.segments(folder):
                if self._stop.is_set() or found.first >= recorded:
                    break
                if not found.packed:
                    pack(found, self._stop)
                elif (plain := folder / segment.plain_name(found.first)).exists():
                    plain.unlink()  # a crash came between rename and unlink


def pack(sealed: Segment, stop: threading.Event) -> None:
    """Compress a segment durably, then remove the plain file.

    Args:
        sealed: A plain segment that is no longer written.
        stop: Give up when it is set; the plain segment stays.
    """
    packed = sealed.path.with_name(sealed.path.name + ".gz")
    draft = packed.with_name(packed.name + ".new")
    if not _compress(sealed.path, draft, stop):
        draft.unlink()
        return
    draft.rename(packed)
    segment.sync_folder(packed.parent)
    sealed.path.unlink()


def _compress(source: Path, draft: Path, stop: threading.Event) -> bool:
    with source.open("rb") as plain, draft.open("wb") as raw:
        os.fchmod(raw.fileno(), 0o600)
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0
        ) as packed:
            while block := plain.read(_BLOCK_BYTES):
                if stop.is_set():
                    return False
                packed.write(block)
        raw.flush()
        os.fsync(raw.fileno())
    return True
