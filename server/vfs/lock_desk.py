"""Locks as an administrator sees them, and the end of those that count no more."""

import logging
from datetime import UTC, datetime
from typing import Final

from server.audit.gate import Act, Gate
from server.auth.snapshot import Snapshot
from server.model.errors import NotFoundError, ServerError
from server.model.event import Fields, Json
from server.model.lock import Lock
from server.model.operation import Operation
from server.model.path import VirtualPath
from server.vfs.lock_table import LockTable
from server.vfs.locks import void_rule

log = logging.getLogger(__name__)

Facts = dict[str, Json]
_US_PER_S: Final = 1_000_000


class LockDesk:
    """Lists and ends locks, on record."""

    def __init__(self, *, gate: Gate, table: LockTable, who: Fields) -> None:
        """Act as `who`: an operator, or the system."""
        self._gate = gate
        self._table = table
        self._who = who

    def list(self, contract: str = "") -> list[Facts]:
        """The locks of a contract, or of all; those that are void are left out.

        Raises:
            BooksUnavailableError: They cannot be read.
        """
        accounts = self._table.accounts()
        return [
            _facts(lock)
            for lock in self._table.books.all_locks(self._table.now_us())
            if contract in {"", lock.contract} and not void_rule(lock, accounts)
        ]

    def end(self, token: str) -> Facts:
        """Break a lock; its holder's next write to it is refused.

        Raises:
            NotFoundError: There is none of this token.
            BooksUnavailableError: The locks cannot be changed.
        """
        held = self._table.books.all_locks(self._table.now_us())
        lock = next((lock for lock in held if lock.token == token), None)
        if lock is None:
            raise NotFoundError(f"There is no lock {token}.")
        if not self._drop(lock, "broken"):
            raise NotFoundError(f"The lock {token} has ended meanwhile.")
        return _facts(lock)

    def release_void(self, accounts: Snapshot) -> int:
        """End the locks known here that these accounts make void; how many there were.

        They count no more from the moment that the accounts are known: this is for the
        trail, and so that nothing comes to life again with an unlocked device.
        """
        try:
            void = self._table.void(accounts)
            return sum(self._drop(lock, rule) for lock, rule in void)
        except ServerError as error:
            log.warning("void locks not released", extra={"error": str(error)})
            return 0

    def _drop(self, lock: Lock, rule: str) -> bool:
        """Drop a lock; false when another process was faster, which recorded it."""
        with self._table.changing(lock.contract_id) as change:
            held = change.held(self._table.now_us())
            if lock.token not in {other.token for other in held}:
                return False
            with self._gate.act(self._who, Operation.UNLOCK) as act:
                _tell(act, lock, rule)
                act.begin()
                change.drop([lock.token])
        return True


def _tell(act: Act, lock: Lock, rule: str) -> None:
    folder = VirtualPath.parse(lock.path).parts
    private = folder[:1] == ("private",)
    act.note(
        contract=lock.contract,
        path=lock.path,
        folder="/private" if private else "/" + "/".join(folder[:2]),
        reason=rule,
        detail={"root": lock.root, "token": lock.token, "holder": lock.login},
    )


def _facts(lock: Lock) -> Facts:
    return {
        "token": lock.token,
        "contract": lock.contract,
        "login": lock.login,
        "device": lock.device,
        "path": lock.path,
        "scope": str(lock.scope),
        "depth": "infinity" if lock.deep else "0",
        "since": _time(lock.taken_us),
        "until": _time(lock.until_us),
    }


def _time(us: int) -> str:
    moment = datetime.fromtimestamp(us // _US_PER_S, UTC)
    return moment.isoformat().replace("+00:00", "Z")
