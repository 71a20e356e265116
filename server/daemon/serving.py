"""What a worker is made of: the part of the composition root that serves clients."""

import os
import signal
from contextlib import ExitStack
from typing import Final

from server.access.accounts_watch import AccountsWatch
from server.access.attempts import Attempts
from server.access.bans import Bans
from server.access.bureau import Clerk
from server.access.credentials import Credentials
from server.access.keystore import KeyStore
from server.access.knocks import Knocks
from server.access.ledger import Ledger
from server.access.login import Desk
from server.access.office import Office
from server.access.sessions import Process, Sessions
from server.access.tls import Certificates, ClientTrust
from server.auth.accounts import read_revision
from server.auth.password import Hasher
from server.auth.snapshot import Snapshot
from server.daemon import logs
from server.daemon.children import RETIRE, Link
from server.daemon.parts import (
    leave_at_once,
    opened_accounts,
    opened_books,
    opened_disk,
    opened_locks,
    recover_all,
    require_initialised,
    tell_exit,
)
from server.daemon.quotas import give_up, opened_meter
from server.daemon.supervisor import Start
from server.daemon.trail import (
    CLOCK,
    SYSTEM,
    Trail,
    opened_trail,
)
from server.daemon.waiting import when_reachable
from server.daemon.worker import FrontEnd, serve_until_told
from server.db.engine import Engine, reading
from server.settings.schema import Settings
from server.sftp.listener import Listener as SftpListener
from server.storage.books import Books
from server.storage.disk import Disk
from server.storage.metered import MeteredStorage
from server.vfs.filesystem import FileSystem
from server.vfs.lock_desk import LockDesk
from server.webdav.application import Application
from server.webdav.authentication import Gate as HttpGate
from server.webdav.connection import Service
from server.webdav.hotpath import HotPath
from server.webdav.listener import Listener as WebdavListener
from server.webdav.tls import TlsContexts, TlsMaterial

MINUTE_US: Final = 60_000_000


def worker(start: Start, link: Link) -> int:
    """Serve clients in this process; returns its exit code."""
    settings = start.settings
    logs.start(settings.log_level, start.slot)
    with ExitStack() as stack:
        keys = require_initialised(settings)
        trail = stack.enter_context(
            opened_trail(settings, start.slot, on_failure=leave_at_once)
        )
        disk = stack.enter_context(opened_disk(settings))
        engine = stack.enter_context(opened_accounts(settings))
        books = stack.enter_context(opened_books(settings))
        if not when_reachable(lambda: _answers(engine), pause=_is_told_to_stop):
            return 0
        recover_all(trail, disk, engine, books)
        tell_exit(trail, start.previous)
        _recover_orphans(start, disk, engine, books)
        watch = AccountsWatch(
            engine, clock=CLOCK, poll_ms=settings.auth.revision_poll_ms
        )
        watch.start()
        stack.callback(watch.stop)
        sessions = Sessions(
            engine,
            watch,
            process=Process(node=settings.node, slot=start.slot, pid=os.getpid()),
            clock=CLOCK,
        )
        desk = _desk(settings, trail, engine, watch, sessions, keys)
        sessions.start()
        stack.callback(sessions.stop)
        stack.callback(desk.close)
        locks = stack.enter_context(opened_locks(disk, books, watch.snapshot))
        locksmith = LockDesk(gate=trail.gate, table=locks, who=SYSTEM)
        watch.on_change(lambda found: _release(locksmith, found.snapshot))
        meter = stack.enter_context(
            opened_meter(settings, disk, start.slot, trail.gate, watch.snapshot)
        )
        files = FileSystem(
            gate=trail.gate,
            storage=MeteredStorage(disk, meter),
            locks=locks,
            accounts=watch.snapshot,
            settings=settings,
            clock=CLOCK,
        )
        material = _TlsFiles(Certificates(keys, settings.webdav), ClientTrust(watch))
        fronts = _front_ends(start, desk, files, keys, material)
        serve_until_told(fronts, files, link, drain_s=settings.drain_s)
    return 0


def _release(desk: LockDesk, accounts: Snapshot) -> None:
    desk.release_void(accounts)


def _recover_orphans(start: Start, disk: Disk, engine: Engine, books: Books) -> None:
    """Close what slots left that nobody has any more."""
    for orphan in start.orphans:
        with opened_trail(start.settings, orphan) as abandoned:
            recover_all(abandoned, disk, engine, books)
            give_up(start.settings, disk, orphan)


def _answers(engine: Engine) -> bool:
    with reading(engine) as connection:
        read_revision(connection)
    return True


def _is_told_to_stop(seconds: float) -> bool:
    return signal.sigtimedwait({signal.SIGTERM, RETIRE}, seconds) is not None


def _desk(
    settings: Settings,
    trail: Trail,
    engine: Engine,
    watch: AccountsWatch,
    sessions: Sessions,
    keys: KeyStore,
) -> Desk:
    ledger = Ledger(engine, trail.gate, clock=CLOCK)
    credentials = Credentials(
        engine,
        hasher=Hasher(settings.auth),
        box=keys.box(),
        watch=watch,
        ledger=ledger,
        clock=CLOCK,
        settings=settings.auth,
    )
    knocks = Knocks(trail.gate, clock=CLOCK)
    first_us = settings.auth.ban_minutes * MINUTE_US
    bans = Bans(engine, trail.gate, clock=CLOCK, first_us=first_us)
    office = Office(
        watch=watch,
        sessions=sessions,
        credentials=credentials,
        attempts=Attempts(bans, knocks, clock=CLOCK, settings=settings.auth),
        clerk=Clerk(engine=engine, ledger=ledger, clock=CLOCK, who={}),
        gate=trail.gate,
        clock=CLOCK,
        accounts_age_s_max=settings.auth.accounts_age_s_max,
    )
    return Desk(office, knocks, key_queries_max=settings.sftp.key_queries_max)


def _front_ends(
    start: Start,
    desk: Desk,
    files: FileSystem,
    keys: KeyStore,
    material: "_TlsFiles",
) -> list[FrontEnd]:
    settings = start.settings
    fronts: list[FrontEnd] = []
    if "sftp" in start.sockets:
        fronts.append(
            SftpListener(
                start.sockets["sftp"],
                desk=desk,
                filesystem=files,
                settings=settings.sftp,
                host_keys=keys.host_keys,
                clock=CLOCK,
            )
        )
    application = HttpGate(Application(settings.webdav))
    hot = HotPath(settings.webdav)
    for name, certificates in (("webdav", True), ("webdav_secret", False)):
        if name not in start.sockets:
            continue
        tls = TlsContexts(material, client_certificates=certificates)
        plain = name == "webdav_secret" and not settings.webdav.secret.tls
        service = Service(
            settings=settings.webdav,
            desk=desk,
            files=files,
            tls=None if plain else tls,
            client_certificates=certificates,
            hot=hot,
        )
        fronts.append(WebdavListener(start.sockets[name], service, application))
    return fronts


class _TlsFiles:
    """What the TLS contexts are made of, looked at anew for each connection."""

    def __init__(self, server: Certificates, clients: ClientTrust) -> None:
        self._server = server
        self._clients = clients
        self._seen = (-1, -1)
        self._version = 0

    def __call__(self) -> TlsMaterial:
        seen = (self._server.changes, self._clients.revision)
        if seen != self._seen:
            self._seen = seen
            self._version += 1
        return TlsMaterial(
            certificate=self._server.certificate,
            key=self._server.key,
            trust_pem=self._clients.pem(),
            version=self._version,
        )
