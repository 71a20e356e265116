"""Bringing a database to the schema of this release (Alembic), silently."""

import logging
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import text

from server.db.engine import Connection, Role, open_engine, writing

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x6B616769  # "kagi"


@unique
class Chain(StrEnum):
    """A line of migrations; the value is its folder's name."""

    ACCOUNTS = "accounts"
    AUDIT = "audit"


_ROLES: Final = {Chain.ACCOUNTS: Role.ACCOUNTS, Chain.AUDIT: Role.AUDIT_WRITER}


def upgrade(url: str, chain: Chain) -> None:
    """Apply what is missing; several processes may call it at once.

    All steps run in one transaction that waits for its turn, so a database is either
    as before or wholly upgraded.

    Raises:
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
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS / chain))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            config.attributes["chain"] = chain
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def run_environment(context: EnvironmentContext) -> None:
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
