"""`kagikura line`: where a contract may come from."""

from typing import Annotated

import typer

from server.cli.context import administration, contract_names
from server.cli.output import JsonFlag, Output, cut_words
from server.cli.values import crypto_of, end_us, networks, ports

app = typer.Typer(
    no_args_is_help=True, help="Lines: the networks a contract may come from."
)

Contract = Annotated[str, typer.Argument(metavar="CONTRACT")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command()
def add(
    context: typer.Context,
    contract: Contract,
    name: Name,
    network: Annotated[
        list[str],
        typer.Option(metavar="CIDR", help="203.0.113.0/24 or 2001:db8::/48; repeat."),
    ],
    port_set: Annotated[
        str,
        typer.Option(
            "--ports", metavar="SET", help="Only these source ports: 1024-2047,5000"
        ),
    ] = "",
    valid_until: Annotated[
        int | None,
        typer.Option(parser=end_us, metavar="DATE", help="Its last day."),
    ] = None,
    crypto: Annotated[
        str, typer.Option(metavar="modern|legacy-until:DATE", help="Algorithms.")
    ] = "modern",
    as_json: JsonFlag = False,
) -> None:
    """Add a line: sources in these networks may log in to the contract."""
    sources = networks(network)
    source_ports = ports(port_set) if port_set else ()
    checked = crypto_of(crypto)
    with administration(context) as admin:
        facts = admin.lines.add(
            contract,
            name,
            networks=sources,
            ports=source_ports,
            valid_until_us=valid_until,
            crypto=checked,
        )
    Output(as_json=as_json).done(
        f"Line {name} of {contract} is open for {', '.join(sources)}.", facts
    )


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List lines, of one contract or of all."""
    with administration(context) as admin:
        names = [contract] if contract else contract_names(admin)
        found = [line for name in names for line in admin.lines.list(name)]
    Output(as_json=as_json).rows(
        found,
        ("contract", "name", "state", "networks", "ports", "valid_until", "crypto"),
    )


@app.command()
def suspend(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Close a line for now and cut its sessions."""
    with administration(context) as admin:
        facts = admin.lines.suspend(contract, name)
    Output(as_json=as_json).done(
        f"Line {name} of {contract} is suspended. {cut_words(facts)}", facts
    )


@app.command()
def resume(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Open a suspended line again."""
    with administration(context) as admin:
        facts = admin.lines.resume(contract, name)
    Output(as_json=as_json).done(f"Line {name} of {contract} is open again.", facts)


@app.command()
def remove(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Remove a line and cut its sessions."""
    with administration(context) as admin:
        facts = admin.lines.remove(contract, name)
    Output(as_json=as_json).done(
        f"Line {name} of {contract} is removed. {cut_words(facts)}", facts
    )
