"""What every administration verb works with, and how it finds what it is about."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from server.access.keystore import KeyStore
from server.access.ledger import Change, Ledger
from server.auth import live, records
from server.auth.password import Hasher
from server.auth.records import RowMap
from server.auth.tables import CONTRACT, LOGIN
from server.db.engine import Connection, DatabaseError, Engine, reading
from server.model.clock import Clock, rfc3339
from server.model.errors import ExistsError, NotFoundError, UnavailableError
from server.model.event import Fields, Json
from server.model.operation import Operation
from server.settings.schema import AuthSettings

Facts = dict[str, Json]
"""What a verb answers: shown as a table or as JSON."""

Listing = list[Json]
"""Several values in one of them."""

SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
LOGIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ITEM_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

WAIT_S_MAX: Final = 10.0
_POLL_S: Final = 0.02
_ALIVE_US: Final = 15_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerk:
    """Somebody who changes the accounts, and no more than that takes."""

    engine: Engine
    ledger: Ledger
    clock: Clock
    who: Fields
    """Whose act it is, as records name them."""

    def change(self, operation: Operation) -> AbstractContextManager[Change]:
        """A recorded change of the accounts; see `Ledger.change`."""
        return self.ledger.change(self.who, operation)

    def read(self) -> "AbstractContextManager[Connection]":
        """Look at the accounts.

        Raises:
            UnavailableError: The database does not answer.
        """
        return _Reading(self.engine)

    def wait_for_cut(
        self,
        revision: int,
        since_us: int,
        *,
        wait_s: float = WAIT_S_MAX,
        **which: str,
    ) -> Facts:
        """Wait until every process has carried out `revision`; tell what it cut.

        Args:
            revision: What the change returned.
            since_us: When the change began.
            wait_s: How long at most.
            **which: Columns of the `sessions` table that name what was locked.

        Returns:
            `sessions_cut`, `cut_ms`, and `workers_pending`: processes that did not
            answer within the limit.
        """
        end_ns = self.clock.mono_ns() + int(wait_s * 1e9)
        while True:
            with self.read() as connection:
                pending = live.workers_behind(
                    connection, revision, self.clock.time_us() - _ALIVE_US
                )
                cut = live.count_cut(connection, since_us, **which)
            if not pending or self.clock.mono_ns() >= end_ns:
                return {
                    "sessions_cut": cut,
                    "cut_ms": (self.clock.time_us() - since_us) // 1000,
                    "workers_pending": pending,
                }
            time.sleep(_POLL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bureau(Clerk):
    """The collaborators of the verbs; `who` is the operator."""

    settings: AuthSettings
    hasher: Hasher
    keys: KeyStore
    erase: Callable[[str], None]
    """Remove all files of a contract, by its id (from the storage)."""
    recount: Callable[[str], None]
    """Have the quotas of a contract counted anew, by its id (likewise)."""


class _Reading(AbstractContextManager[Connection]):
    """`db.engine.reading` with our own errors."""

    def __init__(self, engine: Engine) -> None:
        self._view = reading(engine)

    def __enter__(self) -> Connection:
        try:
            return self._view.__enter__()
        except DatabaseError as error:
            raise UnavailableError("The accounts database does not answer.") from error

    def __exit__(self, *details: object) -> None:
        self._view.__exit__(*details)  # type: ignore[arg-type]  # the three of the protocol


def require(pattern: re.Pattern[str], text: str, what: str) -> str:
    """A name that fits its rule.

    Raises:
        ValueError: It does not; the message says what is allowed.
    """
    if pattern.fullmatch(text):
        return text
    raise ValueError(
        f"{text!r} cannot be the name of a {what}: use small letters, digits and -"
        + ("" if pattern is SLUG else ", . or _")
        + ", a letter or digit first, and at most "
        + ("31" if pattern is SLUG else "63")
        + " characters"
    )


def contract_named(connection: Connection, name: str) -> RowMap:
    """A living contract.

    Raises:
        NotFoundError: There is none of this name.
    """
    found = records.find(connection, CONTRACT, name=name)
    if found is None:
        raise NotFoundError(f"There is no contract {name!r}.")
    return found


def split_account(connection: Connection, account: str) -> tuple[RowMap, str]:
    """The contract and login name that `alice@contract` means.

    The contract may be left out where there is only one.

    Raises:
        NotFoundError: No such contract.
        ExistsError: No contract was named and there are several.
    """
    name, at, contract = account.rpartition("@")
    if at:
        return contract_named(connection, contract), name
    contracts = records.listed(connection, CONTRACT)
    if len(contracts) == 1:
        return contracts[0], account
    if not contracts:
        raise NotFoundError("There is no contract yet.")
    raise ExistsError(f"There are several contracts: say {account}@CONTRACT.")


def login_named(connection: Connection, account: str) -> tuple[RowMap, RowMap]:
    """A living login with its contract.

    Raises:
        NotFoundError: There is none.
        ExistsError: No contract was named and there are several.
    """
    contract, name = split_account(connection, account)
    login = records.find(connection, LOGIN, contract_id=contract["id"], name=name)
    if login is None:
        raise NotFoundError(
            f"There is no login {name!r} in the contract {contract['name']!r}."
        )
    return contract, login


def moment(time_us: int | None) -> str | None:
    """A time as verbs answer it."""
    return None if time_us is None else rfc3339(time_us)
