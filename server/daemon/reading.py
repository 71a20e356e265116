"""What reads the trail is made of: the part of the composition root for commands.

It names nothing that serves clients, so that a command that reads is up at once and
stays small however much it reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from server.audit import space, trouble
from server.audit.checkpoint import CheckpointError
from server.audit.manifest import Notary
from server.audit.search import Indexed, Reader
from server.audit.statements import Checkpoint, StatementError
from server.daemon.trail import (
    CLOCK,
    PassingTrail,
    checkpoint_folders,
    require_store,
    signing_keys,
)
from server.model.clock import parse_rfc3339
from server.model.errors import UnavailableError
from server.model.event import Fields, Json, actor_fields
from server.model.identity import Actor
from server.model.operation import Protocol
from server.settings.places import Places
from server.settings.schema import Settings


@contextmanager
def trail_reader(settings: Settings, operator: str) -> Iterator[Reader]:
    """The trail for one command that reads it.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
    """
    require_store(settings)
    places = Places(settings)
    with Reader(
        places.audit_url,
        journal=places.journal,
        node=settings.node,
        gate=PassingTrail(settings),
        who=operator_fields(operator),
        notary=Notary(signing_keys(settings), CLOCK),
    ) as reader:
        reader.query_timeout_s = settings.audit.query_timeout_s
        yield reader


def operator_fields(name: str) -> Fields:
    """The person who runs a command.

    Args:
        name: `os:NAME`.
    """
    return actor_fields(Actor(protocol=Protocol.CLI, login=name))


def trail_status(settings: Settings, *, counted: bool = True) -> dict[str, Json]:
    """How the trail is: what waits for the index, the room left, the last checkpoint.

    With `counted` also how many rows the index has, which takes seconds of a large one.
    No record is shown, so this look is not an act to be recorded.
    """
    room = space.measure(Places(settings).journal, settings.audit)
    facts: dict[str, Json] = {
        "level": room.level.name.lower(),
        "left_percent": room.left_percent,
        "spool_bytes": room.spool_bytes,
        "checkpoint": _last_checkpoint(settings),
    }
    if found_trouble := trouble.read(Places(settings).journal):
        facts["recorder"] = f"{found_trouble.text} (since {found_trouble.since})"
    try:
        with trail_reader(settings, "") as reader:
            indexed = reader.indexed_up_to()
            facts["lag_s"] = max((_lag_s(found) for found in indexed), default=0)
            if counted:
                facts["rows"] = reader.rows()
            facts["indexed"] = [
                {"stream": found.stream, "behind": found.behind, "up_to": found.time}
                for found in indexed
            ]
    except UnavailableError as error:
        facts["audit"] = str(error)
    return facts


def _lag_s(found: Indexed) -> int:
    """Seconds since the last indexed record of a stream that has more to come."""
    if not found.behind:
        return 0
    known_us = parse_rfc3339(found.time) if found.time else 0
    return max((CLOCK.time_us() - known_us) // 1_000_000, 0)


def _last_checkpoint(settings: Settings) -> dict[str, Json]:
    try:
        note = checkpoint_folders(settings)[0].last()
        if note is None:
            return {}
        last = Checkpoint.parse(note.text)
    except (CheckpointError, StatementError) as error:
        return {"error": str(error)}
    return {"number": last.number, "time": last.time, "records": last.size}
