"""`kagikura group`: logins that share grants."""

from typing import Annotated

import typer

from server.cli.context import administration, contract_names
from server.cli.output import JsonFlag, Output

app = typer.Typer(no_args_is_help=True, help="Groups: logins that share grants.")

Contract = Annotated[str, typer.Argument(metavar="CONTRACT")]
Name = Annotated[str, typer.Argument(metavar="NAME")]
Login = Annotated[str, typer.Argument(metavar="LOGIN")]


@app.command()
def add(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Add a group."""
    with administration(context) as admin:
        facts = admin.groups.add(contract, name)
    Output(as_json=as_json).done(f"Group @{name} of {contract} is there.", facts)


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List groups and their members."""
    with administration(context) as admin:
        names = [contract] if contract else contract_names(admin)
        found = [
            {"contract": name, **group}
            for name in names
            for group in admin.groups.list(name)
        ]
    Output(as_json=as_json).rows(found, ("contract", "group", "members"))


@app.command()
def remove(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Remove a group with what was granted to it."""
    with administration(context) as admin:
        facts = admin.groups.remove(contract, name)
    Output(as_json=as_json).done(f"Group @{name} of {contract} is removed.", facts)


@app.command()
def join(
    context: typer.Context,
    contract: Contract,
    name: Name,
    login: Login,
    as_json: JsonFlag = False,
) -> None:
    """Make a login a member."""
    with administration(context) as admin:
        facts = admin.groups.join(contract, name, login)
    Output(as_json=as_json).done(f"{login} is in @{name}.", facts)


@app.command()
def leave(
    context: typer.Context,
    contract: Contract,
    name: Name,
    login: Login,
    as_json: JsonFlag = False,
) -> None:
    """End a login's membership."""
    with administration(context) as admin:
        facts = admin.groups.leave(contract, name, login)
    Output(as_json=as_json).done(f"{login} is no longer in @{name}.", facts)
