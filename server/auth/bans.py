"""The rows of bans that processes share."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select

from server.auth.tables import BAN, CONTRACT, LINE
from server.db.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class BanRow:
    """A source that a line does not let in for a while."""

    line_id: str
    source: str
    """As `auth.attempt.source_key` names it."""
    since_us: int
    until_us: int
    rule: str
    level: int
    """How many came before it within a day."""


def read_bans(connection: Connection) -> list[BanRow]:
    """All rows, those that are over too."""
    query = select(BAN).order_by(BAN.c.since_us)
    return [BanRow(**row) for row in connection.execute(query).mappings()]


def named_bans(connection: Connection, now_us: int) -> list[dict[str, object]]:
    """The bans that hold, with the names of contract and line."""
    query = (
        select(BAN, LINE.c.name.label("line"), CONTRACT.c.name.label("contract"))
        .join(LINE, LINE.c.id == BAN.c.line_id)
        .join(CONTRACT, CONTRACT.c.id == LINE.c.contract_id)
        .where(BAN.c.until_us > now_us)
        .order_by(BAN.c.since_us)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def write_bans(
    connection: Connection, rows: Iterable[BanRow], forget_before_us: int
) -> None:
    """Add or replace bans; drop those that ended before `forget_before_us`."""
    connection.execute(delete(BAN).where(BAN.c.until_us < forget_before_us))
    for row in rows:
        connection.execute(
            delete(BAN).where(BAN.c.line_id == row.line_id, BAN.c.source == row.source)
        )
        connection.execute(insert(BAN).values(asdict(row)))


def lift_bans(connection: Connection, source: str) -> int:
    """Take a source's bans away; how many there were."""
    return connection.execute(delete(BAN).where(BAN.c.source == source)).rowcount
