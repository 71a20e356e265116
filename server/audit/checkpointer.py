"""The keeper's job that signs checkpoints, and turns the key every day.

Every `audit.checkpoint_s` when records came in, else every `checkpoint_idle_s`: the
durable heads of all streams, signed, into the files first and then as a record of the
keeper's own stream. A checkpoint that would say less than the one before is refused.
Used by one thread.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.audit.checkpoint import (
    KEYS,
    CheckpointError,
    CheckpointFolder,
    Witness,
    durable_heads,
)
from server.audit.gate import Gate
from server.audit.keychain import KeyChainError
from server.audit.keys import SigningKeys
from server.audit.note import Note
from server.audit.statements import NOTHING, Checkpoint, Head, origin_of
from server.model.clock import Clock, rfc3339
from server.model.errors import UnavailableError
from server.model.event import Fields
from server.model.operation import Operation, Outcome
from server.settings.schema import AuditSettings

log = logging.getLogger(__name__)

_DAY: Final = slice(0, 10)


class Checkpointer:
    """Signs what this node's journals hold."""

    def __init__(
        self,
        journal: Path,
        keys: SigningKeys,
        folders: Sequence[CheckpointFolder],
        *,
        node: str,
        clock: Clock,
        settings: AuditSettings,
    ) -> None:
        """Prepare; `start` looks at what is there.

        Args:
            journal: `state_dir/journal`.
            keys: This node's.
            folders: The store's own first, then the copy's, if any.
            node: This machine's name.
            clock: For times and what is due.
            settings: How often.
        """
        self._journal = journal
        self._keys = keys
        self._own, self._copies = folders[0], list(folders[1:])
        self._witness = Witness(journal, keys, folders, node=node)
        self._node = node
        self._clock = clock
        self._idle_ns = settings.checkpoint_idle_s * 1_000_000_000
        self._number = 0
        self._prev = NOTHING
        self._time = ""
        self._heads: dict[str, Head] = {}
        self._settled: dict[str, Head] = {}
        self._written_ns = 0
        self._behind: set[Path] = set()
        self._complaint = ""

    @property
    def number(self) -> int:
        """The last checkpoint's."""
        return self._number

    def start(self) -> None:
        """Make keys if there are none, and take up the last checkpoint.

        Raises:
            CheckpointError: The trail is behind it.
            KeysMissingError: The keys cannot be read.
            OSError: A file cannot be read or written.
        """
        self._keys.prepare()
        self._witness.require_held()
        found = self._witness.last()
        if found is not None:
            last, signed = found
            self._number, self._prev, self._time = (
                last.number,
                signed.digest,
                last.time,
            )
            self._heads = dict(last.heads)
        self._behind = {copy.folder for copy in self._copies}
        self._keep_keys()

    def run(self, gate: Gate, who: Fields) -> None:
        """Sign a checkpoint if one is due, and record it; the keeper's job.

        Raises:
            CheckpointError: It would say less than the last one.
            AuditUnavailableError: It cannot be recorded.
            OSError: It cannot be written.
        """
        self._tell_keys(gate, who)
        try:
            heads = durable_heads(self._journal, self._node, self._heads)
        except CheckpointError as error:
            self._refuse(gate, who, error)
            raise
        self._complaint = ""
        now_ns = self._clock.mono_ns()
        if heads == self._settled and now_ns - self._written_ns < self._idle_ns:
            return
        written = self._write(heads)
        self._written_ns = now_ns
        detail: Fields = {
            "detail": {
                "number": self._number,
                "size": sum(head.seq for head in heads.values()),
                "note": written,
            }
        }
        gate.event(who, Operation.CHECKPOINT, Outcome.DONE, **detail)
        self._turn_key()
        self._tell_keys(gate, who)
        self._settled = durable_heads(self._journal, self._node, heads)

    def finish(self) -> None:
        """Sign the very end, when no stream is written any more; files alone."""
        try:
            heads = durable_heads(self._journal, self._node, self._heads)
            if heads != self._heads:
                self._write(heads)
        except (UnavailableError, OSError):
            log.critical("the last checkpoint was not written", exc_info=True)

    def _write(self, heads: dict[str, Head]) -> str:
        checkpoint = Checkpoint(
            origin=origin_of(self._node),
            number=self._number + 1,
            time=max(rfc3339(self._clock.time_us()), self._time),
            prev=self._prev,
            heads=heads,
        )
        written = self._keys.current().signer.sign(checkpoint.text())
        self._own.append(written, checkpoint.time)
        self._number = checkpoint.number
        self._prev = Note.parse(written).digest
        self._time = checkpoint.time
        self._heads = heads
        for copy in self._copies:
            self._copy(copy, written)
        return written

    def _copy(self, copy: CheckpointFolder, written: str) -> None:
        """Add to a copy; one that was away gets what it missed."""
        try:
            if copy.folder not in self._behind:
                copy.append(written, self._time)
                return
            copy.catch_up(self._own)
            copy.keep(KEYS, self._keys.notes())
            self._behind.discard(copy.folder)
        except OSError as error:
            if copy.folder not in self._behind:
                log.warning(
                    "checkpoints are not copied",
                    extra={"folder": str(copy.folder), "error": str(error)},
                )
            self._behind.add(copy.folder)

    def _turn_key(self) -> None:
        """Take a new key when the day of the last checkpoint is not the key's."""
        if self._keys.current().certificate.time[_DAY] != self._time[_DAY]:
            self._keys.rotate(Head(self._number, self._prev), self._time)
            self._keep_keys()

    def _keep_keys(self) -> None:
        try:
            self._keys.chain()
        except KeyChainError as error:
            raise CheckpointError(f"The signing keys are damaged: {error}.") from error
        self._own.keep(KEYS, self._keys.notes())
        for copy in self._copies:
            try:
                copy.keep(KEYS, self._keys.notes())
            except OSError:
                self._behind.add(copy.folder)

    def _tell_keys(self, gate: Gate, who: Fields) -> None:
        """Record certificates that the trail does not hold yet."""
        untold = self._keys.untold()
        for written in untold:
            gate.event(
                who,
                Operation.SYSTEM_KEY_ROTATION,
                Outcome.DONE,
                detail={"note": written},
            )
        if untold:
            self._keys.mark_told()

    def _refuse(self, gate: Gate, who: Fields, error: CheckpointError) -> None:
        """Alarm, once for each reason."""
        text = str(error)
        if text == self._complaint:
            return
        self._complaint = text
        log.critical("checkpoint refused", extra={"why": text})
        gate.event(
            who,
            Operation.CHECKPOINT,
            Outcome.REFUSED,
            reason=error.reason,
            detail={"why": text},
        )
