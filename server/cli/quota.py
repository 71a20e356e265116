"""`kagikura quota`: how much of its quotas a store uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from server.cli.output import JsonFlag, Output
from server.cli.store import become_owner, loaded, operator
from server.daemon.quotas import QuotaOffice, quota_office

app = typer.Typer(
    no_args_is_help=True,
    help="Quotas: set by `contract`, `login` and `folder change --quota-bytes`.",
)

_COLUMNS: Final = (
    "of",
    "where",
    "bytes",
    "quota_bytes",
    "files",
    "quota_files",
    "percent",
)


@app.command("list")
def list_(
    context: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Count what has no quota too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what is used of each quota."""
    with _office(context) as office:
        found = office.usage(every=every)
    Output(as_json=as_json).rows(found, _COLUMNS)


@app.command()
def recount(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Count every quota anew from the disk; the daemon goes on meanwhile."""
    with _office(context) as office:
        found = office.recount()
    Output(as_json=as_json).rows(found, _COLUMNS)


@contextmanager
def _office(context: typer.Context) -> Iterator[QuotaOffice]:
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    with quota_office(settings, who) as found:
        yield found
