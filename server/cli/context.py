"""What the commands share that change the accounts: the verbs, as the store's owner."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from server.access.administration import Administration
from server.cli.store import become_owner as become_owner  # noqa: PLC0414 - callers name it from here too
from server.cli.store import loaded as loaded  # noqa: PLC0414 - the same
from server.cli.store import operator
from server.daemon import build


@contextmanager
def administration(context: typer.Context) -> Iterator[Administration]:
    """The verbs, as the store's owner; what was typed wrong is wrong usage."""
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    with build.administration(settings, who) as found:
        try:
            yield found
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error


def contract_names(administration: Administration) -> list[str]:
    """The living contracts."""
    found = administration.contracts.list()
    return [str(row["name"]) for row in found if not row["removed"]]
