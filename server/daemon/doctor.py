"""`kagikura doctor`: what would stop a client from connecting, in plain words."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from cryptography import x509

from server.access.keystore import KeyStore
from server.access.tls import Certificates
from server.audit.handshakes import recent
from server.auth.accounts import load_snapshot
from server.auth.bans import named_bans
from server.auth.health import Finding, Health, device_findings, line_findings
from server.auth.snapshot import Snapshot
from server.daemon.machine import (
    certificate_findings,
    clock_finding,
    disk_findings,
    key_findings,
    listeners,
    port_findings,
    validity,
)
from server.daemon.parts import is_running, opened_accounts
from server.daemon.reading import operator_fields, trail_reader, trail_status
from server.daemon.trail import CLOCK, PassingTrail, require_store
from server.db.engine import DatabaseError, reading
from server.model.clock import rfc3339
from server.model.errors import UnavailableError
from server.model.event import Json
from server.model.operation import Operation, Outcome
from server.settings.schema import Settings

Facts = dict[str, Json]
RECENT_MAX: Final = 20
_RECENT_US: Final = 24 * 3600 * 1_000_000
_LAG_S_MAX: Final = 60


def doctor(settings: Settings, operator: str, *, with_recent: bool) -> Facts:
    """Look at everything; the look is on record.

    Args:
        settings: Of the store.
        operator: Who asks, `os:NAME`.
        with_recent: Tell the failed handshakes of the last day too.

    Returns:
        `healthy`, `findings`, and `recent` where it was asked for.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        AuditUnavailableError: The trail cannot be written.
    """
    require_store(settings)
    running = is_running(settings)
    found = list(_findings(settings, running=running))
    problems = sum(finding.health is Health.PROBLEM for finding in found)
    warnings = sum(finding.health is Health.WARNING for finding in found)
    facts: Facts = {"healthy": not problems, "findings": [_told(one) for one in found]}
    if with_recent:
        facts["recent"] = _recent(settings, operator)
    PassingTrail(settings).event(
        operator_fields(operator),
        Operation.ADMIN_STORE_DOCTOR,
        Outcome.DONE,
        detail={"problems": problems, "warnings": warnings},
    )
    return facts


def _findings(settings: Settings, *, running: bool) -> Iterator[Finding]:
    health, words = (Health.OK, "runs") if running else (Health.PROBLEM, "does not run")
    yield Finding("daemon", health, f"The daemon {words}.")
    keys = KeyStore(settings.state_dir)
    server = Certificates(keys, settings.webdav)
    yield from certificate_findings(server.certificate, "The server's certificate")
    yield from certificate_findings(keys.server_ca, "The store's own authority")
    yield from key_findings(settings)
    yield clock_finding()
    yield from disk_findings(settings)
    yield from port_findings(settings, running=running)
    yield from _accounts(settings)
    yield from _trail(settings, running=running)


def _accounts(settings: Settings) -> Iterator[Finding]:
    now_us = CLOCK.time_us()
    try:
        with opened_accounts(settings) as engine, reading(engine) as connection:
            accounts = load_snapshot(connection)
            bans = named_bans(connection, now_us)
    except DatabaseError as error:
        text = f"The accounts database does not answer: {error}"
        yield Finding("database", Health.PROBLEM, text)
        return
    yield Finding("database", Health.OK, "The accounts database answers.")
    families = {
        6 if ":" in host else 4
        for listener in listeners(settings).values()
        for host in listener.host
    }
    yield from line_findings(accounts, now_us, families=families)
    yield from device_findings(accounts, now_us)
    yield from _certificates(accounts)
    for ban in bans:
        until_us = ban["until_us"]
        until = rfc3339(until_us) if isinstance(until_us, int) else ""
        text = (
            f"{ban['source']} is banned from {ban['contract']}/{ban['line']} until "
            f"{until} ({ban['rule']}): `kagikura session ban lift {ban['source']}`."
        )
        yield Finding("ban", Health.WARNING, text)


def _certificates(accounts: Snapshot) -> Iterator[Finding]:
    """Device authorities and pinned certificates; only what needs a look."""
    found = [
        (contract.device_ca, f"The device authority of {contract.name}")
        for contract in accounts.contracts
    ]
    for device in accounts.devices:
        login = accounts.login(device.login_id)
        owner = login.name if login else "?"
        found.append((device.certificate, f"The certificate of {owner}/{device.name}"))
    for pem, name in found:
        if not pem:
            continue
        finding = validity(x509.load_pem_x509_certificate(pem.encode()), name)
        if finding.health is Health.PROBLEM and name.startswith("The certificate of"):
            finding = replace(finding, health=Health.WARNING)
        if finding.health is not Health.OK:
            yield finding


def _trail(settings: Settings, *, running: bool) -> Iterator[Finding]:
    facts = trail_status(settings)
    level = str(facts["level"])
    health = Health.OK if level == "ok" else Health.PROBLEM
    text = f"The trail has {facts['left_percent']} % of its room left ({level})."
    yield Finding("trail", health, text)
    for name in ("audit", "recorder"):
        if name in facts:
            yield Finding("trail", Health.PROBLEM, str(facts[name]))
    lag_s = facts.get("lag_s")
    if running and isinstance(lag_s, int) and lag_s > _LAG_S_MAX:
        text = f"The audit database is {lag_s} s behind the journal."
        yield Finding("trail", Health.WARNING, text)


def _recent(settings: Settings, operator: str) -> list[Json]:
    since_us = CLOCK.time_us() - _RECENT_US
    try:
        with trail_reader(settings, operator) as reader:
            rows = recent(reader, since_us=since_us, count=RECENT_MAX)
    except UnavailableError as error:
        return [{"hint": str(error)}]
    return [_failed(row) for row in rows]


def _failed(row: dict[str, Json]) -> Json:
    detail = row.get("detail")
    names = ("time", "protocol", "source_ip", "client", "rule")
    told: Facts = {name: row.get(name, "") for name in names}
    if isinstance(detail, dict):
        told["count"] = detail.get("count", 1)
        told["hint"] = detail.get("hint", "")
    return told


def _told(finding: Finding) -> Json:
    return {
        "check": finding.check,
        "health": str(finding.health),
        "text": finding.text,
    }
