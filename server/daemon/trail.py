"""The trail as every process and command opens it: streams, keys, checkpoints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Unpack

from server.audit.act import Act
from server.audit.checkpoint import CheckpointFolder, Witness
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.audit.keeping import Keeping
from server.audit.keys import SigningKeys
from server.audit.retention import Pruner
from server.model.clock import SystemClock
from server.model.errors import UnavailableError
from server.model.event import Fields, actor_fields
from server.model.identity import Actor
from server.model.operation import Operation, Outcome, Protocol
from server.settings.places import Places
from server.settings.schema import Settings

_CLI: Final = "cli"
_CLI_PATIENCE_S: Final = 120
_CLI_SEGMENT_BYTES: Final = 1048576
CLOCK: Final = SystemClock()
SYSTEM: Final[Fields] = actor_fields(Actor(protocol=Protocol.SYSTEM))


class NotInitialisedError(UnavailableError):
    """There is no store at `state_dir` yet."""


def require_store(settings: Settings) -> None:
    """Return if there is a store.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
    """
    if not Places(settings).journal.is_dir():
        raise not_initialised(settings)


def not_initialised(settings: Settings) -> NotInitialisedError:
    """What to say where there is no store."""
    return NotInitialisedError(
        f"There is no store in {settings.state_dir} yet. Run `kagikura init` first."
    )


@dataclass(frozen=True, slots=True)
class Trail:
    """One stream of the trail, open for writing."""

    journal: Journal
    gate: Gate


@contextmanager
def opened_trail(
    settings: Settings,
    slot: str,
    *,
    on_failure: Callable[[], None] = lambda: None,
) -> Iterator[Trail]:
    """Take a process's stream over; see `Journal.open` for what it raises.

    Raises:
        CheckpointError: The stream is behind what a checkpoint says of it.
    """
    witness(settings).require_held(slot)
    journal = Journal.open(
        Places(settings).journal,
        node=settings.node,
        slot=slot,
        clock=CLOCK,
        settings=settings.audit,
        on_failure=on_failure,
    )
    with _gated(journal, settings) as trail:
        yield trail


@contextmanager
def opened_cli_trail(settings: Settings) -> Iterator[Trail]:
    """Take the commands' stream over, waiting for another command to end.

    Its starts and stops are not told, so each opening reads its last segment; that
    is kept short.
    """
    witness(settings).require_held(_CLI)
    segments = {"segment_bytes_max": _CLI_SEGMENT_BYTES}
    journal = Journal.open(
        Places(settings).journal,
        node=settings.node,
        slot=_CLI,
        clock=CLOCK,
        settings=settings.audit.model_copy(update=segments),
        patience_s=_CLI_PATIENCE_S,
        brief=True,
    )
    with _gated(journal, settings) as trail:
        yield trail


def signing_keys(settings: Settings) -> SigningKeys:
    """The keys that sign this node's trail."""
    return SigningKeys(Places(settings).audit_keys, node=settings.node, clock=CLOCK)


def checkpoint_folders(settings: Settings) -> list[CheckpointFolder]:
    """Where this node's checkpoints are: the store's own, then the copy."""
    places = [Places(settings).checkpoints, settings.audit.checkpoint_copy_dir]
    return [CheckpointFolder(place / settings.node) for place in places if place]


def pruner(settings: Settings, keeping: Callable[[], Keeping]) -> Pruner:
    """What drops the records of this node that are due.

    Args:
        settings: Of the store.
        keeping: Which contracts keep theirs longer.
    """
    made = Pruner(
        Places(settings).journal,
        signing_keys(settings),
        checkpoint_folders(settings),
        node=settings.node,
        clock=CLOCK,
        settings=settings.audit,
    )
    made.keeping = keeping
    return made


def witness(settings: Settings) -> Witness:
    """What knows how far this node's streams have been."""
    return Witness(
        Places(settings).journal,
        signing_keys(settings),
        checkpoint_folders(settings),
        node=settings.node,
    )


@contextmanager
def _gated(journal: Journal, settings: Settings) -> Iterator[Trail]:
    gate = Gate(journal, clock=CLOCK, settings=settings.audit)
    try:
        yield Trail(journal, gate)
    finally:
        try:
            gate.close()
        finally:
            journal.close()


class PassingTrail:
    """The `cli` stream, held only while one record is written.

    Commands that run for long (`audit tail -f`) must not keep others from writing.
    """

    def __init__(self, settings: Settings) -> None:
        """Write into the stream of these settings."""
        self._settings = settings

    def event(
        self,
        who: Fields,
        operation: Operation,
        outcome: Outcome,
        /,
        **facts: Unpack[Fields],
    ) -> None:
        """As `Gate.event`."""
        with opened_cli_trail(self._settings) as trail:
            trail.gate.event(who, operation, outcome, **facts)

    @contextmanager
    def act(self, who: Fields, operation: Operation, /) -> Iterator[Act]:
        """As `Gate.act`, for a block."""
        with (
            opened_cli_trail(self._settings) as trail,
            trail.gate.act(who, operation) as act,
        ):
            yield act
