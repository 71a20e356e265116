"""The composition root: workers, keeper and commands are put together here alone."""

import gc
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from server.access.administration import Administration
from server.access.bureau import Bureau, Facts
from server.access.initialise import initialise as initialise_store
from server.access.initialise import initialise_demo, prepare_state
from server.access.keystore import KeyStore
from server.access.ledger import Ledger
from server.access.tls import Certificates
from server.audit.checkpointer import Checkpointer
from server.audit.clockwatch import ClockWatch
from server.audit.lookup import Lookup
from server.audit.recorder import Recorder
from server.audit.released import RowDropper
from server.audit.retention import DailyPruning
from server.auth import live
from server.auth.accounts import load_snapshot
from server.auth.password import Hasher
from server.daemon import logs, sockets
from server.daemon.children import Link
from server.daemon.keeper import Job, keep_until_told, record_the_rest
from server.daemon.parts import (
    is_running,
    kept_longer,
    leave_at_once,
    only_one,
    opened_accounts,
    opened_books,
    opened_disk,
    recover,
    recover_all,
    require_accounts,
    require_initialised,
    tell_exit,
)
from server.daemon.quotas import (
    StoredAccounts,
    opened_meter,
    recount,
    used_of_quotas,
)
from server.daemon.reading import operator_fields, trail_status
from server.daemon.supervisor import METRICS, Sockets, Start, Supervisor
from server.daemon.trail import (
    CLOCK,
    SYSTEM,
    Trail,
    checkpoint_folders,
    opened_cli_trail,
    opened_trail,
    pruner,
    signing_keys,
)
from server.daemon.waiting import when_reachable
from server.db.engine import DatabaseError, Engine, reading
from server.db.migrate import Chain, upgrade
from server.settings.loader import load
from server.settings.places import Places
from server.settings.schema import Settings
from server.storage.books import Books
from server.storage.counters import Counters
from server.storage.disk import Disk
from server.storage.leftovers import LocalLeftovers
from server.storage.metered import MeteredLeftovers
from server.vfs.housekeeping import Housekeeping
from server.vfs.quotas import Quotas

_KEEPER_NICE: Final = 5
"""Where cores are few, who waits for an answer comes before the index. Still a third
of a core beside two busy processes: thousands of acts a second are indexed at once."""
MINUTE_S: Final = 60
CLOCK_S: Final = 1
HOUR_S: Final = 3600
DAY_S: Final = 86400


def keeper(start: Start, link: Link) -> int:
    """Record, renew and clean in this process; returns its exit code."""
    settings, places = start.settings, Places(start.settings)
    logs.start(settings.log_level, start.slot)
    os.nice(_KEEPER_NICE)
    for name, bound in start.sockets.items():
        if name == METRICS:
            _serve_metrics(bound, settings)
        else:
            sockets.close(bound)  # or clients could connect here, to wait in vain
    released = RowDropper(checkpoint_folders(settings)[0])
    recorder = Recorder(
        places.journal, places.audit_url, node=settings.node, released=released
    )
    with ExitStack() as stack:
        keys = require_initialised(settings)
        checkpointer = _checkpointer(settings)
        stack.callback(checkpointer.finish)  # when this stream has ended too
        trail = stack.enter_context(
            opened_trail(settings, start.slot, on_failure=leave_at_once)
        )
        disk = stack.enter_context(opened_disk(settings))
        books = stack.enter_context(opened_books(settings))
        recover(trail, disk, books)
        tell_exit(trail, start.previous)
        accounts = StoredAccounts(settings)
        meter = stack.enter_context(
            opened_meter(settings, disk, start.slot, trail.gate, accounts)
        )
        certificates = Certificates(keys, settings.webdav)
        cleaning = _cleaning(settings, trail, MeteredLeftovers(disk, meter), books)
        pruning = _pruning(settings, released)
        jobs = [
            Job("certificate", DAY_S, lambda: certificates.renew(trail.gate)),
            Job("cleaning", HOUR_S, cleaning.run),
            Job(
                "checkpoint",
                settings.audit.checkpoint_s,
                lambda: checkpointer.run(trail.gate, SYSTEM),
                at_end=True,
            ),
            Job("retention", MINUTE_S, lambda: pruning.run(trail.gate, SYSTEM)),
            Job(
                "quotas",
                DAY_S,
                lambda: recount(meter, Quotas(accounts).all(), trail.gate, SYSTEM),
            ),
            Job("clock", CLOCK_S, partial(ClockWatch(CLOCK).run, trail.gate, SYSTEM)),
        ]
        keep_until_told(recorder, jobs, link)
    record_the_rest(recorder)
    return 0


