"""Quotas as each process keeps them: part of the composition root."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Final

from server.audit.gate import Gate
from server.auth.accounts import load_snapshot
from server.auth.snapshot import Snapshot
from server.daemon.parts import opened_accounts, opened_disk, require_initialised
from server.daemon.reading import operator_fields
from server.daemon.trail import SYSTEM, opened_cli_trail
from server.db.engine import DatabaseError, reading
from server.model.errors import UnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation, Outcome
from server.model.quota import Usage
from server.settings.schema import Settings
from server.storage.counters import Counters
from server.storage.disk import Disk
from server.storage.leftovers import LocalLeftovers
from server.storage.meter import Meter
from server.storage.scope import Scope
from server.vfs.quotas import Quotas, every_scope

_FRESH_S: Final = 60.0

Facts = dict[str, Json]


class StoredAccounts:
    """The accounts, for a process that does not watch them: a minute old at most."""

    def __init__(self, settings: Settings) -> None:
        """Read the accounts of these settings."""
        self._settings = settings
        self._known: Snapshot | None = None
        self._until_s = 0.0

    def __call__(self) -> Snapshot:
        """The accounts.

        Raises:
            UnavailableError: The database does not answer.
        """
        if self._known is None or time.monotonic() > self._until_s:
            try:
                with opened_accounts(self._settings) as engine, reading(engine) as view:
                    self._known = load_snapshot(view)
            except DatabaseError as error:
                raise UnavailableError("The accounts database does not answer.") from (
                    error
                )
            self._until_s = time.monotonic() + _FRESH_S
        return self._known


@contextmanager
def opened_meter(
    settings: Settings,
    disk: Disk,
    slot: str,
    gate: Gate,
    accounts: Callable[[], Snapshot],
) -> Iterator[Meter]:
    """Count for the process of a slot, after its acts were recovered.

    What a process of this slot that crashed has left is counted anew.
    """
    counters = Counters(disk)
    mark = give_up(settings, disk, slot)
    mark.touch(mode=0o600)
    _sync(mark)
    try:
        yield Meter(
            counters,
            disk,
            scopes=Quotas(accounts).scopes,
            owner=_owner(settings, slot),
            crossed=lambda scope, level, used: _warn(gate, scope, level, used),
        )
    finally:
        counters.close()
    mark.unlink()


def give_up(settings: Settings, disk: Disk, slot: str) -> Path:
    """Have counted anew what a process of a slot left when it crashed, if it did.

    Returns:
        Where the slot's process marks that it counts.
    """
    mark = settings.state_dir / "quota" / slot
    mark.parent.mkdir(mode=0o700, exist_ok=True)
    if mark.exists():
        counters = Counters(disk)
        try:
            for contract_id in LocalLeftovers(disk).contracts():
                counters.distrust(contract_id, crashed_owner=_owner(settings, slot))
        finally:
            counters.close()
        mark.unlink()
    return mark


def _owner(settings: Settings, slot: str) -> str:
    return blake2s(f"{settings.node}/{slot}".encode(), digest_size=8).hexdigest()


@contextmanager
def quota_office(settings: Settings, operator: str) -> Iterator["QuotaOffice"]:
    """What the commands about quotas ask.

    Args:
        settings: Of the store.
        operator: Who runs the command, `os:NAME`.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: The accounts database does not answer.
    """
    require_initialised(settings)
    accounts = StoredAccounts(settings)
    with (
        opened_cli_trail(settings) as trail,
        opened_disk(settings) as disk,
        opened_meter(settings, disk, "cli", trail.gate, accounts) as meter,
    ):
        yield QuotaOffice(meter, accounts(), trail.gate, operator_fields(operator))


@dataclass(frozen=True, slots=True)
class QuotaOffice:
    """Tells what is used, and counts it anew."""

    meter: Meter
    accounts: Snapshot
    gate: Gate
    who: Fields

    def usage(self, *, every: bool) -> list[Facts]:
        """What is used of each quota; with `every`, of what has none too."""
        return [
            _facts(scope, self.meter.used(scope) if scope.quota else self._there(scope))
            for scope in every_scope(self.accounts)
            if scope.quota or every
        ]

    def recount(self) -> list[Facts]:
        """Count every quota anew from the disk; it is on record what was wrong."""
        scopes = [scope for scope in every_scope(self.accounts) if scope.quota]
        recount(self.meter, scopes, self.gate, self.who)
        return self.usage(every=False)

    def _there(self, scope: Scope) -> Usage:
        return self.meter.on_disk(scope)


def recount(meter: Meter, scopes: Iterable[Scope], gate: Gate, who: Fields) -> None:
    """Count from the disk, and tell where the counter was wrong.

    Raises:
        StorageFailedError: The disk failed.
        AuditUnavailableError: It is not recorded.
    """
    for scope in scopes:
        before, after = meter.recount(scope)
        if before != after:
            gate.event(
                who,
                Operation.SYSTEM_QUOTA_RECOUNT,
                Outcome.DONE,
                target=scope.title,
                detail={
                    "scope": scope.label,
                    "bytes_before": before.bytes,
                    "files_before": before.files,
                    "bytes": after.bytes,
                    "files": after.files,
                },
            )


def used_of_quotas(settings: Settings, accounts: Snapshot) -> list[Json]:
    """What the counters say, without counting anything that is not counted yet."""
    with opened_disk(settings) as disk:
        counters = Counters(disk)
        try:
            return [
                _facts(scope, counter.used)
                for scope in every_scope(accounts)
                if scope.quota and (counter := counters.look(scope.key)).counted
            ]
        finally:
            counters.close()


def _facts(scope: Scope, used: Usage) -> Facts:
    shares = [
        100 * n // most if most else 100 for _, n, most in scope.quota.pairs(used)
    ]
    return {
        "of": scope.title,
        "where": scope.label,
        "bytes": used.bytes,
        "quota_bytes": scope.quota.bytes,
        "files": used.files,
        "quota_files": scope.quota.files,
        "percent": max(shares, default=None),
    }


def _warn(gate: Gate, scope: Scope, level: int, used: Usage) -> None:
    """Tell in the trail that a share of a quota has been reached."""
    gate.event(
        SYSTEM,
        Operation.SYSTEM_QUOTA_WARNING,
        Outcome.DONE,
        wait=False,
        target=scope.title,
        detail={"level": level, **_facts(scope, used)},
    )


def _sync(path: Path) -> None:
    for place in (path, path.parent):
        fd = os.open(place, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
