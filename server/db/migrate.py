"""Bringing a database to the schema of this release (Alembic), silently."""

import logging
from enum import StrEnum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from server.db.engine import Connection, Role, open_engine, writing
from server.model.errors import UnavailableError

if TYPE_CHECKING:  # Alembic is loaded where it is used: few commands migrate anything
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x6B616769  # "kagi"


@unique
class Chain(StrEnum):
    """A line of migrations; the value is its folder's name."""

    ACCOUNTS = "accounts"
    AUDIT = "audit"
    STORE = "store"


class SchemaTooNewError(UnavailableError):
    """The database was made by a later release."""

    reason = "schema_too_new"


_ROLES: Final = {
    Chain.ACCOUNTS: Role.ACCOUNTS,
    Chain.AUDIT: Role.AUDIT_WRITER,
    Chain.STORE: Role.STORE,
}


def upgrade(url: str, chain: Chain) -> None:
    """Apply what is missing; several processes may call it at once.

    All steps run in one transaction that waits for its turn, so a database is either
    as before or wholly upgraded.

    Raises:
        SchemaTooNewError: A later release made this database.
        DatabaseError: The database cannot be reached or changed.
    """
    # Alembic tells the operator, at every start, what he cannot do anything about.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = open_engine(url, _ROLES[chain])
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"),
                    {"lock": _ADVISORY_LOCK},
                )
            make(connection, chain)
    finally:
        engine.dispose()


def make(connection: Connection, chain: Chain, target: str = "head") -> None:
    """Apply what is missing up to a revision, within the caller's transaction.

    Raises:
        SchemaTooNewError: A later release made this database.
        DatabaseError: It cannot be changed.
    """
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS / chain))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["chain"] = chain
    _require_known(config, connection, chain)
    command.upgrade(config, target)


def _require_known(config: "Config", connection: Connection, chain: Chain) -> None:
    """Refuse what a later release has made: this one would misread it."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - the same

    options = {"version_table": f"alembic_version_{chain}"}
    there = MigrationContext.configure(connection, opts=options).get_current_revision()
    known = {
        script.revision
        for script in ScriptDirectory.from_config(config).walk_revisions()
    }
    if there is not None and there not in known:
        raise SchemaTooNewError(
            f"The {chain} database has schema {there}, this release knows up to "
            f"{max(known)}. Install the release that made it, or restore a backup of "
            "before that upgrade."
        )


def run_environment(context: "EnvironmentContext") -> None:
    """Run the steps of a chain: what each chain's `env.py` calls."""
    attributes = context.config.attributes
    connection: Connection = attributes["connection"]
    chain: Chain = attributes["chain"]
    context.configure(
        connection=connection,
        transactional_ddl=True,
        version_table=f"alembic_version_{chain}",
    )
    with context.begin_transaction():
        context.run_migrations()