def _serve_metrics(bound: Sequence[socket.socket], settings: Settings) -> None:
    """Let monitoring ask; without it the library for it is not loaded."""
    from server.daemon import metrics  # noqa: PLC0415 - see above

    metrics.serve(bound, settings)


def _cleaning(
    settings: Settings, trail: Trail, leftovers: LocalLeftovers, books: Books
) -> Housekeeping:
    return Housekeeping(
        gate=trail.gate,
        who=SYSTEM,
        leftovers=leftovers,
        lookup=Lookup(Places(settings).audit_url),
        books=books,
        clock=CLOCK,
        trash_days=settings.storage.trash_days,
    )


def _pruning(settings: Settings, released: RowDropper) -> DailyPruning:
    return DailyPruning(
        pruner(settings, partial(kept_longer, settings)),
        released,
        Places(settings).retention_request,
        clock=CLOCK,
    )


def _checkpointer(settings: Settings) -> Checkpointer:
    places = Places(settings)
    places.checkpoints.mkdir(mode=0o700, exist_ok=True)
    checkpointer = Checkpointer(
        places.journal,
        signing_keys(settings),
        checkpoint_folders(settings),
        node=settings.node,
        clock=CLOCK,
        settings=settings.audit,
    )
    checkpointer.start()
    return checkpointer


def serve(settings: Settings, source: Path | None) -> int:
    """Run the daemon in the foreground; returns its exit code.

    Args:
        settings: To start with.
        source: The file they came from, read again at SIGHUP; None for none.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        AlreadyRunningError: Another daemon serves this store.
        BindError: An address cannot be listened on.
        StartError: A process could not start.
    """
    logs.start(settings.log_level, "supervisor")
    keys = require_initialised(settings)
    handed = sockets.handed_in(os.environ)
    with only_one(settings):
        with opened_disk(settings) as disk:
            disk.require_marks()
        require_accounts(settings)
        when_reachable(lambda: _upgrade(settings), pause=_pause)
        Certificates(keys, settings.webdav).renew()
        bound = _bound(settings, handed)
        wanted = {f"worker-{n}" for n in range(1, settings.workers + 1)}
        found = {path.name for path in Places(settings).journal.glob("worker-*")}
        return Supervisor(
            settings,
            roles=_Roles(),
            bound=bound,
            orphans=sorted(found - wanted),
            reload=lambda: load(source, os.environ).settings,
        ).run()


def _upgrade(settings: Settings) -> None:
    places = Places(settings)
    upgrade(places.accounts_url, Chain.ACCOUNTS)
    upgrade(places.store_url, Chain.STORE)


def _pause(seconds: float) -> bool:
    time.sleep(seconds)  # a signal ends the process: nothing has begun
    return False


class _Roles:
    """What the supervisor's children do."""

    keeper = staticmethod(keeper)

    def __init__(self) -> None:
        """Load the front ends before the first fork: the workers share their pages.

        Not before: they are nearly half of what a command would load. What is loaded
        stays, so no collection looks at it: to look is to write, which parts the pages.
        """
        from server.daemon import serving  # noqa: PLC0415 - see above

        self.worker = serving.worker
        gc.collect()
        gc.freeze()


