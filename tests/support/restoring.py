"""Putting things back in a house: the index, and what the commands are made of."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.audit.lookup import Lookup
from server.audit.recorder import Recorder
from server.model.event import actor_fields
from server.model.identity import Actor
from server.model.operation import Protocol
from server.vfs.estate import Estate
from server.vfs.restoring import Restorer
from server.vfs.trash import Trash
from server.vfs.undo import Undoing
from tests.support.house import ACCOUNTS, House

OPERATOR = actor_fields(Actor(protocol=Protocol.CLI, login="os:admin"))


def index(house: House) -> None:
    """Bring all that is in the journal to the audit DB."""
    recorder = Recorder(house.folder / "state" / "journal", _url(house), node="node-1")
    assert recorder.drain(20)


@contextmanager
def restoring(house: House) -> Iterator[tuple[Trash, Undoing]]:
    """Trash and undoing, over the index as it is."""
    lookup, estate = Lookup(_url(house)), Estate(ACCOUNTS)
    restorer = Restorer(
        gate=house.gate,
        storage=house.storage,
        locks=house.locks,
        who=OPERATOR,
        estate=estate,
    )
    trash = Trash(
        leftovers=house.leftovers,
        lookup=lookup,
        estate=estate,
        restorer=restorer,
        days=30,
    )
    try:
        yield trash, Undoing(lookup=lookup, estate=estate, restorer=restorer)
    finally:
        lookup.close()


def _url(house: House) -> str:
    return f"sqlite:///{house.folder / 'state' / 'audit.db'}"
