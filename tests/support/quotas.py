"""A house with quotas: what its counters say, and whether the disk agrees."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from server.auth.snapshot import Snapshot
from server.model.quota import NO_QUOTA, Quota, Usage
from server.settings.schema import StorageSettings
from server.storage.counters import Counters
from server.storage.disk import Disk
from server.storage.meter import Meter
from server.storage.metered import MeteredStorage
from server.storage.scope import Scope
from server.vfs.quotas import Quotas
from tests.support.house import ACCOUNTS, House, open_house


def accounts_with(
    *, login: Quota = NO_QUOTA, folder: Quota = NO_QUOTA, contract: Quota = NO_QUOTA
) -> Snapshot:
    """The house's accounts; the quotas are Alice's, the team's and the contract's."""
    return replace(
        ACCOUNTS,
        contracts=tuple(replace(c, quota=contract) for c in ACCOUNTS.contracts),
        logins=tuple(
            replace(one, quota=login) if one.name == "alice" else one
            for one in ACCOUNTS.logins
        ),
        folders=tuple(
            replace(one, quota=folder) if one.name == "team" else one
            for one in ACCOUNTS.folders
        ),
    )


@dataclass(slots=True)
class Metered:
    """A house, its meter, and who was warned of what."""

    accounts: Snapshot
    house: House | None = None
    meter: Meter | None = None
    warned: list[tuple[str, int]] = field(default_factory=list)

    @property
    def scopes(self) -> list[Scope]:
        return Quotas(lambda: self.accounts).all()

    def used(self, title: str) -> Usage:
        """What a counter says."""
        assert self.meter is not None
        (scope,) = [scope for scope in self.scopes if scope.title == title]
        return self.meter.used(scope)

    def wrong(self) -> list[tuple[str, Usage, Usage]]:
        """The counters that say something else than the disk."""
        assert self.meter is not None
        told = [(scope.title, *self.meter.recount(scope)) for scope in self.scopes]
        return [one for one in told if one[1] != one[2]]

    def over(self) -> list[str]:
        """What is above its quota."""
        assert self.meter is not None
        return [
            scope.title
            for scope in self.scopes
            for _, used, most in scope.quota.pairs(self.meter.on_disk(scope))
            if used > most
        ]


@contextmanager
def metered_house(
    folder: Path,
    accounts: Snapshot,
    *,
    owner: str = "worker",
    crashed: bool = False,
    rules: StorageSettings | None = None,
) -> Iterator[tuple[House, Metered]]:
    """Open a store with quotas in `folder`, after a crash perhaps."""
    metered = Metered(accounts)

    def storage(disk: Disk) -> MeteredStorage:
        metered.meter = Meter(
            Counters(disk),
            disk,
            scopes=Quotas(lambda: metered.accounts).scopes,
            owner=owner,
            crossed=lambda scope, level, _: metered.warned.append((scope.title, level)),
        )
        if crashed:
            metered.meter.distrust("c", crashed=True)
        return MeteredStorage(disk, metered.meter)

    with open_house(folder, storage=storage, rules=rules) as house:
        metered.house = house
        yield house, metered
