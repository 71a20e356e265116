"""Closing the acts that a crash left open: the disk says how they ended.

    read                    unknown; the last progress is the upper bound
    write in place          aborted; the partial file stays, for `reput`
    staged write, deposit,  staged file still there: aborted (a deposit goes to
    copy                    quarantine); the act's mark at the path: done; else aborted
    rename, restore         done when the target is the inode that was to be moved;
                            unknown when it is neither there nor where it was
    delete                  done when the act's entry is in the trash
    lock, unlock            done when the lock is in the table, or is not
    mkdir, rmdir, setattr   done when the disk is as asked

What a change in place kept beforehand stays in the trash, unless nothing was changed.

It runs before a port opens, on the restarted process's own stream only.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from server.audit.gate import Gate
from server.audit.recovery import OpenAct
from server.model.errors import (
    LinkRefusedError,
    NotFolderError,
    NotFoundError,
    StateError,
)
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome
from server.storage.books import Books
from server.storage.port import (
    Attributes,
    Leftovers,
    Location,
    Storage,
    kept_mode,
    trashed_at,
)
from server.vfs.told import detail_of, location_in

Ending = tuple[Outcome, Fields]
"""How an act ended, and what more its outcome tells."""


class Recovery:
    """Decides by the disk and records each decision."""

    def __init__(
        self, *, gate: Gate, storage: Storage, leftovers: Leftovers, books: Books
    ) -> None:
        """Look at `storage`, `leftovers` and `books`; record through `gate`."""
        self._books = books
        self._gate = gate
        self._storage = storage
        self._leftovers = leftovers
        self._deciders: dict[Operation, Callable[[OpenAct, Location], Ending]] = {
            Operation.READ: self._read,
            Operation.WRITE: self._written,
            Operation.DEPOSIT: self._deposited,
            Operation.COPY: self._copied,
            Operation.RENAME: self._renamed,
            Operation.RESTORE: self._restored,
            Operation.DELETE: self._deleted,
            Operation.MKDIR: self._made,
            Operation.RMDIR: self._removed,
            Operation.SETATTR: self._changed,
            Operation.LOCK: self._locked,
            Operation.UNLOCK: self._unlocked,
        }

    def close_acts(self, acts: Sequence[OpenAct]) -> int:
        """Close every act but the administration's (`access.ledger` closes those).

        Returns:
            How many were closed.

        Raises:
            AuditUnavailableError: An outcome cannot be recorded.
            StorageFailedError: The disk cannot be asked.
        """
        mine = [a for a in acts if not a.intent["operation"].startswith("admin.")]
        for act in mine:
            outcome, facts = self._ended(act)
            self._gate.recovered(act, outcome, **facts)
        self._gate.settle()
        return len(mine)

    def _ended(self, act: OpenAct) -> Ending:
        decide = self._deciders.get(Operation(act.intent["operation"]))
        if decide is None or not act.intent.get("folder"):
            return Outcome.ABORTED, {}
        return decide(act, location_in(act.intent))

    def _read(self, act: OpenAct, _: Location) -> Ending:
        return Outcome.UNKNOWN, _moved(act)

    def _written(self, act: OpenAct, at: Location) -> Ending:
        if detail_of(act.intent).get("in_place"):
            return self._in_place(act, at)
        return self._staged(act, at, quarantine=False)

    def _deposited(self, act: OpenAct, at: Location) -> Ending:
        if detail_of(act.intent).get("in_place"):
            return self._in_place(act, at)
        return self._staged(act, at, quarantine=True)

    def _copied(self, act: OpenAct, _: Location) -> Ending:
        target = location_in(act.intent, "target", "target_root")
        return self._staged(act, target, quarantine=False)

    def _deleted(self, act: OpenAct, at: Location) -> Ending:
        trashed = self._leftovers.trashed(at.root.contract_id, act.id)
        if trashed:
            self._follow(at, trashed_at(at.root.contract_id, act.id))
        return _done_if(trashed)

    def _made(self, _: OpenAct, at: Location) -> Ending:
        return _done_if(self._found(at) is not None)

    def _removed(self, _: OpenAct, at: Location) -> Ending:
        return _done_if(self._found(at) is None)

    def _changed(self, act: OpenAct, at: Location) -> Ending:
        found = self._found(at)
        asked = detail_of(act.intent).get("changes")
        if found is None or not isinstance(asked, dict):
            return Outcome.ABORTED, {}
        if detail_of(act.intent).get("properties"):
            return Outcome.UNKNOWN, {}  # the record tells their names alone
        applied = [name for name in asked if _is_as_asked(found, name, asked[name])]
        if len(applied) == len(asked):
            return Outcome.DONE, {}
        self._forget_copy(act, at, found)
        return Outcome.ABORTED, {"detail": {"applied": cast("Json", applied)}}

    def _locked(self, act: OpenAct, at: Location) -> Ending:
        return _done_if(self._is_held(act, at))

    def _unlocked(self, act: OpenAct, at: Location) -> Ending:
        return _done_if(not self._is_held(act, at))

    def _is_held(self, act: OpenAct, at: Location) -> bool:
        token = detail_of(act.intent).get("token")
        held = self._books.locks(at.root.contract_id, now_us=0)
        return any(lock.token == token for lock in held)

    def _follow(self, at: Location, to: Location) -> None:
        """Properties go where their file went; the crash may have left them behind."""
        known = self._books.roots_with_properties(at.root.contract_id)
        if str(at.root) not in known:
            return
        with self._books.writing() as change:
            if change.has_any(at):
                change.move(at, to)

    def _in_place(self, act: OpenAct, at: Location) -> Ending:
        # A truncating open stages an empty file for the moment of its publishing, and
        # what a change in place keeps is copied to the stage first.
        if self._leftovers.staged(at.root.contract_id, act.id):
            self._forget_second_name(act, at)
            self._leftovers.discard(at.root.contract_id, act.id)
        facts = _moved(act)
        found = self._found(at)
        if found is not None:
            facts["size"] = found.size
        return Outcome.ABORTED, facts

    def _staged(self, act: OpenAct, at: Location, *, quarantine: bool) -> Ending:
        contract = at.root.contract_id
        if self._leftovers.staged(contract, act.id):
            # While the staged file stands, the next recovery can begin anew.
            self._forget_second_name(act, at)
            if quarantine:
                self._leftovers.quarantine(contract, act.id)
            else:
                self._leftovers.discard(contract, act.id)
            return Outcome.ABORTED, {"detail": {"quarantined": quarantine}}
        if not self._leftovers.published_by(at, act.id):
            return Outcome.ABORTED, {}
        found = self._found(at)
        return Outcome.DONE, {"size": found.size} if found is not None else {}

    def _renamed(self, act: OpenAct, at: Location) -> Ending:
        return self._moved(act, at, location_in(act.intent, "target", "target_root"))

    def _restored(self, act: OpenAct, target: Location) -> Ending:
        detail = detail_of(act.intent)
        inside = cast("list[str]", detail.get("inside") or [])
        contract = target.root.contract_id
        source = trashed_at(contract, str(detail["entry"]), tuple(inside))
        return self._moved(act, source, target)

    def _moved(self, act: OpenAct, at: Location, target: Location) -> Ending:
        moved = detail_of(act.intent).get("inode")
        if self._inode(target) == moved:
            self._follow(at, target)
            return Outcome.DONE, {}
        if self._inode(at) != moved:
            return Outcome.UNKNOWN, {}  # others have moved it since
        self._forget_second_name(act, target)
        return Outcome.ABORTED, {}

    def _forget_second_name(self, act: OpenAct, at: Location) -> None:
        """Undo the first half of a replacement that never came to its second.

        Only while what was to take its place is where it was: afterwards the trash
        holds the one copy of the old content. A file that was to be replaced still
        stands and has a second name in the trash; a folder, or a file that a folder
        was to replace, was moved there and comes back.
        """
        contract = at.root.contract_id
        if not self._leftovers.trashed(contract, act.id):
            return
        if self._leftovers.second_name(contract, act.id):
            self._leftovers.purge(contract, act.id)
        elif self._found(at) is None:
            with suppress(StateError):  # the folder around it has gone: it stays there
                self._leftovers.put_back(contract, act.id, at)

    def _forget_copy(self, act: OpenAct, at: Location, found: Attributes) -> None:
        """Drop what was kept for a change that never came, half made or whole."""
        contract = at.root.contract_id
        self._leftovers.discard(contract, act.id)
        kept = self._found(trashed_at(contract, act.id))
        if kept and (kept.size, kept.mtime_ns) == (found.size, found.mtime_ns):
            self._leftovers.purge(contract, act.id)

    def _inode(self, at: Location) -> str:
        found = self._found(at)
        return "" if found is None else f"{found.inode:x}"

    def _found(self, at: Location) -> Attributes | None:
        try:
            return self._storage.attributes(at)
        except (NotFoundError, NotFolderError, LinkRefusedError):
            return None


def _moved(act: OpenAct) -> Fields:
    facts: Fields = {}
    if act.progress is not None:
        facts["bytes"] = act.progress.get("bytes", 0)
        facts["ranges"] = act.progress.get("ranges", [])
    return facts


def _is_as_asked(found: Attributes, name: str, value: Json) -> bool:
    if name == "mode" and isinstance(value, int):
        value = kept_mode(value, is_folder=found.is_folder)
    return str(getattr(found, name)) == str(value)  # times are told as text


def _done_if(done: bool) -> Ending:  # noqa: FBT001 - the one thing it asks
    return Outcome.DONE if done else Outcome.ABORTED, {}
