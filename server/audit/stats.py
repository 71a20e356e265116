"""How many acts there were: by day, hour, login, operation and the like."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import Any, Final

import sqlalchemy as sa

from server.audit.index import Row
from server.audit.query import Query
from server.audit.tables import RECORDS
from server.db.engine import Connection
from server.model.operation import Phase


@unique
class By(StrEnum):
    """What acts are counted by."""

    DAY = "day"
    HOUR = "hour"
    CONTRACT = "contract"
    LOGIN = "login"
    PROTOCOL = "protocol"
    OPERATION = "operation"
    OUTCOME = "outcome"


_TIMES: Final = {By.DAY: "%Y-%m-%d", By.HOUR: "%Y-%m-%d %H:00"}
_BUCKET_US: Final = 900_000_000
"""A quarter of an hour: every zone's offset from UTC is a multiple of it."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def count(connection: Connection, query: Query, by: list[By]) -> list[Row]:
    """Count acts, not records: each by how it ended.

    Args:
        connection: Of the DB.
        query: Which acts.
        by: In this order; days and hours are this machine's.

    Returns:
        One row a combination, with `acts` and `bytes` (read and written).
    """
    column = RECORDS.c
    parts: list[Any] = [_bucket(connection) if b in _TIMES else column[b] for b in by]
    statement = (
        sa
        .select(*parts, sa.func.count(), sa.func.sum(_bytes(connection)))
        .where(*query.conditions(), column.phase.in_((Phase.OUTCOME, Phase.EVENT)))
        .group_by(*parts)
    )
    found: dict[tuple[str, ...], list[int]] = {}
    for *values, acts, moved in connection.execute(statement):
        key = tuple(_told(b, value) for b, value in zip(by, values, strict=True))
        sums = found.setdefault(key, [0, 0])
        sums[0] += acts
        sums[1] += int(moved or 0)
    return [
        {**dict(zip(by, key, strict=True)), "acts": acts, "bytes": moved}
        for key, (acts, moved) in sorted(found.items())
    ]


def _told(by: By, value: object) -> str:
    if by not in _TIMES:
        return str(value) if value is not None else ""
    moment = _EPOCH + timedelta(microseconds=int(str(value)) * _BUCKET_US)
    return moment.astimezone().strftime(_TIMES[by])


def _bucket(connection: Connection) -> sa.ColumnElement[int]:
    time_us = RECORDS.c.time_us
    if connection.dialect.name == "postgresql":
        return sa.func.div(time_us, sa.literal_column(str(_BUCKET_US)))
    return time_us.op("/")(sa.literal_column(str(_BUCKET_US)))


def _bytes(connection: Connection) -> sa.ColumnElement[int]:
    """What an act moved, out of its record: no column of its own is spent on it."""
    record = RECORDS.c.record
    if connection.dialect.name == "postgresql":
        member = sa.cast(record, sa.JSON).op("->>")(sa.literal_column("'bytes'"))
        return sa.cast(member, sa.BigInteger)
    return sa.func.json_extract(record, sa.literal_column("'$.bytes'"))
