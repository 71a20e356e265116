"""A store with its SFTP door in this process: real accounts, journal and files.

For tests that need what a whole daemon would hide: several logins, short times,
the trail right after the answer.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.access.accounts_watch import AccountsWatch
from server.access.attempts import Attempts
from server.access.bans import Bans
from server.access.bureau import Clerk
from server.access.credentials import Credentials
from server.access.knocks import Knocks
from server.access.ledger import Ledger
from server.access.login import Desk
from server.access.office import Office
from server.access.sessions import Process, Sessions
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.auth import tables, totp
from server.auth.accounts import bump_revision, write_networks, write_ports
from server.auth.keys import read_ssh_key
from server.auth.password import Hasher
from server.auth.records import add, change, new_id
from server.auth.totp import SecretBox
from server.db.engine import Engine, Role, open_engine, writing
from server.db.migrate import Chain, upgrade
from server.model.clock import SystemClock
from server.settings.places import Places
from server.settings.schema import AuditSettings, AuthSettings, Settings, SftpSettings
from server.sftp.listener import Listener
from server.storage.disk import Disk
from server.storage.local import LocalStorage
from server.vfs.filesystem import FileSystem
from tests.support.locks import opened_locks

PASSWORD = "correct horse battery"
LOOPBACK = ("127.0.0.0/8", "::1/128")
ELSEWHERE = ("192.0.2.0/24",)


def write_key(path: Path, key: Ed25519PrivateKey | RSAPrivateKey) -> Path:
    """Write a private key and its `.pub` as ssh-keygen would."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.write_bytes(private)
    path.chmod(0o600)
    path.with_name(path.name + ".pub").write_bytes(public + b"\n")
    return path


def new_key(path: Path) -> Path:
    """Make an Ed25519 key pair."""
    return write_key(path, Ed25519PrivateKey.generate())


@dataclass(frozen=True)
class Person:
    """A login with one registered device."""

    name: str
    login_id: str
    device_id: str
    key: Path
    totp_secret: str = ""


