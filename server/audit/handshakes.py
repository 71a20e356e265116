"""What the trail knows of handshakes: the last that failed, and what is agreed on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from server.audit.query import LIMIT_MAX, Query
from server.audit.search import Reader, Row
from server.model.algorithms import LINE_ONLY
from server.model.event import Json

PAGES_MAX: Final = 100
"""Logins that are looked through, in pages of `LIMIT_MAX`."""


def recent(reader: Reader, *, since_us: int, count: int) -> list[Row]:
    """Records of failed handshakes, newest first; `detail.hint` says what to do.

    Args:
        reader: The trail.
        since_us: The earliest time, microseconds since the epoch.
        count: How many at most.

    Raises:
        UnavailableError: The DB cannot be read.
        AuditUnavailableError: The search cannot be recorded.
    """
    query = Query(since_us=since_us, operation="login", outcome="refused")
    found: list[Row] = []
    for row in _pages(reader, query):
        detail = row.get("detail")
        if isinstance(detail, dict) and "hint" in detail:
            found.append(row)
        if len(found) >= count:
            break
    return found


def agreed(reader: Reader, query: Query) -> list[dict[str, Json]]:
    """Who uses which algorithms: one entry for each device, line and agreement.

    Args:
        reader: The trail.
        query: Which logins; its operation and outcome are not looked at.

    Returns:
        `contract`, `line`, `login`, `device`, `protocol`, `client`, `algorithms`,
        `old` (those that only a line with an old machine is offered), `logins` and
        `last`; the last one used comes first.

    Raises:
        UnavailableError: The DB cannot be read.
        AuditUnavailableError: The search cannot be recorded.
    """
    found: dict[tuple[str, ...], dict[str, Json]] = {}
    for row in _pages(reader, replace(query, operation="login", outcome="done")):
        told = {name: str(row.get(field, "")) for name, field in _FIELDS.items()}
        entry = found.setdefault(
            tuple(told.values()),
            {
                **told,
                "old": _old(told["algorithms"]),
                "logins": 0,
                "last": str(row["time"]),
            },
        )
        count = entry["logins"]
        entry["logins"] = (count if isinstance(count, int) else 0) + 1
    return list(found.values())


def _old(algorithms: str) -> list[Json]:
    words = [word.partition("=")[2] for word in algorithms.split()]
    return [name for text in words for name in text.split(",") if name in LINE_ONLY]


def _pages(reader: Reader, query: Query) -> Iterator[Row]:
    before = ""
    for _ in range(PAGES_MAX):
        page = reader.search(replace(query, limit=LIMIT_MAX, before=before))
        yield from page
        if len(page) < LIMIT_MAX:
            return
        before = str(page[-1]["id"])


_FIELDS: Final = {
    "contract": "contract",
    "line": "line",
    "login": "login",
    "device": "device_name",
    "protocol": "protocol",
    "client": "client",
    "algorithms": "algorithms",
}
