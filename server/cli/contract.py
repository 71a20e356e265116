"""`kagikura contract`: tenants."""

import sys
from typing import Annotated, Final

import typer

from server.cli.context import administration
from server.cli.output import Facts, JsonFlag, Output, cut_words
from server.cli.values import QuotaBytes, QuotaFiles, limits_of

app = typer.Typer(no_args_is_help=True, help="Contracts: the tenants of this store.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
_DAYS_MAX: Final = 36500


@app.command()
def add(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Add a contract."""
    with administration(context) as admin:
        facts = admin.contracts.add(name)
    Output(as_json=as_json).done(f"Contract {name} is there.", facts)


@app.command("list")
def list_(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List all contracts."""
    with administration(context) as admin:
        found = admin.contracts.list()
    Output(as_json=as_json).rows(found, ("name", "added", "removed", "id"))


@app.command()
def show(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Show one contract and how much it holds."""
    with administration(context) as admin:
        facts = admin.contracts.show(name)
    Output(as_json=as_json).facts(facts)


@app.command()
def remove(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Remove a contract and cut its sessions; its files stay until `purge`."""
    with administration(context) as admin:
        facts = admin.contracts.remove(name)
    Output(as_json=as_json).done(
        f"Contract {name} is removed, its files are kept. {cut_words(facts)}", facts
    )


@app.command()
def change(
    context: typer.Context,
    name: Name,
    retention_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_DAYS_MAX,
            help="Keep its records so long; audit.retention_days where that is longer.",
            show_default=False,
        ),
    ] = None,
    quota_bytes: QuotaBytes = "",
    quota_files: QuotaFiles = "",
    as_json: JsonFlag = False,
) -> None:
    """Say how long a contract's records are kept, or how much it may keep in all."""
    limits = limits_of(quota_bytes, quota_files)
    facts: Facts = {}
    with administration(context) as admin:
        if retention_days is not None:
            facts = admin.contracts.change(name, retention_days=retention_days)
        if limits or retention_days is None:
            facts = {**facts, **admin.quotas.of_contract(name, limits)}
    Output(as_json=as_json).done(f"Contract {name} is changed.", facts)


@app.command()
def hold(
    context: typer.Context,
    name: Name,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it is on record.")
    ] = "",
    release: Annotated[bool, typer.Option("--release", help="End the hold.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Keep all records of a contract, however old, until the hold is released."""
    if bool(reason) == release:
        raise typer.BadParameter("--reason TEXT or --release")
    with administration(context) as admin:
        if release:
            facts = admin.contracts.release(name)
        else:
            facts = admin.contracts.hold(name, reason)
    words = "are held no longer" if release else "are held"
    Output(as_json=as_json).done(f"The records of contract {name} {words}.", facts)


@app.command()
def purge(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Erase the files of a removed contract, for good."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Erase all files of contract {name}?", abort=True, err=True)
    with administration(context) as admin:
        facts = admin.contracts.purge(name)
    Output(as_json=as_json).done(f"The files of contract {name} are erased.", facts)
