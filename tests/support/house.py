"""A small store in one process: real journal, gate, disk and views, no network."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.audit.gate import Gate
from server.audit.journal import Journal
from server.auth.snapshot import (
    Contract,
    Folder,
    Grant,
    Group,
    Login,
    LoginState,
    Snapshot,
)
from server.model.charset import Charset
from server.model.clock import SystemClock
from server.model.identity import Actor, LoginKind, Source
from server.model.operation import PRESETS, Protocol
from server.model.session import Session
from server.settings.schema import AuditSettings, Settings, StorageSettings
from server.storage.disk import Disk
from server.storage.leftovers import LocalLeftovers
from server.storage.local import LocalStorage
from server.storage.port import Storage
from server.vfs.filesystem import FileSystem
from server.vfs.lock_table import LockTable
from server.vfs.recovery import Recovery
from server.vfs.view import View
from tests.support.locks import opened_locks

Record = dict[str, Any]

KINDS = {
    "alice": LoginKind.USER,
    "bob": LoginKind.USER,
    "mfp": LoginKind.INTAKE,
    "eve": LoginKind.AUDITOR,
}

ACCOUNTS = Snapshot(
    revision=1,
    contracts=(Contract(id="c", name="main"),),
    logins=tuple(
        Login(
            id=f"l-{name}",
            contract_id="c",
            name=name,
            kind=kind,
            state=LoginState.ACTIVE,
        )
        for name, kind in KINDS.items()
    ),
    groups=(Group(id="g", contract_id="c", name="all", members=frozenset({"l-bob"})),),
    folders=(
        Folder(id="f", contract_id="c", name="team"),
        Folder(id="h", contract_id="c", name="hidden"),
    ),
    grants=(
        Grant(folder_id="f", below=(), subject_id="l-alice", rights=PRESETS["editor"]),
        Grant(
            folder_id="f", below=("in",), subject_id="g", rights=PRESETS["depositor"]
        ),
        Grant(folder_id="f", below=("out",), subject_id="g", rights=PRESETS["viewer"]),
    ),
)


@dataclass(slots=True)
class House:
    """The parts, and where they keep their files."""

    folder: Path
    journal: Journal
    gate: Gate
    storage: Storage
    leftovers: LocalLeftovers
    files: FileSystem
    locks: LockTable

    def view(self, login: str = "alice", charset: Charset = Charset.UTF8) -> View:
        """The files as `login` sees them in a new session."""
        actor = Actor(
            protocol=Protocol.SFTP,
            contract="main",
            contract_id="c",
            login=login,
            login_id=f"l-{login}",
            kind=KINDS[login],
            source=Source(ip="127.0.0.1", port=5000),
            session=f"s-{login}",
            charset=charset,
        )
        return self.files.view(Session(actor, started_us=0))

    def private(self, login: str = "alice") -> Path:
        """A login's own folder on the disk."""
        return self.folder / "data" / "c" / "private" / f"l-{login}"

    def records(self) -> list[Record]:
        """What the journal holds, without the journal's own records."""
        return [
            record
            for record in read_records(self.folder)
            if not record["operation"].startswith("system.")
        ]


def read_records(folder: Path) -> list[Record]:
    """All records of a house that may be closed by now."""
    found: list[Record] = []
    for segment in sorted((folder / "state" / "journal" / "worker-1").glob("*.jsonl")):
        lines = segment.read_text(encoding="utf-8").splitlines()
        found.extend(json.loads(line) for line in lines)
    return found


@contextmanager
def open_house(
    folder: Path,
    *,
    storage: Callable[[Disk], LocalStorage] = LocalStorage,
    audit: AuditSettings | None = None,
    accounts: Snapshot | None = None,
    rules: StorageSettings | None = None,
) -> Iterator[House]:
    """Open a store in `folder`; `storage` may make a faulty one."""
    clock = SystemClock()
    settings = Settings(
        state_dir=folder / "state",
        data_dir=folder / "data",
        audit=audit or AuditSettings(reserve_bytes=65536),
        storage=rules or StorageSettings(),
    )
    journal = Journal.open(
        folder / "state" / "journal",
        node="node-1",
        slot="worker-1",
        clock=clock,
        settings=settings.audit,
    )
    gate = Gate(journal, clock=clock, settings=settings.audit)
    disk = Disk(settings.data_dir, sync=True)
    store = storage(disk)
    try:
        with opened_locks(settings, disk, lambda: accounts or ACCOUNTS, clock) as locks:
            files = FileSystem(
                gate=gate,
                storage=store,
                locks=locks,
                accounts=lambda: accounts or ACCOUNTS,
                settings=settings,
                clock=clock,
            )
            leftovers = LocalLeftovers(disk)
            yield House(folder, journal, gate, store, leftovers, files, locks)
    finally:
        gate.close()
        journal.close()
        disk.close()


def recover(house: House) -> int:
    """Close what the process before left open, by the disk; how many that were."""
    recovery = Recovery(
        gate=house.gate,
        storage=house.storage,
        leftovers=house.leftovers,
        books=house.locks.books,
    )
    return recovery.close_acts(house.journal.open_acts)
