"""A store that serves WebDAV in this process: real accounts, trail, disk, listeners."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.access.devices import Issued, Offer, Package
from server.access.tls import Certificates, ClientTrust
from server.model.operation import PRESETS
from server.settings.schema import SecretSettings, Settings, WebdavSettings
from server.storage.disk import Disk
from server.storage.local import LocalStorage
from server.vfs.filesystem import FileSystem
from server.webdav.application import Application
from server.webdav.authentication import Gate
from server.webdav.connection import Service
from server.webdav.hotpath import HotPath
from server.webdav.listener import Listener
from server.webdav.tls import TlsContexts, TlsMaterial
from tests.support.accounts import PASSWORD, Accounts
from tests.support.accounts import opened as opened_accounts
from tests.support.locks import opened_locks
from tests.support.waiting import until

HEADER_TIMEOUT_S = 2
XML_BYTES_MAX = 8192


@dataclass(frozen=True, kw_only=True)
class Person:
    """A login, its laptop's certificate (with key, PEM) and the laptop's secret."""

    name: str
    certificate: Path
    secret: str

    @property
    def password(self) -> str:
        return PASSWORD

    @property
    def secret_user(self) -> str:
        return f"{self.name}+laptop"


@dataclass(kw_only=True)
class WebdavStore:
    """What a test needs of the running store."""

    folder: Path
    accounts: Accounts
    listener: Listener
    secret_listener: Listener
    port: int
    secret_port: int
    general_port: int
    """As `secret_port`, where no request goes the short way."""
    server_ca: Path
    alice: Person
    bob: Person

    @property
    def url(self) -> str:
        """The listener that asks for a certificate."""
        return f"https://localhost:{self.port}"

    @property
    def secret_url(self) -> str:
        """The listener for device secrets, without TLS."""
        return f"http://127.0.0.1:{self.secret_port}"

    def records(self, **equals: object) -> list[dict[str, Any]]:
        """The trail's records with these fields."""
        return self.accounts.records(**equals)

    def outcomes(self, operation: str) -> list[dict[str, Any]]:
        """How the acts of one kind ended."""
        return [
            record
            for record in self.records(operation=operation)
            if record["phase"] in {"outcome", "event"}
        ]

    def wait_for(self, count: int = 1, **equals: object) -> list[dict[str, Any]]:
        """The records with these fields, as soon as there are `count`."""
        until(lambda: len(self.records(**equals)) >= count, what=f"recorded: {equals}")
        return self.records(**equals)

    def curl(
        self, method: str, path: str, *options: str, person: Person | None = None
    ) -> tuple[int, str]:
        """Status and body of curl's request with the certificate and password."""
        person = person or self.alice
        arguments = [
            *("--cacert", str(self.server_ca), "--cert", str(person.certificate)),
            *("-u", f"{person.name}:{person.password}", *options),
        ]
        return curl(method, self.url + path, *arguments)

    def connect(self) -> socket.socket:
        """A raw connection to the listener without TLS."""
        return socket.create_connection(("127.0.0.1", self.secret_port), timeout=10)

    def client_context(self, person: Person | None = None) -> ssl.SSLContext:
        """A TLS client's context, with a person's certificate or none."""
        context = ssl.create_default_context(cafile=self.server_ca)
        if person is not None:
            context.load_cert_chain(person.certificate)
        return context


def curl(method: str, url: str, *options: str) -> tuple[int, str]:
    """Status and body of a request; status 0 when the connection failed."""
    how = ["-I"] if method == "HEAD" else ["-X", method]
    done = subprocess.run(
        ["curl", "-sS", "--path-as-is", *how, *options, "-w", "\n%{http_code}", url],
        capture_output=True,
        timeout=60,
        check=False,
    )
    body, _, status = done.stdout.decode("utf-8", "replace").rpartition("\n")
    return int(status), body


def require_program(name: str) -> str:
    """The path of a client, or skip by name."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def served(folder: Path) -> Iterator[WebdavStore]:
    """Serve a store with two people and a line for 127.0.0.1 and ::1 alone."""
    with ExitStack() as stack:
        accounts = stack.enter_context(opened_accounts(folder))
        admin = accounts.administration
        admin.contracts.add("main")
        admin.lines.add("main", "here", networks=("127.0.0.1/32", "::1/128"))
        alice = _person(accounts, folder, "alice")
        bob = _person(accounts, folder, "bob")
        admin.folders.add("main", "team")
        for person in (alice, bob):
            admin.folders.grant("main", "team", person.name, PRESETS["editor"])
        yield _listening(folder, accounts, (alice, bob), stack)


def _person(accounts: Accounts, folder: Path, name: str) -> Person:
    admin = accounts.administration
    added = admin.logins.add(name, totp_rule="off")
    admin.logins.enrol(name, str(added["enrolment_code"]), PASSWORD)
    offer = Offer(issue=Package.PEM, secret=True)
    issued: Issued = admin.devices.add(name, "laptop", offer)[1]
    certificate = folder / f"{name}.pem"
    certificate.write_bytes(issued.file)
    return Person(name=name, certificate=certificate, secret=issued.secret)


def _listening(
    folder: Path,
    accounts: Accounts,
    people: tuple[Person, Person],
    stack: ExitStack,
) -> WebdavStore:
    settings = accounts.settings.model_copy(
        update={
            "webdav": WebdavSettings(
                threads=8,
                header_timeout_s=HEADER_TIMEOUT_S,
                xml_bytes_max=XML_BYTES_MAX,
                secret=SecretSettings(enabled=True, tls=False),
            )
        }
    )
    disk = Disk(settings.data_dir, sync=False)
    stack.callback(disk.close)
    locks = opened_locks(settings, disk, accounts.watch.snapshot, accounts.clock)
    files = FileSystem(
        gate=accounts.gate,
        storage=LocalStorage(disk),
        locks=stack.enter_context(locks),
        accounts=accounts.watch.snapshot,
        settings=settings,
        clock=accounts.clock,
    )
    listeners, ports = _listeners(settings, accounts, files, stack)
    until(lambda: accounts.watch.snapshot().grants, what="the accounts are loaded")
    return WebdavStore(
        folder=folder,
        accounts=accounts,
        listener=listeners[0],
        secret_listener=listeners[1],
        port=ports[0],
        secret_port=ports[1],
        general_port=ports[2],
        server_ca=accounts.keys.server_ca,
        alice=people[0],
        bob=people[1],
    )


def _listeners(
    settings: Settings, accounts: Accounts, files: FileSystem, stack: ExitStack
) -> tuple[list[Listener], list[int]]:
    """With certificates, with secrets, with secrets the general way; their ports."""
    application = Gate(Application(settings.webdav))
    listeners, ports = [], []
    short = HotPath(settings.webdav)
    ways = ((_tls(accounts, settings), short), (None, short), (None, None))
    for tls, hot in ways:
        sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        service = Service(
            settings=settings.webdav,
            desk=accounts.desk,
            files=files,
            tls=tls,
            client_certificates=tls is not None,
            hot=hot,
        )
        listener = Listener([sock], service, application)
        stack.callback(listener.close)
        ports.append(sock.getsockname()[1])
        listener.start()
        listeners.append(listener)
    return listeners, ports


def _tls(accounts: Accounts, settings: Settings) -> TlsContexts:
    certificates = Certificates(accounts.keys, settings.webdav)
    certificates.renew()
    trust = ClientTrust(accounts.watch)
    return TlsContexts(
        lambda: TlsMaterial(
            certificate=certificates.certificate,
            key=certificates.key,
            trust_pem=trust.pem(),
            version=trust.revision,
        ),
        client_certificates=True,
    )
