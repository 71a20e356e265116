"""The journal: one process's stream of the trail, append-only and hash-chained.

It is the truth; the DB is its searchable index. A record is appended with one
write(2) under a lock; who must know it durable waits in `groupsync`. The first error
of a write or a sync that is not a full disk ends the journal for good: after a failed
fdatasync the kernel may call lost pages clean, so the process stops and a new one
starts from what the disk really holds.

Locks: `Journal._lock`, then `Reserve._lock` or `GroupSync._turn`; never the other way.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from server.audit import hashchain, recovery, segment, stream
from server.audit.groupsync import FAILED_TEXT, GroupSync
from server.audit.recovery import OpenAct, OpenActs, Tail
from server.audit.segment import Position
from server.audit.space import NO_ROOM, Level, Space
from server.audit.stream import Stamps
from server.model.clock import Clock
from server.model.errors import AuditUnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation
from server.settings.schema import AuditSettings

log = logging.getLogger(__name__)

_TICK_S: Final = 0.1
_MEASURE_S: Final = 0.25


class Journal:
    """The stream that this process alone writes. Thread-safe."""

    open_acts: list[OpenAct]
    """Intents without an outcome that the process before left behind."""

    def __init__(
        self,
        folder: Path,
        stamps: Stamps,
        *,
        settings: AuditSettings,
        on_failure: Callable[[], None],
        brief: bool,
    ) -> None:
        """Prepare; `open` is the way in."""
        self.folder = folder
        self.stream = stamps.stream
        self.failed = False
        self._stamps = stamps
        self._settings = settings
        self._on_failure = on_failure
        self._brief = brief
        self._lock_fd = -1
        self._lock = threading.Lock()  # Guards the next six. Order: see the module.
        self._fd = -1
        self._position = Position()
        self._hash = hashchain.GENESIS
        self._day = 0
        self._acts = OpenActs()
        self._retired: list[int] = []
        self._sync = GroupSync(self._flush)
        self._closing = threading.Event()
        self._keeper = threading.Thread(
            target=self._fence, name=f"journal-{folder.name}", daemon=True
        )

    @classmethod
    def open(  # noqa: PLR0913 - a stream is made of these
        cls,
        directory: Path,
        *,
        node: str,
        slot: str,
        clock: Clock,
        settings: AuditSettings,
        on_failure: Callable[[], None] = lambda: None,
        patience_s: float = 0,
        brief: bool = False,
    ) -> Self:
        """Take a stream over: lock it, repair its end, record the start.

        Args:
            directory: `state_dir/journal`.
            node: This machine's name.
            slot: The stream's folder: `worker-1`, `keeper`, `cli`.
            clock: For `time` and `mono_ns`.
            settings: Budgets and durability.
            on_failure: Called once, from any thread, when the journal can never be
                written again. It must not use the journal.
            patience_s: Seconds to wait for another writer to finish.
            brief: For a process that writes a record or two and goes (a command):
                its starts and stops are not told, but for the stream's first one.

        Raises:
            StreamBusyError: Another process writes this stream.
            JournalDamagedError: Durable records are missing or changed.
            AuditUnavailableError: The start cannot be recorded.
            OSError: The folder cannot be used.
        """
        folder = directory / slot
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = stream.take_lock(folder / segment.LOCK, patience_s)
        stamps = Stamps(node=node, slot=slot, clock=clock)
        journal = cls(
            folder, stamps, settings=settings, on_failure=on_failure, brief=brief
        )
        try:
            journal._begin(stream.start_detail(folder, node))
        except BaseException:
            os.close(lock_fd)
            raise
        journal._lock_fd = lock_fd
        journal._keeper.start()
        return journal

    def append(self, fields: Fields, *, essential: bool = False) -> int:
        """Chain a record and write it.

        Args:
            fields: All but what the journal adds itself: `id`, `time`, `mono_ns`,
                `boot`, `node`, `prev`, `hash`.
            essential: Take from the reserve when the disk is full (outcomes,
                refusals).

        Returns:
            Its seq, for `wait`.

        Raises:
            AuditUnavailableError: It is not written.
        """
        with self._lock:
            self._require_usable()
            if (
                self._position.offset >= self._settings.segment_bytes_max
                or self._stamps.day() != self._day
            ):
                self._roll()
            return self._write(fields, essential=essential)

    def wait(self, seq: int) -> None:
        """Return once the record `seq` is durable, as `audit.durability` means it.

        Raises:
            AuditUnavailableError: It may not be.
        """
        if self._settings.durability == "disk":
            self._sync.wait(seq)
        elif self.failed:
            raise AuditUnavailableError(FAILED_TEXT)

    def settle(self) -> None:
        """Make all that was appended durable on the disk.

        Raises:
            AuditUnavailableError: The sync failed.
        """
        self._sync.wait(self._position.seq)

    def close(self) -> None:
        """Record the stop and let the stream go; a failed journal is only let go."""
        if self._closing.is_set():
            return
        try:
            self._stop()
        except AuditUnavailableError:
            log.warning("the stop could not be recorded")
        self._keeper.join()
        self._close_files()
        os.close(self._lock_fd)

    @property
    def level(self) -> Level:
        """The room that is left, as measured within the last half second."""
        return self._space.level

    def _begin(self, start: Json) -> None:
        tail = recovery.repair(self.folder, self.stream)
        self._space = Space(self.folder, self._settings)
        self._synced_fd = os.open(
            self.folder / segment.SYNCED,
            os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC,
            0o600,
        )
        try:
            self._resume(tail, start)
        except BaseException:
            self._close_files()
            raise

    def _resume(self, tail: Tail, start: Json) -> None:
        self._position, self._hash, self._acts = tail.position, tail.hash, tail.acts
        self.open_acts = tail.acts.acts()
        with self._lock:
            path = self.folder / segment.plain_name(tail.position.segment)
            if tail.position.seq and path.exists():
                self._fd = _open_segment(path, new=False)
                self._day = stream.day_of(os.fstat(self._fd).st_mtime_ns // 1000)
            else:
                self._start_segment()
            for torn in tail.torn:
                self._tell(Operation.SYSTEM_TAIL_REPAIR, torn.as_detail())
            if not (self._brief and tail.position.seq):
                self._tell(Operation.SYSTEM_START, start)
        self.settle()

    def _stop(self) -> None:
        with self._lock:
            try:
                self._require_usable()
                if not self._brief:
                    self._tell(Operation.SYSTEM_STOP, self._acts.as_detail())
            finally:
                self._closing.set()
        self.settle()

    def _require_usable(self) -> None:
        if self.failed or self._closing.is_set():
            raise AuditUnavailableError(FAILED_TEXT)

    def _tell(self, operation: Operation, detail: Json) -> None:
        self._write(stream.system_record(operation, detail), essential=True)

    def _write(self, fields: Fields, *, essential: bool) -> int:
        """Chain and write one record; the lock is held."""
        position = self._position
        seq = position.seq + 1
        record = self._stamps.stamp(fields, seq=seq, prev=self._hash)
        line, digest = hashchain.seal(record)
        self._put(line, essential=essential)
        end = position.offset + len(line)
        self._position = Position(seq, position.segment, end)
        self._hash = digest
        self._acts.follow(record)
        return seq

    def _put(self, line: bytes, *, essential: bool) -> None:
        while not self._put_whole(line):
            self._take_back()
            self._space.exhausted()
            if not (essential and self._space.reserve.release(len(line))):
                raise AuditUnavailableError(FAILED_TEXT)

    def _put_whole(self, line: bytes) -> bool:
        """Write a line; False when the disk was full."""
        try:
            return os.write(self._fd, line) == len(line)
        except OSError as error:
            if error.errno in NO_ROOM:
                return False
            self._fail("write", error)
            raise AuditUnavailableError(FAILED_TEXT) from error

    def _take_back(self) -> None:
        """Cut a record that was written in part."""
        try:
            os.ftruncate(self._fd, self._position.offset)
        except OSError as error:
            self._fail("truncate", error)
            raise AuditUnavailableError(FAILED_TEXT) from error

    def _roll(self) -> None:
        """Seal the segment and begin the next; without room it grows on.

        Each day (UTC) has segments of its own, because retention drops whole ones.
        """
        try:
            self._fdatasync(self._fd)
        except OSError as error:
            self._fail("sync", error)
            raise AuditUnavailableError(FAILED_TEXT) from error
        old_fd, old_position = self._fd, self._position
        try:
            self._start_segment()
        except (OSError, AuditUnavailableError):
            log.warning("the next journal segment could not be begun")
            self._fd, self._position = old_fd, old_position
            self._require_usable()
        else:
            self._retired.append(old_fd)

    def _start_segment(self) -> None:
        first = self._position.seq + 1
        path = self.folder / segment.plain_name(first)
        before = self._position, self._hash
        self._fd = _open_segment(path, new=True)
        self._day = self._stamps.day()
        self._position = Position(first - 1, first, 0)
        try:
            self._tell(Operation.SYSTEM_SEGMENT, self._acts.as_detail())
            segment.sync_folder(self.folder)
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            self._position, self._hash = before
            path.unlink()
            raise

    def _flush(self) -> int:
        """Sync what is written up to now; only one thread at a time, the leader."""
        with self._lock:
            fd, position = self._fd, self._position
            retired, self._retired = self._retired, []
        for old_fd in retired:
            os.close(old_fd)
        try:
            self._fdatasync(fd)
        except OSError as error:
            self._fail("sync", error)
            raise
        with suppress(OSError):  # it may say too little, see `segment`
            os.pwrite(self._synced_fd, segment.format_synced(position), 0)
        return position.seq

    def _fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def _fail(self, step: str, error: Exception) -> None:
        """End the journal for good; safe with and without the lock."""
        if self.failed:
            return
        self.failed = True
        log.critical("the journal failed", extra={"step": step, "error": str(error)})
        self._sync.fail()
        self._on_failure()

    def _fence(self) -> None:
        """Sync what nobody waited for, measure the room; the keeper thread's top."""
        try:
            self._keep()
        except AuditUnavailableError:
            log.warning("the journal's thread ends")
        except Exception as error:
            log.exception("the journal's thread failed")
            self._fail("keep", error)

    def _keep(self) -> None:
        told, measure_at = Level.OK, 0.0
        while not self._closing.wait(_TICK_S):
            self.settle()
            now = time.monotonic()
            if now < measure_at:
                continue
            measure_at = now + _MEASURE_S
            self._require_in_place()
            self._space.refresh()
            if self._space.level != told:
                told = self._space.level
                self._tell_level(told)

    def _tell_level(self, level: Level) -> None:
        percent = self._space.left_percent
        detail: Json = {"level": level.name.lower(), "left_percent": percent}
        with self._lock, suppress(AuditUnavailableError):
            self._require_usable()
            self._tell(Operation.SYSTEM_TRAIL_SPACE, detail)

    def _require_in_place(self) -> None:
        """Notice a journal whose folder was removed or mounted over."""
        with self._lock:
            path = self.folder / segment.plain_name(self._position.segment)
            if not os.path.samestat(os.fstat(self._fd), path.stat()):
                raise FileNotFoundError(path.name)

    def _close_files(self) -> None:
        for fd in (*self._retired, self._fd, self._synced_fd):
            if fd >= 0:
                os.close(fd)
        self._space.close()


def _open_segment(path: Path, *, new: bool) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
