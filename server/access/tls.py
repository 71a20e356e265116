"""The server's certificate, and which client certificates the handshake takes."""

import socket
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from server.access.accounts_watch import AccountsWatch
from server.access.keystore import KeyStore, write_private
from server.audit.gate import Gate
from server.auth import certificates
from server.model.event import actor_fields
from server.model.identity import Actor
from server.model.operation import Operation, Outcome, Protocol
from server.settings.schema import WebdavSettings

_LOOKUP_S_MAX: Final = 3.0
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
_ANYWHERE: Final = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9)),
)
"""Addresses for documentation (RFC 5737, RFC 3849): nothing is sent to them."""


class Certificates:
    """What the TLS listeners load."""

    def __init__(self, keys: KeyStore, settings: WebdavSettings) -> None:
        """Use the operator's certificate if the settings name one, else our own."""
        self._keys = keys
        self._names = settings.names
        self._stamp, self._changes = 0, 0
        self._own = settings.certificate is None or settings.key is None
        self.certificate = settings.certificate or keys.server_certificate
        self.key = settings.key or keys.server_key
        if self._own:
            self.certificate, self.key = keys.server_certificate, keys.server_key

    def renew(self, gate: Gate | None = None) -> bool:
        """Make or renew our own certificate if it is due; true if that was done.

        It is due when it is missing, ends within 30 days, is of another authority or
        lacks a name of this machine. The key stays, so that file by file the pair
        always fits. Call it at start and once a day.

        Raises:
            OSError: The key files cannot be read or written.
            AuditUnavailableError: It is not recorded (the certificate is in place).
        """
        if not self._own:
            return False
        names = list(dict.fromkeys([*machine_names(), *_ALWAYS, *self._names]))
        if self._stands(names):
            return False
        authority = self._keys.server_authority()
        if not self.key.exists():
            write_private(
                self.key, certificates.key_pem(certificates.new_key()).encode()
            )
        key = certificates.load_key(self.key.read_text())
        certificate = certificates.issue_server(authority, names, key)
        chain = certificates.certificate_pem(
            certificate
        ) + certificates.certificate_pem(authority.certificate)
        write_private(self.certificate, chain.encode())
        if gate is not None:
            gate.event(
                actor_fields(Actor(protocol=Protocol.SYSTEM)),
                Operation.SYSTEM_CERTIFICATE,
                Outcome.DONE,
                detail={
                    "names": list(names),
                    "until": certificate.not_valid_after_utc.isoformat(),
                },
            )
        return True

    @property
    def changes(self) -> int:
        """How often the file was seen to change, whichever process changed it."""
        stamp = self.certificate.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp, self._changes = stamp, self._changes + 1
        return self._changes

    def _stands(self, names: Iterable[str]) -> bool:
        try:
            found = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            self.key.read_bytes()
        except (FileNotFoundError, ValueError):
            return False
        left = found.not_valid_after_utc - datetime.now(UTC)
        wanted = {str(certificates.general_name(name).value) for name in names}
        return (
            left > timedelta(days=certificates.RENEW_DAYS)
            and wanted <= certificates.names_of(found)
            and found.issuer == self._keys.server_authority().certificate.subject
        )


class ClientTrust:
    """Whom the handshake of `[webdav]` takes: device authorities, pinned certificates.

    A pinned certificate need not be an authority: set `VERIFY_X509_PARTIAL_CHAIN`. The
    handshake proves a key; whose device it is, and whether it may come in, is asked
    afterwards.
    """

    def __init__(self, watch: AccountsWatch) -> None:
        """Follow the accounts of `watch`."""
        self._watch = watch
        self._made: tuple[int, str] = (-1, "")

    @property
    def revision(self) -> int:
        """The accounts' revision: where it has moved, `pem` may have changed."""
        return self._watch.snapshot().revision

    def pem(self) -> str:
        """The certificates, PEM, one after another; cheap while nothing changes."""
        snapshot = self._watch.snapshot()
        revision, made = self._made
        if revision != snapshot.revision:
            found = [contract.device_ca for contract in snapshot.contracts]
            found += [pem for c in snapshot.contracts for pem in c.authorities]
            found += [d.certificate for d in snapshot.devices if d.certificate]
            made = "".join(dict.fromkeys(found))
            self._made = (snapshot.revision, made)
        return made


def machine_names() -> list[str]:
    """This machine's host name, full name and addresses, as far as it knows them."""
    host = socket.gethostname()
    full: list[str] = []
    # A resolver that does not answer must not hold the start up.
    thread = threading.Thread(
        target=lambda: full.append(socket.getfqdn()), name="own-name", daemon=True
    )
    thread.start()
    thread.join(_LOOKUP_S_MAX)
    names = [host, *full, *_addresses()]
    return [name for name in names if _acceptable(name)]


def _addresses() -> list[str]:
    """The addresses that outgoing connections would have."""
    found = []
    for family, anywhere in _ANYWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(anywhere)
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found


def _acceptable(name: str) -> bool:
    try:
        certificates.general_name(name)
    except (ValueError, UnicodeError):
        return False
    return bool(name)
