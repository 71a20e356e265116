"""What reads the trail is made of: the part of the composition root for commands.

It names nothing that serves clients, so that a command that reads is up at once and
stays small however much it reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from server.audit.manifest import Notary
from server.audit.search import Reader
from server.daemon.trail import CLOCK, PassingTrail, require_store, signing_keys
from server.model.event import Fields, actor_fields
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
