"""A store's admission in one process, with a real journal and real databases."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from server.access.accounts_watch import AccountsWatch
from server.access.administration import Administration
from server.access.attempts import Attempts
from server.access.bans import Bans
from server.access.bureau import Bureau, Clerk
from server.access.credentials import Credentials
from server.access.devices import Offer
from server.access.initialise import prepare_state
from server.access.keystore import KeyStore
from server.access.knocks import Knocks
from server.access.ledger import Ledger
from server.access.login import Desk
from server.access.office import Office
from server.access.sessions import Process, Sessions
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.auth.keys import parse_ssh_key
from server.auth.password import Hasher
from server.db.engine import Engine, Role, open_engine
from server.model.clock import SystemClock
from server.model.event import actor_fields
from server.model.identity import Actor
from server.model.operation import Protocol
from server.settings.places import Places
from server.settings.schema import (
    AuditSettings,
    AuthSettings,
    DatabaseSettings,
    Settings,
)

PASSWORD = "correct horse battery"
CHEAP: dict[str, Any] = {
    "argon2_memory_kib": 19456,
    "argon2_iterations": 1,
    "revision_poll_ms": 50,
}
"""The least costly hash that the settings allow."""
BAN_US = 600_000_000


@dataclass
class TestClock:
    """The machine's clocks, moved forward at will."""

    __test__ = False
    ahead_us: int = 0
    _real: SystemClock = field(default_factory=SystemClock)

    def time_us(self) -> int:
        return self._real.time_us() + self.ahead_us

    def mono_ns(self) -> int:
        return self._real.mono_ns() + self.ahead_us * 1000


@dataclass(kw_only=True)
class Accounts:
    """The parts, as a worker has them, and the administration beside them."""

    settings: Settings
    clock: TestClock
    engine: Engine
    gate: Gate
    keys: KeyStore
    watch: AccountsWatch
    sessions: Sessions
    credentials: Credentials
    desk: Desk
    administration: Administration
    erased: list[str]

    def records(self, **equals: object) -> list[dict[str, Any]]:
        """The trail's records with these fields, in the order of their writing."""
        found = []
        for segment in sorted((self.settings.state_dir / "journal").rglob("*.jsonl")):
            for line in segment.read_text().splitlines():
                record = json.loads(line)
                if equals.items() <= record.items():
                    found.append(record)
        return found

    def refusals(self) -> list[tuple[str, str]]:
        """Stage and rule of all refused logins so far."""
        return [
            (record["stage"], record["rule"])
            for record in self.records(operation="login", outcome="refused")
        ]


@cache
def _rsa_host_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@contextmanager
def opened(
    folder: Path, *, url: str = "", node: str = "node-1", **auth: int | str
) -> Iterator[Accounts]:
    """Open a store of its own in `folder`."""
    settings = Settings(
        node=node,
        state_dir=folder / "state",
        data_dir=folder / "data",
        audit=AuditSettings(reserve_bytes=65536),
        auth=AuthSettings(**{**CHEAP, **auth}),
        database=DatabaseSettings(url=url),
    )
    clock = TestClock()
    # Making an RSA key takes a second: one serves all stores of a test process.
    keys_folder = settings.state_dir / "keys"
    if not keys_folder.exists():
        keys_folder.mkdir(parents=True, mode=0o700)
        (keys_folder / "ssh_host_rsa_key").touch(0o600)
        (keys_folder / "ssh_host_rsa_key").write_bytes(_rsa_host_key())
    keys = prepare_state(settings)
    with ExitStack() as stack:
        engine = open_engine(Places(settings).accounts_url, Role.ACCOUNTS)
        stack.callback(engine.dispose)
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
        yield _composed(settings, clock, engine, gate, keys, stack)


def _composed(
    settings: Settings,
    clock: TestClock,
    engine: Engine,
    gate: Gate,
    keys: KeyStore,
    stack: ExitStack,
) -> Accounts:
    watch = AccountsWatch(engine, clock=clock, poll_ms=settings.auth.revision_poll_ms)
    process = Process(node=settings.node, slot="worker-1", pid=1)
    sessions = Sessions(engine, watch, process=process, clock=clock)
    ledger = Ledger(engine, gate, clock=clock)
    hasher = Hasher(settings.auth)
    credentials = Credentials(
        engine,
        hasher=hasher,
        box=keys.box(),
        watch=watch,
        ledger=ledger,
        clock=clock,
        settings=settings.auth,
    )
    knocks = Knocks(gate, clock=clock)
    bans = Bans(engine, gate, clock=clock, first_us=BAN_US)
    office = Office(
        watch=watch,
        sessions=sessions,
        credentials=credentials,
        attempts=Attempts(bans, knocks, clock=clock, settings=settings.auth),
        clerk=Clerk(engine=engine, ledger=ledger, clock=clock, who={}),
        gate=gate,
        clock=clock,
        accounts_age_s_max=settings.auth.accounts_age_s_max,
    )
    desk = Desk(
        office,
        knocks,
        key_queries_max=settings.sftp.key_queries_max,
    )
    erased: list[str] = []
    bureau = _bureau(settings, ledger, hasher, keys, erase=erased.append)
    watch.start()
    stack.callback(watch.stop)
    sessions.start()
    stack.callback(sessions.stop)
    return Accounts(
        settings=settings,
        clock=clock,
        engine=engine,
        gate=gate,
        keys=keys,
        watch=watch,
        sessions=sessions,
        credentials=credentials,
        desk=desk,
        administration=Administration(bureau),
        erased=erased,
    )


def _bureau(
    settings: Settings,
    ledger: Ledger,
    hasher: Hasher,
    keys: KeyStore,
    *,
    erase: Callable[[str], None],
) -> Bureau:
    return Bureau(
        engine=ledger._engine,
        ledger=ledger,
        clock=ledger._clock,
        who=actor_fields(Actor(protocol=Protocol.CLI, login="os:tester")),
        settings=settings.auth,
        hasher=hasher,
        keys=keys,
        erase=erase,
        recount=lambda _contract: None,
    )


@dataclass(frozen=True, kw_only=True)
class Client:
    """A device's public key as SSH and TLS name it."""

    ssh_key: str
    algorithm: str
    blob: bytes
    key_sha256: str


def client(ssh_key: str) -> Client:
    """What a client with this public key shows."""
    algorithm, encoded = ssh_key.split()[:2]
    return Client(
        ssh_key=ssh_key,
        algorithm=algorithm,
        blob=base64.b64decode(encoded),
        key_sha256=parse_ssh_key(ssh_key)[1],
    )


def add_person(store: Accounts, name: str, ssh_key: str, totp: str = "off") -> str:
    """Add and enrol a user with a device `laptop`; its TOTP secret, base32, or ''."""
    admin = store.administration
    added = admin.logins.add(
        name, totp_rule="required" if totp == "required" else "off"
    )
    enrolled = admin.logins.enrol(name, str(added["enrolment_code"]), PASSWORD)
    admin.devices.add(name, "laptop", Offer(ssh_key=ssh_key))
    uri = str(enrolled.get("totp_uri", ""))
    return uri.partition("secret=")[2].partition("&")[0]


def count_checks(store: Accounts) -> list[str]:
    """Count the password checks from here on."""
    ran: list[str] = []
    hasher = store.credentials._hasher
    plain = hasher.verify

    def counted(stored: str | None, password: str | bytes) -> bool:
        ran.append(str(password))
        return plain(stored, password)

    hasher.verify = counted  # type: ignore[method-assign]  # to count, not to change
    return ran
