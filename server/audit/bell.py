"""Being told that the recorder has committed, without asking the records themselves.

SQLite: `PRAGMA data_version` of a read-only connection changes with each commit of
another one; to look costs microseconds. PostgreSQL: the recorder notifies a channel.
Neither promises anything: whoever waits looks at the records from time to time too.
"""

import time
from contextlib import suppress
from typing import Any, Final, Protocol

import sqlalchemy as sa

from server.audit.dbfile import DatabaseFile
from server.audit.tables import CHANNEL
from server.db.engine import Connection, DatabaseError, Engine, Role, open_engine
from server.model.errors import UnavailableError

STEP_S: Final = 0.1
"""How long one wait takes at most; who waits sees to its other duties in between."""

_LOOK_ANYWAY_S: Final = 5.0


class Stop(Protocol):
    """An event, as a waiter sees it."""

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, or for so many seconds."""
        ...


class Bell:
    """Rings when there may be new rows."""

    def __init__(self, url: str) -> None:
        """Listen at the DB at `url`."""
        self._engine: Engine = open_engine(url, Role.AUDIT_READER)
        self._file = DatabaseFile(url)
        self._identity = self._file.look()
        self._connection: Connection | None = None
        self._version = -1
        self._looked_s = 0.0

    def rings(self, stop: Stop) -> bool:
        """Wait a moment; whether it is time to look at the records.

        Raises:
            UnavailableError: The DB is away.
        """
        try:
            rung = self._wait(stop)
        except (DatabaseError, self._engine.dialect.loaded_dbapi.Error) as error:
            self.close()
            raise UnavailableError("The audit index cannot be reached now.") from error
        if rung or time.monotonic() - self._looked_s > _LOOK_ANYWAY_S:
            self._looked_s = time.monotonic()
            return True
        return False

    def close(self) -> None:
        """Stop listening; a later wait listens anew."""
        if self._connection is not None:
            with suppress(DatabaseError):
                self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _wait(self, stop: Stop) -> bool:
        seen = self._file.look()
        if self._connection is None or seen != self._identity:
            self.close()
            self._identity = seen
            self._connection = self._open()
            return True  # what came before it listened is not announced
        if self._connection.dialect.name == "postgresql":
            return self._notified(self._connection)
        stop.wait(STEP_S)
        version = self._data_version(self._connection)
        changed, self._version = version != self._version, version
        return changed

    def _open(self) -> Connection:
        connection = self._engine.connect()
        try:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.execute(sa.text(f"LISTEN {CHANNEL}"))
            else:
                self._version = self._data_version(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _data_version(connection: Connection) -> int:
        # Of the driver itself: no transaction may be open, or nothing ever changes.
        driver: Any = connection.connection.driver_connection
        return int(driver.execute("PRAGMA data_version").fetchone()[0])

    @staticmethod
    def _notified(connection: Connection) -> bool:
        driver: Any = connection.connection.driver_connection
        return any(True for _ in driver.notifies(timeout=STEP_S, stop_after=1))
