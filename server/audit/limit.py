"""A bound on the time of questions to the audit DB."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.db.engine import Connection, DatabaseError
from server.model.errors import UnavailableError

_STEPS: Final = 20_000
"""SQLite looks at the clock every so many of its instructions: about a millisecond."""
_QUERY_CANCELED: Final = "57014"


class QueryTimeoutError(UnavailableError):
    """A question to the trail took too long."""

    reason = "query_timeout"


@contextmanager
def time_limit(connection: Connection, limit_s: float) -> Iterator[None]:
    """Stop the statements within when they take too long.

    SQLite counts them together, PostgreSQL each by itself.

    Args:
        connection: Within a transaction.
        limit_s: Seconds.

    Raises:
        QueryTimeoutError: They took too long; nothing was found.
    """
    driver = connection.connection.driver_connection
    try:
        if isinstance(driver, sqlite3.Connection):
            until = time.monotonic() + limit_s
            driver.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        else:
            connection.exec_driver_sql(
                f"SET LOCAL statement_timeout = {max(int(limit_s * 1000), 1)}"
            )
        yield
    except DatabaseError as error:
        if not _is_stopped(error):
            raise
        raise QueryTimeoutError(
            f"The search took longer than {limit_s:g} s (audit.query_timeout_s) and "
            "was stopped; ask for a shorter time or give one more filter."
        ) from error
    finally:
        if isinstance(driver, sqlite3.Connection):
            driver.set_progress_handler(None, 0)


def _is_stopped(error: DatabaseError) -> bool:
    cause = getattr(error, "orig", None)
    return (
        getattr(cause, "sqlite_errorname", "") == "SQLITE_INTERRUPT"
        or getattr(cause, "sqlstate", "") == _QUERY_CANCELED
    )
