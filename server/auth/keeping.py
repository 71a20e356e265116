"""How long the records of a contract are kept, beyond what the settings say."""

from sqlalchemy import or_, select

from server.auth.tables import CONTRACT
from server.db.engine import Connection

Keeping = dict[str, int | None]
"""Days by the contract's name; None for as long as it is held."""


def kept_longer(connection: Connection) -> Keeping:
    """The contracts that ask for more; removed ones too, for records outlive them.

    Where a name was used again, the longest of its contracts counts.
    """
    column = CONTRACT.c
    asked = select(column.name, column.retention_days, column.hold).where(
        or_(column.retention_days > 0, column.hold != "")
    )
    found: Keeping = {}
    for name, days, hold in connection.execute(asked):
        known = found.get(name, 0)
        found[name] = None if hold or known is None else max(days, known)
    return found