@dataclass
class SftpHouse:
    """The store: its port, its people, its trail."""

    settings: Settings
    engine: Engine
    watch: AccountsWatch
    hasher: Hasher
    box: SecretBox
    contract_id: str
    folder: Path
    listener: Listener = field(init=False)
    sessions: Sessions = field(init=False)
    port: int = 0
    line_id: str = ""

    def add_person(
        self,
        name: str,
        *,
        factors: str = "key+password",
        code: bool = False,
        key: Path | None = None,
    ) -> Person:
        """Add an active login with a registered key, Ed25519 unless one is given."""
        key = key or new_key(self.folder / f"{name}_key")
        login_id, secret = new_id(), ""
        with writing(self.engine) as connection:
            add(
                connection,
                tables.LOGIN,
                id=login_id,
                contract_id=self.contract_id,
                name=name,
                kind="user" if factors == "key+password" else "intake",
                state="active",
                factors=factors,
                password_hash=self.hasher.hash(PASSWORD),
                totp_required=code,
                credentials_us=0,
                added_us=1,
            )
            if code:
                secret = totp.fresh_secret()
                totp.keep_secret(connection, self.box, login_id, secret)
            bump_revision(connection)
        device_id = self.add_device(login_id, "laptop", key)
        return Person(name, login_id, device_id, key, secret)

    def add_device(self, login_id: str, name: str, key: Path) -> str:
        """Register a key pair for a login; the device's id."""
        device_id = new_id()
        public = read_ssh_key(key.with_suffix(".pub").read_text())
        with writing(self.engine) as connection:
            add(
                connection,
                tables.DEVICE,
                id=device_id,
                contract_id=self.contract_id,
                login_id=login_id,
                name=name,
                state="active",
                ssh_key=public.ssh_key,
                key_sha256=public.sha256,
                weak_key=public.weak,
                certificate="",
                added_us=1,
            )
            bump_revision(connection)
        self.watch.refresh()
        return device_id

    def lock_device(self, person: Person) -> None:
        """Lock a device as the CLI does; every process notices."""
        with writing(self.engine) as connection:
            change(connection, tables.DEVICE, person.device_id, state="locked")
            bump_revision(connection)

    def add_line(
        self, name: str, networks: Sequence[str], *, crypto: str = "modern"
    ) -> str:
        """Open another line of the contract; its id."""
        line_id = new_id()
        with writing(self.engine) as connection:
            add(
                connection,
                tables.LINE,
                id=line_id,
                contract_id=self.contract_id,
                name=name,
                networks=write_networks(networks),
                ports=write_ports([]),
                state="active",
                crypto=crypto,
                added_us=1,
            )
            bump_revision(connection)
        self.watch.refresh()
        return line_id

    def set_line(self, line_id: str, **values: object) -> None:
        """Change a line as the CLI does; every process notices."""
        with writing(self.engine) as connection:
            change(connection, tables.LINE, line_id, **values)
            bump_revision(connection)
        self.watch.refresh()

    def move_line(self, networks: Sequence[str]) -> None:
        """Let the line cover other networks."""
        with writing(self.engine) as connection:
            networks_text = write_networks(networks)
            change(connection, tables.LINE, self.line_id, networks=networks_text)
            bump_revision(connection)
        self.watch.refresh()

    def private(self, person: Person) -> Path:
        """Where a person's files lie on the disk."""
        return self.settings.data_dir / self.contract_id / "private" / person.login_id

    def records(self, **wanted: object) -> list[dict[str, Any]]:
        """The journal's records with these values, in order."""
        streams = sorted((self.settings.state_dir / "journal").rglob("*.jsonl"))
        lines = [line for path in streams for line in path.read_bytes().split(b"\n")]
        found = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [
            record
            for record in found
            if all(record.get(name) == value for name, value in wanted.items())
        ]

    def connect(self) -> socket.socket:
        """A bare connection to the door."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def open_house(
    folder: Path, *, sftp: SftpSettings | None = None, unlock_sftp: bool = True
) -> Iterator[SftpHouse]:
    """Make a store in `folder` and serve it over SFTP on a free loopback port."""
    settings = Settings(
        state_dir=folder / "state",
        data_dir=folder / "data",
        sftp=sftp or SftpSettings(),
        audit=AuditSettings(reserve_bytes=65536),
        auth=AuthSettings(
            argon2_memory_kib=19456, argon2_iterations=1, unlock_sftp=unlock_sftp
        ),
    )
    places = Places(settings)
    settings.state_dir.mkdir(mode=0o700)
    host_keys = (
        new_key(folder / "host_ed25519_key"),
        write_key(folder / "host_rsa_key", _rsa_host_key()),
    )
    upgrade(places.accounts_url, Chain.ACCOUNTS)
    clock = SystemClock()
    with ExitStack() as stack:
        engine = open_engine(places.accounts_url, Role.ACCOUNTS)
        stack.callback(engine.dispose)
        house = SftpHouse(
            settings=settings,
            engine=engine,
            watch=AccountsWatch(engine, clock=clock, poll_ms=50),
            hasher=Hasher(settings.auth),
            box=SecretBox(os.urandom(32)),
            contract_id=new_id(),
            folder=folder,
        )
        _found(house)
        gate = _gate(stack, settings)
        desk = _desk(stack, house, gate)
        listening = socket.create_server(("127.0.0.1", 0))
        house.port = listening.getsockname()[1]
        house.listener = Listener(
            [listening],
            desk=desk,
            filesystem=_filesystem(stack, house, gate),
            settings=settings.sftp,
            host_keys=host_keys,
            clock=clock,
        )
        house.listener.start()
        stack.callback(house.listener.close)
        yield house


def _gate(stack: ExitStack, settings: Settings) -> Gate:
    clock = SystemClock()
    journal = Journal.open(
        Places(settings).journal,
        node=settings.node,
        slot="worker-1",
        clock=clock,
        settings=settings.audit,
    )
    stack.callback(journal.close)
    gate = Gate(journal, clock=clock, settings=settings.audit)
    stack.callback(gate.close)
    return gate


def _desk(stack: ExitStack, house: SftpHouse, gate: Gate) -> Desk:
    clock, settings = SystemClock(), house.settings
    sessions = Sessions(
        house.engine,
        house.watch,
        process=Process(node="node-1", slot="worker-1", pid=os.getpid()),
        clock=clock,
    )
    ledger = Ledger(house.engine, gate, clock=clock)
    credentials = Credentials(
        house.engine,
        hasher=house.hasher,
        box=house.box,
        watch=house.watch,
        ledger=ledger,
        clock=clock,
        settings=settings.auth,
    )
    knocks = Knocks(gate, clock=clock)
    bans = Bans(house.engine, gate, clock=clock, first_us=600_000_000)
    office = Office(
        watch=house.watch,
        sessions=sessions,
        credentials=credentials,
        attempts=Attempts(bans, knocks, clock=clock, settings=settings.auth),
        clerk=Clerk(engine=house.engine, ledger=ledger, clock=clock, who={}),
        gate=gate,
        clock=clock,
        accounts_age_s_max=settings.auth.accounts_age_s_max,
    )
    queries_max = settings.sftp.key_queries_max
    desk = Desk(office, knocks, key_queries_max=queries_max)
    stack.callback(desk.close)
    house.watch.start()
    stack.callback(house.watch.stop)
    house.sessions = sessions
    sessions.start()
    stack.callback(sessions.stop)
    return desk


def _filesystem(stack: ExitStack, house: SftpHouse, gate: Gate) -> FileSystem:
    disk = Disk(house.settings.data_dir, sync=False)
    stack.callback(disk.close)
    locks = opened_locks(house.settings, disk, house.watch.snapshot, SystemClock())
    return FileSystem(
        gate=gate,
        storage=LocalStorage(disk),
        locks=stack.enter_context(locks),
        accounts=house.watch.snapshot,
        settings=house.settings,
        clock=SystemClock(),
    )


def _found(house: SftpHouse) -> None:
    """One contract with one line: loopback."""
    house.line_id = new_id()
    with writing(house.engine) as connection:
        add(
            connection,
            tables.CONTRACT,
            id=house.contract_id,
            name="main",
            device_ca="",
            added_us=1,
        )
        add(
            connection,
            tables.LINE,
            id=house.line_id,
            contract_id=house.contract_id,
            name="loopback",
            networks=write_networks(LOOPBACK),
            ports=write_ports([]),
            state="active",
            crypto="modern",
            added_us=1,
        )
        bump_revision(connection)


_rsa_lock = threading.Lock()
_rsa_keys: list[RSAPrivateKey] = []


def _rsa_host_key() -> RSAPrivateKey:
    """Making one takes most of a second, so the test session makes one."""
    with _rsa_lock:
        if not _rsa_keys:
            _rsa_keys.append(generate_private_key(public_exponent=65537, key_size=3072))
        return _rsa_keys[0]
