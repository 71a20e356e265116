"""Acts as the index tells them: what putting back stands on.

Nothing here is recorded: what asks is an act itself, or tells of its own reading.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

import sqlalchemy as sa

from server.audit.index import Index, split_id
from server.audit.query import Condition
from server.audit.tables import PATHS, RECORDS, key_of
from server.model.errors import NotFoundError
from server.model.event import Fields
from server.model.operation import Operation, Phase, Protocol

_BATCH: Final = 500
_NAMING_MAX: Final = 20_000
"""Of a path that is written all the time, the newest changes."""
CHANGING: Final = (
    Operation.WRITE,
    Operation.DEPOSIT,
    Operation.DELETE,
    Operation.RENAME,
    Operation.COPY,
    Operation.SETATTR,
    Operation.RESTORE,
)
"""What makes, replaces, moves or destroys a file."""


@dataclass(frozen=True, slots=True)
class Told:
    """An act by its records."""

    intent: Fields
    outcome: Fields | None = None
    """None while it goes on, or after a crash that was not recovered."""

    @property
    def id(self) -> str:
        """The act's ULID."""
        return self.intent["act"]

    @property
    def operation(self) -> Operation:
        """What was done."""
        return Operation(self.intent["operation"])


class Lookup:
    """Finds acts in the audit DB. Every method raises `UnavailableError` without it."""

    def __init__(self, url: str) -> None:
        """Read the DB at `url`; nothing is opened yet."""
        self._index = Index(url)

    def acts(self, ids: Iterable[str]) -> dict[str, Told]:
        """Those of these acts that had an effect, or may have, by id."""
        found: dict[str, Told] = {}
        waiting = iter(ids)
        while batch := list(islice(waiting, _BATCH)):
            found |= self._batch(batch)
        return found

    def act_of(self, record_id: str) -> str:
        """The id of the act that a record tells of.

        Raises:
            NotFoundError: There is no such record, or it tells of no act.
        """
        stream, seq = split_id(record_id)
        column = RECORDS.c
        wanted = sa.select(column.act).where(column.stream == stream, column.seq == seq)
        with self._index.reading() as connection:
            act = connection.execute(wanted).scalar()
        if act is None:
            raise NotFoundError(f"The index holds no record {record_id} of an act.")
        return str(act)

    def naming(self, path: str, contract: str, login: str) -> list[Fields]:
        """The changes that name a path, oldest first.

        Args:
            path: As records have it, as path or as target.
            contract: The contract's name.
            login: Whose `/private`; empty for a shared folder.

        Returns:
            Outcomes, and what acts on trees tell of single files (`progress`).
        """
        column = RECORDS.c
        ids = sa.select(PATHS.c.id).where(
            PATHS.c.key == key_of(path), PATHS.c.path == path
        )
        wanted: list[Condition] = [
            column.path_id.in_(ids) | column.target_id.in_(ids),
            column.contract == key_of(contract),
            column.operation.in_(CHANGING),
            column.phase.in_((Phase.OUTCOME, Phase.PROGRESS)),
        ]
        if login:
            wanted.append(column.login.in_([key_of(login)]) | by_administrator())
        statement = (
            sa
            .select(column.record)
            .where(*wanted)
            .order_by(column.time_us.desc(), column.row.desc())
            .limit(_NAMING_MAX)
        )
        with self._index.reading() as connection:
            newest = [json.loads(r) for (r,) in connection.execute(statement)]
        return [record for record in reversed(newest) if concerns(record, login)]

    def close(self) -> None:
        """Let go of the DB."""
        self._index.close()

    def _batch(self, ids: list[str]) -> dict[str, Told]:
        column = RECORDS.c
        statement = sa.select(column.record).where(
            column.act.in_(ids), column.phase.in_((Phase.INTENT, Phase.OUTCOME))
        )
        intents: dict[str, Fields] = {}
        outcomes: dict[str, Fields] = {}
        with self._index.reading() as connection:
            for (text,) in connection.execute(statement):
                record = cast("Fields", json.loads(text))
                kept = intents if record["phase"] == Phase.INTENT else outcomes
                kept[record["act"]] = record
        return {act: Told(i, outcomes.get(act)) for act, i in intents.items()}


def by_administrator() -> Condition:
    """Acts of people at the command line; `concerns` then says whose files."""
    return RECORDS.c.protocol == Protocol.CLI


def concerns(record: Mapping[str, object], login: str) -> bool:
    """Whether a record is about this login's own files, or about shared ones (`""`).

    An administrator's act on somebody's private folder names its owner in its detail.
    """
    if not login or record.get("login") == login:
        return True
    detail = record.get("detail")
    return isinstance(detail, dict) and detail.get("owner") == login
