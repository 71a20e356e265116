"""What `kagikura lock` is made of: part of the composition root."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from server.auth.accounts import load_snapshot
from server.daemon.parts import (
    opened_accounts,
    opened_books,
    opened_disk,
    opened_locks,
    recover_all,
    require_initialised,
)
from server.daemon.reading import operator_fields
from server.daemon.trail import opened_cli_trail
from server.db.engine import DatabaseError, reading
from server.db.migrate import Chain, upgrade
from server.model.errors import UnavailableError
from server.settings.places import Places
from server.settings.schema import Settings
from server.vfs.lock_desk import LockDesk


@contextmanager
def lock_desk(settings: Settings, operator: str) -> Iterator[LockDesk]:
    """The locks of all contracts, for one command.

    Args:
        settings: Of the store.
        operator: Who runs the command, `os:NAME`.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: A database does not answer.
        AuditUnavailableError: The trail cannot be written.
    """
    require_initialised(settings)
    with ExitStack() as stack:
        trail = stack.enter_context(opened_cli_trail(settings))
        engine = stack.enter_context(opened_accounts(settings))
        disk = stack.enter_context(opened_disk(settings))
        books = stack.enter_context(opened_books(settings))
        try:
            upgrade(Places(settings).store_url, Chain.STORE)
            with reading(engine) as connection:
                accounts = load_snapshot(connection)
        except DatabaseError as error:
            raise UnavailableError("A database does not answer.") from error
        recover_all(trail, disk, engine, books)
        table = stack.enter_context(opened_locks(disk, books, lambda: accounts))
        who = operator_fields(operator)
        yield LockDesk(gate=trail.gate, table=table, who=who)
