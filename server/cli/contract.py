"""`kagikura contract`: tenants."""

import sys
from typing import Annotated

import typer

from server.cli.context import administration
from server.cli.output import JsonFlag, Output, cut_words

app = typer.Typer(no_args_is_help=True, help="Contracts: the tenants of this store.")

Name = Annotated[str, typer.Argument(metavar="NAME")]


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
