"""A real file system below tmp_path, as one login sees it: nothing is faked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.gate import Gate
from server.audit.journal import Journal
from server.auth.snapshot import Contract, Login, LoginState, Snapshot
from server.model.clock import SystemClock
from server.model.identity import Actor, LoginKind, Source
from server.model.operation import Protocol
from server.model.session import Session
from server.settings.schema import AuditSettings, Settings
from server.sftp.requests import Requests
from server.storage.disk import Disk
from server.storage.local import LocalStorage
from server.vfs.filesystem import FileSystem
from server.vfs.view import View
from tests.support.locks import opened_locks
from tests.unit.sftp.packets import Client

ALICE = Login(
    id="l1",
    contract_id="c1",
    name="alice",
    kind=LoginKind.USER,
    state=LoginState.ACTIVE,
)
ACCOUNTS = Snapshot(
    revision=1, contracts=(Contract(id="c1", name="main"),), logins=(ALICE,)
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        data_dir=tmp_path / "data",
        audit=AuditSettings(reserve_bytes=65536),
    )


@pytest.fixture
def session() -> Session:
    actor = Actor(
        protocol=Protocol.SFTP,
        contract="main",
        contract_id="c1",
        login="alice",
        login_id="l1",
        kind=LoginKind.USER,
        source=Source(ip="127.0.0.1", port=2022),
        session="s1",
    )
    return Session(actor, started_us=SystemClock().time_us())


@pytest.fixture
def view(settings: Settings, session: Session) -> Iterator[View]:
    clock = SystemClock()
    journal = Journal.open(
        settings.state_dir / "journal",
        node="test",
        slot="worker-1",
        clock=clock,
        settings=settings.audit,
    )
    gate = Gate(journal, clock=clock, settings=settings.audit)
    disk = Disk(settings.data_dir, sync=False)
    with opened_locks(settings, disk, lambda: ACCOUNTS, clock) as locks:
        filesystem = FileSystem(
            gate=gate,
            storage=LocalStorage(disk),
            locks=locks,
            accounts=lambda: ACCOUNTS,
            settings=settings,
            clock=clock,
        )
        view = filesystem.view(session)
        yield view
        view.close()
    gate.close()
    journal.close()
    disk.close()


@pytest.fixture
def requests(view: View, settings: Settings) -> Requests:
    return Requests(view, settings=settings.sftp, clock=SystemClock())


@pytest.fixture
def client(requests: Requests) -> Client:
    client = Client(requests)
    client.greet()
    return client
