"""`kagikura device ca`: authorities of an office's own."""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.context import administration
from server.cli.output import JsonFlag, Output
from server.cli.values import read_file

app = typer.Typer(
    no_args_is_help=True, help="Authorities of the office's own that sign its devices."
)

Contract = Annotated[str, typer.Argument(metavar="CONTRACT")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command()
def add(
    context: typer.Context,
    contract: Contract,
    name: Name,
    certificate: Annotated[
        Path, typer.Option(metavar="FILE|-", help="The authority's, PEM.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Take certificates that this authority signed; each device is approved still."""
    with administration(context) as admin:
        facts = admin.authorities.add(contract, name, read_file(certificate))
    Output(as_json=as_json).done(
        f"{facts['subject']} may sign for devices of {contract}; a device that is not "
        "registered shows up in `device list --pending`.",
        facts,
    )


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the authorities, of one contract or of all."""
    with administration(context) as admin:
        found = admin.authorities.list(contract)
    Output(as_json=as_json).rows(
        found, ("contract", "name", "subject", "valid_until", "sha256")
    )


@app.command()
def remove(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Take no new handshakes with what this authority signed."""
    with administration(context) as admin:
        facts = admin.authorities.remove(contract, name)
    Output(as_json=as_json).done(
        f"Authority {name} of {contract} is trusted no more.", facts
    )
