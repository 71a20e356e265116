"""What of the machine would keep clients out: files, clock, disks, ports."""

import ctypes
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from server.auth.health import Finding, Health
from server.daemon.parts import opened_disk
from server.model.errors import StorageFailedError
from server.settings.schema import ListenerSettings, Settings

_SOON: Final = timedelta(days=14)
_LEFT_PERCENT_WARNING: Final = 10
_LEFT_PERCENT_PROBLEM: Final = 3
_TIME_ERROR: Final = 5
"""What adjtimex(2) answers while the clock is not synchronised."""
_TIMEX_BYTES: Final = 208
_LISTENING: Final = "0A"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def certificate_findings(path: Path, name: str) -> Iterator[Finding]:
    """Whether a certificate file can be read and how long it is valid."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        text = f"{name} cannot be read ({path}): {error}"
        yield Finding("certificate", Health.PROBLEM, text)
        return
    yield validity(found, name)


def validity(certificate: x509.Certificate, name: str) -> Finding:
    """How long a certificate is valid still."""
    end, begin = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    now = datetime.now(UTC)
    until = f"{end:%Y-%m-%d}"
    if now < begin:
        start = f"{begin:%Y-%m-%d %H:%M} UTC"
        text = f"{name} is valid only from {start} on: is the clock right?"
        return Finding("certificate", Health.PROBLEM, text)
    if end <= now:
        return Finding("certificate", Health.PROBLEM, f"{name} expired on {until}.")
    if end - now < _SOON:
        return Finding("certificate", Health.WARNING, f"{name} expires on {until}.")
    return Finding("certificate", Health.OK, f"{name} is valid until {until}.")


def key_findings(settings: Settings) -> Iterator[Finding]:
    """Whether anybody else can read the keys."""
    folder = settings.state_dir / "keys"
    owner = settings.state_dir.stat().st_uid
    secret = [folder, *(path for path in folder.rglob("*") if path.suffix != ".pem")]
    if settings.webdav.key is not None and settings.webdav.key.exists():
        secret.append(settings.webdav.key)
    bad = 0
    for path in secret:
        found = path.stat()
        if found.st_mode & _OTHERS:
            bad += 1
            text = f"{path} can be read by others: chmod go= {path}"
            yield Finding("keys", Health.PROBLEM, text)
        if found.st_uid not in {owner, 0}:
            bad += 1
            text = f"{path} belongs to another user than {settings.state_dir}."
            yield Finding("keys", Health.PROBLEM, text)
    if not bad:
        text = f"{len(secret)} key files and folders are the store's alone."
        yield Finding("keys", Health.OK, text)


def disk_findings(settings: Settings) -> Iterator[Finding]:
    """Room, and whether files can bear the mark of their act."""
    rooms = {"state_dir": os.statvfs(settings.state_dir)}
    try:
        with opened_disk(settings) as data:
            rooms["data_dir"] = data.room()
            data.require_marks()
    except (OSError, StorageFailedError) as error:
        yield Finding("disk", Health.PROBLEM, f"The data folder: {error}")
    else:
        text = "data_dir keeps extended attributes (user.*)."
        yield Finding("disk", Health.OK, text)
    for name, disk in rooms.items():
        left = 100 * disk.f_bavail // max(disk.f_blocks, 1)
        health = Health.OK
        if left < _LEFT_PERCENT_WARNING:
            health = Health.WARNING
        if left < _LEFT_PERCENT_PROBLEM:
            health = Health.PROBLEM
        free_mib = disk.f_bavail * disk.f_frsize >> 20
        text = f"{name} has {left} % free, {free_mib} MiB."
        yield Finding("disk", health, text)


def clock_finding() -> Finding:
    """Whether the kernel's clock is synchronised; codes and certificates need it."""
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(
        ctypes.byref(ctypes.create_string_buffer(_TIMEX_BYTES))
    )
    if answer == _TIME_ERROR:
        text = (
            "The clock is not synchronised: one-time codes and the trail's times need "
            "it (systemd-timesyncd or chrony)."
        )
        return Finding("clock", Health.WARNING, text)
    return Finding("clock", Health.OK, "The clock is synchronised.")


def port_findings(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Whether the ports are listened on, and by whom."""
    listening = _listening_ports()
    for name, listener in listeners(settings).items():
        if listener.port == 0:
            text = (
                f"[{name}] takes a free port at each start; clients need a fixed one."
            )
            yield Finding("port", Health.WARNING, text)
        elif running and listener.port in listening:
            text = f"[{name}] listens on port {listener.port}."
            yield Finding("port", Health.OK, text)
        elif running:
            text = (
                f"[{name}]: nobody listens on port {listener.port}: restart the daemon."
            )
            yield Finding("port", Health.PROBLEM, text)
        elif listener.port in listening:
            text = f"[{name}]: another program listens on port {listener.port}."
            yield Finding("port", Health.PROBLEM, text)
        yield from _doorway(name, listener)


def listeners(settings: Settings) -> dict[str, ListenerSettings]:
    """The listeners that are switched on, by their section's name."""
    found: dict[str, ListenerSettings] = {
        "sftp": settings.sftp,
        "webdav": settings.webdav,
        "webdav.secret": settings.webdav.secret,
    }
    return {name: listener for name, listener in found.items() if listener.enabled}


def _doorway(name: str, listener: ListenerSettings) -> Iterator[Finding]:
    required = listener.proxy_protocol == "required"
    if required and not listener.proxy_trusted:
        text = f"[{name}] requires a proxy and trusts none: nobody can connect."
        yield Finding("port", Health.PROBLEM, text)
    if any(network.endswith("/0") for network in listener.proxy_trusted):
        text = f"[{name}] trusts every address as a proxy: anybody may claim any line."
        yield Finding("port", Health.PROBLEM, text)
    plain = name == "webdav.secret" and not getattr(listener, "tls", True)
    local = all(host in {"127.0.0.1", "::1"} for host in listener.host)
    if plain and not (required or local):
        text = f"[{name}] has no TLS and is open to the network: secrets go in clear."
        yield Finding("port", Health.PROBLEM, text)


def _listening_ports() -> set[int]:
    found: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        cells = [row.split() for row in rows]
        found |= {int(row[1][-4:], 16) for row in cells if row[3] == _LISTENING}
    return found
