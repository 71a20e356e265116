"""Checkpoints: signed heads of all streams, kept in files that only grow.

    <folder>/<node>/
        2026-11-22.notes    that day's checkpoints (UTC), signed notes
        keys.notes          the key certificates, for whoever verifies elsewhere
        retention.notes     which records were dropped by right

The same lies in `state_dir/checkpoints` and in `audit.checkpoint_copy_dir`. A second
folder on another disk or machine is what notices a state folder that was rolled back
as a whole.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from server.audit import durable, heads, note, segment
from server.audit.hashchain import ChainError
from server.audit.heads import holds
from server.audit.keychain import KeyChain, KeyChainError
from server.audit.keys import SigningKeys
from server.audit.note import Note, NoteError
from server.audit.statements import Checkpoint, Head, StatementError
from server.model.errors import AuditUnavailableError

log = logging.getLogger(__name__)

KEYS: Final = "keys.notes"
RETENTION: Final = "retention.notes"
_DAYS: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].notes"
_DAY_CHARACTERS: Final = 10
_WINDOW_BYTES: Final = 65536
_DASH: Final = "\u2014 "


class CheckpointError(AuditUnavailableError):
    """The trail is behind what a checkpoint says of it, or the checkpoint is bad."""

    reason = "checkpoint_refused"


class CheckpointFolder:
    """One node's checkpoints in one place."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which need not be there yet; what holds it must be."""
        self.folder = folder

    def days(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self.folder.glob(_DAYS))

    def notes(self) -> Iterator[str]:
        """All checkpoints, oldest first."""
        for day in self.days():
            yield from note.split(day.read_text("utf-8"))

    def last(self) -> Note | None:
        """The newest checkpoint.

        Raises:
            CheckpointError: It cannot be read.
        """
        for day in reversed(self.days()):
            written = _last_note(day)
            if written:
                try:
                    return Note.parse(written)
                except NoteError as error:
                    raise CheckpointError(
                        f"The last checkpoint in {day} cannot be read: {error}."
                    ) from error
        return None

    def append(self, written: str, time: str) -> None:
        """Add a checkpoint, durably; what a crash left torn before it is cut.

        Raises:
            OSError: It cannot be written.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / f"{time[:_DAY_CHARACTERS]}.notes"
        if path.exists():
            _cut_torn(path)
        durable.append(path, note.join([written]).encode())

    def catch_up(self, other: "CheckpointFolder") -> None:
        """Add what another folder has and this one does not.

        Raises:
            OSError: It cannot be written.
        """
        last = self.days()[-1:]
        for day in other.days():
            if last and day.name < last[0].name:
                continue
            mine = self.folder / day.name
            known = set(note.split(_text(mine))) if mine.exists() else set()
            for written in note.split(_text(day)):
                if written not in known:
                    self.append(written, day.name)

    def keep(self, name: str, notes: Sequence[str]) -> None:
        """Keep certificates or retentions beside the checkpoints.

        Raises:
            OSError: They cannot be written.
        """
        text = note.join(notes)
        path = self.folder / name
        if not path.exists() or _text(path) != text:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            durable.write_whole(path, text.encode())

    def kept(self, name: str) -> list[str]:
        """What `keep` wrote; empty when it did not."""
        path = self.folder / name
        return note.split(_text(path)) if path.exists() else []


class Witness:
    """What the checkpoints say of the journals, asked before a stream is opened."""

    def __init__(
        self,
        journal: Path,
        keys: SigningKeys,
        folders: Sequence[CheckpointFolder],
        *,
        node: str,
    ) -> None:
        """Ask these folders about the streams below `journal`."""
        self._journal = journal
        self._keys = keys
        self._folders = folders
        self._node = node

    def last(self) -> tuple[Checkpoint, Note] | None:
        """The newest checkpoint of all folders, its signature checked.

        Raises:
            CheckpointError: It is not one of this store's.
        """
        newest: tuple[Checkpoint, Note] | None = None
        for folder in self._folders:
            found = folder.last()
            if found is None:
                continue
            checkpoint = self._checked(found, folder)
            if newest is None or checkpoint.number > newest[0].number:
                newest = checkpoint, found
        return newest

    def require_held(self, slot: str | None = None) -> None:
        """Return if a stream (or each) has what the last checkpoint says of it.

        Raises:
            CheckpointError: It has not: an old copy was put back, or its end is cut.
            OSError: A segment cannot be read.
        """
        found = self.last()
        if found is None:
            return
        for stream, head in found[0].heads.items():
            name = stream.rpartition("/")[2]
            if slot in {None, name} and not holds(self._journal / name, stream, head):
                text = _behind(stream, head, found[0])
                log.critical("the trail is behind its checkpoint", extra={"why": text})
                raise CheckpointError(text)

    def _checked(self, found: Note, folder: CheckpointFolder) -> Checkpoint:
        try:
            checkpoint = Checkpoint.parse(found.text)
            chain = self._chain(folder)
        except (StatementError, KeyChainError) as error:
            raise CheckpointError(f"In {folder.folder}: {error}.") from error
        key = chain.for_checkpoint(checkpoint.number)
        if not found.is_signed_by(key.verifier):
            raise CheckpointError(
                f"The last checkpoint in {folder.folder} ({checkpoint.number}) is not "
                "signed by this store's key. Run `kagikura audit verify`."
            )
        return checkpoint

    def _chain(self, folder: CheckpointFolder) -> KeyChain:
        """The longer of the store's own chain and the one beside the checkpoints."""
        own = self._keys.notes()
        beside = folder.kept(KEYS)
        return KeyChain.of(own + beside, KeyChain.of(own[:1]).root)


