"""A trail that is recorded and read, in one process: journals, recorder, reader."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from server.audit.gate import Gate
from server.audit.keys import SigningKeys
from server.audit.manifest import Notary
from server.audit.recorder import Recorder
from server.audit.search import Reader
from server.audit.tables import METADATA
from server.db.engine import Role, open_engine, writing
from server.model.clock import SystemClock
from server.model.event import Fields
from tests.support.trail import NODE, audit_settings, open_journal

AUDITOR: Fields = {"protocol": "cli", "login": "os:root"}


class Library:
    """A worker's stream, the commands' stream, the DB, and a reader of it."""

    def __init__(
        self, folder: Path, url: str, *, workers: Sequence[str] = ("worker-1",)
    ) -> None:
        self.journals = folder / "journal"
        self.url = url
        self.workers = [open_journal(self.journals, slot) for slot in workers]
        self.cli = open_journal(self.journals, "cli")
        self.gate = Gate(self.cli, clock=SystemClock(), settings=audit_settings())
        self.keys = SigningKeys(folder / "keys", node=NODE, clock=SystemClock())
        self.keys.prepare()
        self.record()
        self.reader = self.open_reader()

    def open_reader(self) -> Reader:
        """One more reader."""
        return Reader(
            self.url,
            journal=self.journals,
            node=NODE,
            gate=self.gate,
            who=AUDITOR,
            notary=Notary(self.keys, SystemClock()),
        )

    def write(self, records: Sequence[Fields], worker: int = 0) -> None:
        """More records of a worker, durable."""
        for fields in records:
            self.workers[worker].append(fields)
        self.workers[worker].settle()

    def record(self) -> None:
        """Have a recorder of its own bring the DB up to date."""
        self.cli.settle()
        assert Recorder(self.journals, self.url, node=NODE).drain(20)

    def lose_db(self) -> None:
        """The DB is gone; the next recorder builds it from the journals."""
        url = sa.make_url(self.url)
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "")
            for file in path.parent.glob(path.name + "*"):
                file.unlink()
            return
        engine = open_engine(self.url, Role.AUDIT_WRITER)
        with writing(engine) as connection:
            tables = ", ".join(METADATA.tables)
            connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY"))
        engine.dispose()

    def close(self) -> None:
        """Close all."""
        self.reader.close()
        self.gate.close()
        self.cli.close()
        for journal in self.workers:
            journal.close()
