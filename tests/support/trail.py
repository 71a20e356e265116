"""Journals for tests: opened in a temporary folder, read back and checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from server.audit import hashchain, segment
from server.audit.journal import Journal
from server.model.clock import SystemClock
from server.model.event import Fields
from server.settings.schema import AuditSettings

NODE = "node-1"
WHO: Fields = {
    "protocol": "sftp",
    "contract": "main",
    "login": "alice",
    "device_name": "laptop",
    "line": "lan",
    "source_ip": "192.0.2.7",
    "source_port": 50000,
    "session": "01JSESSION",
}


def audit_settings(**values: object) -> AuditSettings:
    """Settings with a small reserve, so that a test's folder stays small."""
    return AuditSettings.model_validate({"reserve_bytes": 65536, **values})


def open_journal(
    directory: Path,
    slot: str = "worker-1",
    *,
    kind: type[Journal] = Journal,
    **values: object,
) -> Journal:
    """A journal of this test; `values` are audit settings."""
    return kind.open(
        directory,
        node=NODE,
        slot=slot,
        clock=SystemClock(),
        settings=audit_settings(**values),
    )


def event(number: int, **facts: Unpack[Fields]) -> Fields:
    """A record of some act."""
    fields: Fields = {
        **WHO,
        "act": f"act-{number}",
        "phase": "event",
        "operation": "delete",
        "outcome": "done",
        "path": f"/private/{number}",
    }
    return {**fields, **facts}


def stream_lines(directory: Path, slot: str = "worker-1") -> Iterator[bytes]:
    """Every stored line of a stream in order."""
    for found in segment.segments(directory / slot):
        yield from segment.lines(found)


def read_stream(directory: Path, slot: str = "worker-1") -> list[Fields]:
    """Every record of a stream, each link checked."""
    records: list[Fields] = []
    prev = hashchain.GENESIS
    for line in stream_lines(directory, slot):
        link = hashchain.follow(
            line, stream=f"{NODE}/{slot}", seq=len(records) + 1, prev=prev
        )
        prev = link.hash
        records.append(link.fields)
    return records


def acts(records: list[Fields]) -> list[Fields]:
    """Only what was recorded through the test: not the journal's own records."""
    return [
        record for record in records if not record["operation"].startswith("system.")
    ]
