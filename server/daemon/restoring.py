"""What the commands that put things back are made of: part of the composition root."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from server.audit.lookup import Lookup
from server.audit.recorder import Recorder
from server.audit.released import RowDropper
from server.daemon.parts import (
    AlreadyRunningError,
    only_one,
    opened_accounts,
    opened_books,
    opened_disk,
    opened_locks,
    recover_all,
    require_initialised,
)
from server.daemon.quotas import StoredAccounts, opened_meter
from server.daemon.reading import operator_fields, trail_reader
from server.daemon.trail import Trail, checkpoint_folders, opened_cli_trail
from server.model.errors import UnavailableError
from server.model.event import Fields
from server.model.operation import Operation, Outcome
from server.settings.places import Places
from server.settings.schema import Settings
from server.storage.leftovers import LocalLeftovers
from server.storage.metered import MeteredStorage
from server.vfs.estate import Estate
from server.vfs.restoring import Facts, Restorer
from server.vfs.trash import Trash, Whose, Wish
from server.vfs.undo import Undoing

__all__ = ["Restoration", "Whose", "Wish", "restoration"]

_INDEX_S_MAX: Final = 30.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Restoration:
    """The trash and the undoing, for one command."""

    trash: Trash
    undoing: Undoing
    trail: Trail
    who: Fields

    def list(self, whose: Whose, under: str) -> list[Facts]:
        """See `Trash.list`; the look into the trail is on record."""
        found = list(self.trash.list(whose, under))
        asked: Facts = {"view": "trash", "path": under, "login": whose.login}
        self.trail.gate.event(
            self.who,
            Operation.AUDIT_SEARCH,
            Outcome.DONE,
            detail={**asked, "count": len(found)},
        )
        return found


@contextmanager
def restoration(settings: Settings, operator: str) -> Iterator[Restoration]:
    """Trash and undoing for one command.

    Args:
        settings: Of the store.
        operator: Who runs the command, `os:NAME`.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: Accounts or index do not answer.
        AuditUnavailableError: The trail cannot be written.
    """
    require_initialised(settings)
    with ExitStack() as stack:
        trail = stack.enter_context(opened_cli_trail(settings))
        disk = stack.enter_context(opened_disk(settings))
        books = stack.enter_context(opened_books(settings))
        with opened_accounts(settings) as engine:
            recover_all(trail, disk, engine, books)
        accounts = StoredAccounts(settings)
        estate = Estate(accounts())
        locks = stack.enter_context(opened_locks(disk, books, accounts))
        meter = stack.enter_context(
            opened_meter(settings, disk, "cli", trail.gate, accounts)
        )
        _index_all(settings)
        lookup = Lookup(Places(settings).audit_url)
        stack.callback(lookup.close)
        who = operator_fields(operator)
        restorer = Restorer(
            gate=trail.gate,
            storage=MeteredStorage(disk, meter),
            locks=locks,
            who=who,
            estate=estate,
        )
        trash = Trash(
            leftovers=LocalLeftovers(disk),
            lookup=lookup,
            estate=estate,
            restorer=restorer,
            days=settings.storage.trash_days,
        )
        undoing = Undoing(lookup=lookup, estate=estate, restorer=restorer)
        yield Restoration(trash, undoing, trail, who)


def _index_all(settings: Settings) -> None:
    """Return when the index holds what is in the journals now.

    While no daemon runs nobody else brings it there, so the command does.

    Raises:
        UnavailableError: It takes too long.
    """
    try:
        with only_one(settings):
            done = _record(settings)
    except AlreadyRunningError:
        done = _wait(settings)
    if not done:
        raise UnavailableError(
            "The audit index does not hold all of the trail yet; `kagikura status` "
            "says how far it is."
        )


def _record(settings: Settings) -> bool:
    places = Places(settings)
    recorder = Recorder(
        places.journal,
        places.audit_url,
        node=settings.node,
        released=RowDropper(checkpoint_folders(settings)[0]),
    )
    return recorder.drain(_INDEX_S_MAX)


def _wait(settings: Settings) -> bool:
    until = time.monotonic() + _INDEX_S_MAX
    with trail_reader(settings, "") as reader:
        heads = {found.stream: found.head_seq for found in reader.indexed_up_to()}
        while time.monotonic() < until:
            known = {found.stream: found.seq for found in reader.indexed_up_to()}
            if all(known[stream] >= head for stream, head in heads.items()):
                return True
            time.sleep(_POLL_S)
    return False
