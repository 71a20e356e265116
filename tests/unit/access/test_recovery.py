"""Administration acts that a crash left open, and bounds of the desk's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.access.recovery import recover_admin_acts
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.db.engine import Engine, Role, open_engine
from server.model.clock import SystemClock
from server.model.errors import LoginRefusedError
from server.model.event import Fields
from server.model.operation import Operation, Protocol
from server.settings.places import Places
from server.settings.schema import Settings
from tests.support.accounts import Accounts, opened

WHO: Fields = {"protocol": "cli", "login": "os:tester"}


@contextmanager
def engine_of(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(Places(settings).accounts_url, Role.ACCOUNTS)
    yield engine
    engine.dispose()


def test_recovery_tells_done_from_aborted(tmp_path: Path) -> None:
    """The database knows whether the transaction of an open act was committed."""
    with opened(tmp_path) as store:
        ledger = store.administration.contracts._bureau.ledger
        lost = store.gate.act(WHO, Operation.ADMIN_GROUP_ADD)
        lost.begin()
        done = store.gate.act(WHO, Operation.ADMIN_GROUP_REMOVE)
        done.begin()
        with ledger.change(WHO, Operation.ADMIN_LINE_ADD) as change:
            change.begin()
            change.connection.exec_driver_sql(
                f"INSERT INTO applied_acts VALUES ('{done.id}', 1)"  # noqa: S608
            )
        settings = store.settings

    with opened(tmp_path / "other") as other:
        journal = Journal.open(
            Places(settings).journal,
            node=settings.node,
            slot="worker-1",
            clock=SystemClock(),
            settings=settings.audit,
        )
        gate = Gate(journal, clock=SystemClock(), settings=settings.audit)
        with engine_of(settings) as engine:
            closed = recover_admin_acts(journal.open_acts, engine, gate)
        gate.close()
        journal.close()
        other.settings = settings
        outcomes = {
            record["operation"]: record["outcome"]
            for record in other.records(recovered=True)
        }

    assert closed == 2
    assert outcomes == {"admin.group.add": "aborted", "admin.group.remove": "done"}


def test_many_sources_share_one_count(
    store: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood from everywhere must fill neither the trail nor the memory."""
    monkeypatch.setattr("server.access.knocks.KINDS_MAX", 4)
    for number in range(20):
        with pytest.raises(LoginRefusedError):
            store.desk.arrive((f"198.51.100.{number}", 1), Protocol.SFTP)

    store.desk.close()

    rows = store.records(operation="login", outcome="refused")
    counted = [row["detail"]["count"] for row in rows if "detail" in row]
    assert len(rows) <= 6
    assert len(rows) - len(counted) + sum(counted) == 20
