"""`kagikura lock`: who has locked what, and the end of a lock in the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from server.cli.output import JsonFlag, Output
from server.cli.store import become_owner, loaded, operator
from server.daemon.locking import lock_desk
from server.vfs.lock_desk import LockDesk

app = typer.Typer(no_args_is_help=True, help="Locks on files and folders.")


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str, typer.Option(metavar="NAME", help="Of one contract alone.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """List the locks that hold now, by path."""
    with _desk(context) as desk:
        found = desk.list(contract)
    columns = (
        "contract",
        "path",
        "login",
        "device",
        "scope",
        "depth",
        "until",
        "token",
    )
    Output(as_json=as_json).rows(found, columns)


@app.command("break")
def break_(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As `list` shows it.")],
    as_json: JsonFlag = False,
) -> None:
    """Break a lock: what its holder writes from now on is refused."""
    with _desk(context) as desk:
        facts = desk.end(token)
    words = f"The lock of {facts['login']} on {facts['path']} is broken."
    Output(as_json=as_json).done(words, facts)


@contextmanager
def _desk(context: typer.Context) -> Iterator[LockDesk]:
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    with lock_desk(settings, who) as found:
        yield found
