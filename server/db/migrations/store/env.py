"""Alembic's entry into this chain; the work is in `server.db.migrate`."""

from alembic import context

from server.db.migrate import run_environment

run_environment(context)  # type: ignore[arg-type]  # the proxy module has its methods
