"""Closing administration acts that a crash left open."""

from collections.abc import Iterable

from server.audit.gate import Gate
from server.audit.recovery import OpenAct
from server.auth import live
from server.db.engine import Engine, reading
from server.model.operation import Outcome

_PREFIX = "admin."


def is_admin_act(act: OpenAct) -> bool:
    """Whether the accounts database knows how this act ended."""
    return act.facts.get("operation", "").startswith(_PREFIX)


def recover_admin_acts(acts: Iterable[OpenAct], engine: Engine, gate: Gate) -> int:
    """Close the administration acts among `acts`: done if the database has them.

    Returns:
        How many were closed.

    Raises:
        DatabaseError: Nobody can tell; nothing further was closed.
        AuditUnavailableError: An outcome is not recorded.
    """
    closed = 0
    for act in acts:
        if not is_admin_act(act):
            continue
        with reading(engine) as connection:
            applied = live.is_applied(connection, act.id)
        if applied:
            gate.recovered(act, Outcome.DONE)
        else:
            gate.recovered(act, Outcome.ABORTED, reason="process_lost")
        closed += 1
    if closed:
        gate.settle()
    return closed
