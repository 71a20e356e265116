"""An open file: its bytes, its record, and what happens when it ends."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from server.audit.extents import Extents
from server.model.clock import Clock
from server.model.errors import (
    HandleError,
    LimitError,
    ServerError,
)
from server.model.event import Fields, Json
from server.model.operation import Outcome
from server.storage.port import Changes, StoredFile
from server.vfs.digest import Digest
from server.vfs.entry import Entry, entry_of
from server.vfs.opened import Opening

PROGRESS_BYTES: Final = 64 * 1024 * 1024
PROGRESS_NS: Final = 10_000_000_000
_OFFSET_MAX: Final = 2**53  # what a record can tell exactly (RFC 8785)


class OpenFile:
    """One handle of one session. Positioned reads and writes; closes once."""

    def __init__(
        self, opening: Opening, *, clock: Clock, closed: Callable[["OpenFile"], None]
    ) -> None:
        """Take over an act that has begun; `closed` is called once at the end."""
        self._at = opening
        self._clock = clock
        self._closed = closed
        self._open = True
        self._staged = opening.publish is not None
        # Guards all below and the descriptor's life. Taken before the view's.
        self._lock = threading.Lock()
        self._reads = Extents()
        self._writes = Extents()
        self._digest = Digest(wanted=opening.hashed)
        self._changed: dict[str, Json] = {}
        self._broken: ServerError | None = None
        self._told_bytes = 0
        self._told_ns = clock.mono_ns()

    @property
    def entry(self) -> Entry:
        """What the file is now."""
        with self._lock:
            self._require_open()
            return entry_of(self._at.place.path, self._at.file.attributes())

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; empty at the end.

        Raises:
            HandleError: Closed, or opened for writing only.
            SessionCutError: The session was cut meanwhile.
        """
        with self._lock:
            self._require_readable(offset, length)
            data = self._at.file.read_at(offset, length)
            if self.hashes_reads:
                self._digest.add(offset, data)
            self._was_read(offset, len(data))
            return data

    def read_into(self, offset: int, places: Sequence[memoryview]) -> int:
        """Fill `places` one after the other from `offset`; how many bytes came.

        Raises:
            HandleError: Closed, or opened for writing only.
            SessionCutError: The session was cut meanwhile.
        """
        with self._lock:
            self._require_readable(offset, sum(map(len, places)))
            count = self._at.file.read_into(offset, places)
            if self.hashes_reads:
                at = offset
                for block in _filled(places, count):
                    self._digest.add(at, block)
                    at += len(block)
            self._was_read(offset, count)
            return count

    @property
    def hashes_reads(self) -> bool:
        """Whether what is read must be looked at, so that `lend` will not do."""
        return self._digest.stands and not self._at.writable

    def write_at(
        self, offset: int, data: bytes | bytearray | memoryview, *, kept: bool = False
    ) -> None:
        """All of `data` at `offset`; at the end when opened to append.

        After a write that failed the file is not what the client sent, so its close
        fails too, and what was staged is not published.

        Args:
            offset: Where.
            data: What.
            kept: Nobody changes `data` until the next write or the close.

        Raises:
            HandleError: Closed, or opened for reading only.
            SessionCutError: The session was cut meanwhile.
            StorageFullError: No room; what came before stays.
        """
        with self._lock:
            if not self._at.writable:
                raise HandleError("The file was not opened for writing.")
            try:
                self._write(offset, data, kept=kept)
            except ServerError as error:
                self._broken = self._broken or error
                raise

    def copy_from(self, source: "OpenFile", offset: int, to: int, length: int) -> int:
        """Copy up to `length` bytes of another open file; 0 at its end.

        They are in the records of both. What was copied is hashed for neither: it did
        not go by.

        Args:
            source: Open for reading; another file than this one.
            offset: Where in it to begin.
            to: Where in this one; its end when it was opened to append.
            length: At most this many; some megabytes come at a time.

        Raises:
            HandleError: Closed, the wrong way round, or a copy into itself.
            SessionCutError: The session was cut meanwhile.
            StorageFullError: No room; what came before stays.
        """
        if source is self:
            raise HandleError("A file cannot be copied into itself.")
        with self._lock:  # nobody else takes two of them
            if not self._at.writable:
                raise HandleError("The file was not opened for writing.")
            self._require_open()
            return source.lend(
                offset, length, lambda file: self._fill(file, offset, to, length)
            )

    def lend(self, offset: int, length: int, take: Callable[[StoredFile], int]) -> int:
        """Let `take` read up to `length` bytes from `offset`; how many it did.

        It must not wait for others: an error of it is raised, and nothing was read.

        Raises:
            HandleError: Closed, or opened for writing only.
            SessionCutError: The session was cut meanwhile.
        """
        with self._lock:
            self._require_readable(offset, length)
            count = take(self._at.file)
            self._digest.give_up()
            self._reads.add(offset, count)
            self._tell_progress()
            return count

    def _fill(self, source: StoredFile, offset: int, to: int, length: int) -> int:
        here = self._at.file
        if source.attributes().inode == here.attributes().inode:
            raise HandleError("A file cannot be copied into itself.")
        if self._at.append:
            to = here.attributes().size
        require_offset(to, length)
        self._digest.give_up()
        try:
            count = here.copy_from(source, offset, to, length)
        except ServerError as error:
            self._broken = self._broken or error
            raise
        self._writes.add(to, count)
        self._tell_progress()
        return count

    def expect(self, length: int) -> None:
        """Make room for `length` bytes before they come; without it there is no act.

        Raises:
            QuotaRefusedError: They do not fit; the file is given up.
        """
        try:
            self._at.file.expect(length)
        except ServerError as error:
            self.fail(error)
            raise

    def flush(self) -> None:
        """Bring what was written to the disk (fsync@openssh.com).

        The kernel tells of lost pages once, and a second `fsync` succeeds: so the close
        of a file whose sync failed fails too.
        """
        with self._lock:
            self._require_open()
            try:
                self._at.file.sync()
            except ServerError as error:
                self._broken = self._broken or error
                raise

    def change(self, changes: Changes) -> None:
        """Set attributes of the open file; they are told in its outcome."""
        with self._lock:
            self._require_open()
            if not self._at.writable:
                raise HandleError("The file was not opened for writing.")
            if changes.size is not None:
                require_offset(changes.size, 0)
                self._digest.give_up()
            self._at.file.change(changes)
            self._changed |= changes_detail(changes)
            self._at.act.note(detail={"changes": {**self._changed}})

    def close(self) -> None:
        """End cleanly: content on the disk, in place, outcome on record.

        Raises:
            ServerError: What failed; a staged file was not published.
        """
        with self._lock:
            if not self._open:
                raise HandleError("The file is closed.")
            self._open = False
            try:
                self._commit()
            except BaseException as error:
                self._drop(error)
                raise
            finally:
                self._closed(self)

    def abort(self, reason: str) -> None:
        """End uncleanly, by a lost connection for instance; never raises twice.

        Args:
            reason: For the trail, such as `connection_lost`; a write that failed
                before says more.
        """
        self._end(lambda: self._drop(self._broken, reason))

    def fail(self, error: ServerError) -> None:
        """End with the error that made going on pointless."""
        self._end(lambda: self._drop(error))

    def _end(self, drop: Callable[[], None]) -> None:
        with self._lock:
            if not self._open:
                return
            self._open = False
            try:
                drop()
            finally:
                self._closed(self)

    def _require_readable(self, offset: int, length: int) -> None:
        self._require_open()
        if not self._at.readable:
            raise HandleError("The file was not opened for reading.")
        require_offset(offset, length)

    def _was_read(self, offset: int, count: int) -> None:
        self._reads.add(offset, count)
        self._tell_progress()

    def _write(
        self, offset: int, data: bytes | bytearray | memoryview, *, kept: bool
    ) -> None:
        self._require_open()
        if self._at.append:
            offset = self._at.file.attributes().size
        require_offset(offset, len(data))
        self._at.file.write_at(offset, data)
        self._writes.add(offset, len(data))
        self._digest.add(offset, data, kept=kept)
        self._tell_progress()

    def _commit(self) -> None:
        at = self._at
        if self._broken is not None:
            raise self._broken
        at.session.require_live()
        if at.writable:
            at.permitted()
        facts = self._facts()
        # Where one of these fails, `_drop` closes the file, once it has asked its size.
        # Content without one byte written needs no sync, unless it is staged.
        if at.writable and at.sync:
            at.file.sync()
        if at.publish is not None:
            at.publish()
            self._staged = False
        at.file.close()
        at.act.note(**facts)
        at.act.close(Outcome.DONE, wait=at.writable)

    def _drop(self, error: BaseException | None, reason: str = "") -> None:
        at = self._at
        facts = self._facts(whole=False)
        try:
            at.file.close()
            if at.discard is not None and self._staged:
                at.discard()
        finally:
            at.act.note(**facts)
            if error is not None:
                at.act.fail(error)
            else:
                at.act.close(Outcome.ABORTED, reason=reason)

    def _facts(self, *, whole: bool = True) -> Fields:
        moved = self._writes if self._at.writable else self._reads
        facts: Fields = {"bytes": moved.bytes, "ranges": moved.ranges()}
        if self._at.writable and self._reads.bytes:
            facts["detail"] = {"read_bytes": self._reads.bytes}
        try:
            size = self._at.file.attributes().size
        except ServerError:
            return facts
        facts["size"] = size
        if whole and (sha256 := self._digest.of(size)):
            facts["sha256"] = sha256
        return facts

    def _tell_progress(self) -> None:
        moved = self._reads.bytes + self._writes.bytes
        if moved - self._told_bytes < PROGRESS_BYTES:
            now = self._clock.mono_ns()
            if now - self._told_ns < PROGRESS_NS:
                return
        self._told_bytes = moved
        self._told_ns = self._clock.mono_ns()
        extents = self._writes if self._at.writable else self._reads
        self._at.act.progress(bytes=extents.bytes, ranges=extents.ranges())

    def _require_open(self) -> None:
        if not self._open:
            raise HandleError("The file is closed.")
        self._at.session.require_live()
        try:
            self._at.permitted()
        except ServerError as error:
            # The handle is of no use any more, and the trail says why.
            self._open = False
            try:
                self._drop(error)
            finally:
                self._closed(self)
            raise
        self._at.running()


def changes_detail(changes: Changes) -> dict[str, Json]:
    """The attributes to set, as a record tells them.

    Times are nanoseconds as text: numbers of that size are not exact for every reader
    of JSON (RFC 8785, section 3.2.2.3).
    """
    told: dict[str, Json] = {}
    if changes.size is not None:
        told["size"] = changes.size
    if changes.mode is not None:
        told["mode"] = changes.mode
    if changes.atime_ns is not None:
        told["atime_ns"] = str(changes.atime_ns)
    if changes.mtime_ns is not None:
        told["mtime_ns"] = str(changes.mtime_ns)
    return told


def _filled(places: Sequence[memoryview], count: int) -> Iterator[memoryview]:
    """The parts of `places` that the first `count` bytes went to."""
    for place in places:
        if count <= 0:
            return
        yield place[:count]
        count -= len(place)


def require_offset(offset: int, length: int) -> None:
    """Return when a file may reach so far.

    Raises:
        LimitError: No record could tell it exactly.
    """
    if offset + length > _OFFSET_MAX:
        raise LimitError("The file would be too large.", rule="offset")