def durable_heads(
    journal: Path, node: str, known: Mapping[str, Head]
) -> dict[str, Head]:
    """Every stream's head that is durable, never behind the known ones.

    Raises:
        CheckpointError: A stream has lost what it had.
        OSError: A segment cannot be read.
    """
    found: dict[str, Head] = {}
    for slot in segment.slots(journal):
        stream = f"{node}/{slot}"
        try:
            head = heads.durable_head(journal / slot, stream)
        except ChainError as error:
            raise CheckpointError(f"The journal is damaged: {error}.") from error
        if head is not None:
            found[stream] = head
    for stream, before in known.items():
        head = found.get(stream)
        if head is not None and head.seq > before.seq:
            continue
        # After a power cut `synced` may say too little; the record may be there.
        slot = stream.rpartition("/")[2]
        if head != before and not holds(journal / slot, stream, before):
            raise CheckpointError(
                f"Stream {stream} stood at record {before.seq} and does not any more. "
                "Run `kagikura audit verify`."
            )
        found[stream] = before
    return found


def _behind(stream: str, head: Head, checkpoint: Checkpoint) -> str:
    return (
        f"The trail does not hold record {stream}:{head.seq}, which checkpoint "
        f"{checkpoint.number} of {checkpoint.time} names: an old copy of the state "
        "folder was put back, or the journal was cut or changed. Nothing is served. "
        "Put the newest copy of the journal back. If the loss is known and accepted, "
        "move the checkpoints aside (keep them: they prove what was there) and start "
        "again."
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _last_note(path: Path) -> str:
    """The last whole note of a file, read from its end; empty if there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        window = _WINDOW_BYTES
        while True:
            start = max(size - window, 0)
            file.seek(start)
            parts = file.read().decode("utf-8", "replace").split("\n\n")
            ended = parts[:-1]  # what stands behind the last empty line is torn
            signed = [at for at, part in enumerate(ended) if part.startswith(_DASH)]
            if signed and (signed[-1] > 1 or (start == 0 and signed[-1] == 1)):
                return f"{parts[signed[-1] - 1]}\n\n{parts[signed[-1]]}\n"
            if start == 0:
                return ""
            window *= 8


def _cut_torn(path: Path) -> None:
    content = path.read_bytes()
    whole = note.join(note.split(content.decode("utf-8", "replace"))).encode()
    if content != whole and content.startswith(whole):
        with path.open("r+b") as file:
            file.truncate(len(whole))