def _bound(settings: Settings, handed: Sockets) -> Sockets:
    wanted: dict[str, tuple[tuple[str, ...], int]] = {}
    if settings.sftp.enabled:
        wanted["sftp"] = (settings.sftp.host, settings.sftp.port)
    if settings.webdav.enabled:
        wanted["webdav"] = (settings.webdav.host, settings.webdav.port)
    if settings.webdav.secret.enabled:
        secret = settings.webdav.secret
        wanted["webdav_secret"] = (secret.host, secret.port)
    if settings.metrics.enabled:
        wanted[METRICS] = ((settings.metrics.host,), settings.metrics.port)
    return {
        name: handed.get(name) or sockets.bind(name, hosts, port)
        for name, (hosts, port) in wanted.items()
    }


@contextmanager
def administration(settings: Settings, operator: str) -> Iterator[Administration]:
    """The administration for one command.

    Args:
        settings: Of the store.
        operator: Who runs the command, `os:NAME`.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        AuditUnavailableError: The trail cannot be written.
    """
    keys = require_initialised(settings)
    with (
        opened_cli_trail(settings) as trail,
        opened_accounts(settings) as engine,
        opened_disk(settings) as disk,
        opened_books(settings) as books,
    ):
        recover_all(trail, disk, engine, books)
        yield _administration(
            settings, operator, keys, trail, engine, _Files(disk, books)
        )


def _administration(
    settings: Settings,
    operator: str,
    keys: KeyStore,
    trail: Trail,
    engine: Engine,
    files: "_Files",
) -> Administration:
    return Administration(
        Bureau(
            engine=engine,
            ledger=Ledger(engine, trail.gate, clock=CLOCK),
            clock=CLOCK,
            who=operator_fields(operator),
            settings=settings.auth,
            hasher=Hasher(settings.auth),
            keys=keys,
            erase=files.erase,
            recount=files.recount,
        )
    )


class _Files:
    """What the administration asks of the store."""

    def __init__(self, disk: Disk, books: Books) -> None:
        self._disk = disk
        self._books = books

    def erase(self, contract_id: str) -> None:
        """Destroy all that a contract had in the store."""
        LocalLeftovers(self._disk).erase(contract_id)
        self._books.forget(contract_id)

    def recount(self, contract_id: str) -> None:
        """Have its quotas counted from the disk before their next use."""
        counters = Counters(self._disk)
        try:
            counters.distrust(contract_id)
        finally:
            counters.close()


def initialise(
    settings: Settings, operator: str, *, demo_folder: Path | None = None
) -> Facts:
    """Make the store: folders, keys, databases, contract `main`, its first admin.

    Args:
        settings: Where and how.
        operator: Who runs the command.
        demo_folder: Where the files of a demo client go; None makes no demo.

    Returns:
        What to show, secrets included: they are shown this once.

    Raises:
        ExistsError: There is a store already.
    """
    keys = prepare_state(settings)
    signing_keys(settings).prepare()
    Certificates(keys, settings.webdav).renew()
    with administration(settings, operator) as admin:
        facts = initialise_store(admin)
        if demo_folder is not None:
            facts["demo"] = initialise_demo(admin, keys, demo_folder)
    return {**facts, "audit_key": str(signing_keys(settings).root)}


def audit_key(settings: Settings) -> str:
    """The public key that proves the trail, as `name+id+key`.

    Raises:
        KeysMissingError: The store has none yet.
    """
    return str(signing_keys(settings).root)


def status(settings: Settings) -> Facts:
    """How the store is: whether a daemon runs, who is in, how far the index is.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
    """
    require_initialised(settings)
    facts: Facts = {"running": is_running(settings), "node": settings.node}
    try:
        with opened_accounts(settings) as engine, reading(engine) as connection:
            facts["sessions"] = len(live.live_sessions(connection))
            facts["quotas"] = used_of_quotas(settings, load_snapshot(connection))
    except DatabaseError:
        facts["accounts"] = "the accounts database does not answer"
    return {**facts, **trail_status(settings)}
