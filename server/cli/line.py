"""`kagikura line`: where a contract may come from."""

from typing import Annotated

import typer

from server.access.lines import LineTerms
from server.audit.handshakes import agreed
from server.audit.query import Query
from server.cli.context import administration, contract_names
from server.cli.output import Facts, JsonFlag, Output, cut_words, say
from server.cli.reader import trail_reader
from server.cli.times import begin_us, end_us, start_us
from server.cli.values import crypto_of, networks, ports

app = typer.Typer(
    no_args_is_help=True, help="Lines: the networks a contract may come from."
)

Contract = Annotated[str, typer.Argument(metavar="CONTRACT")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


PortSet = Annotated[
    str,
    typer.Option(
        "--ports", metavar="SET", help="Only these source ports: 1024-2047,5000"
    ),
]
MapE = Annotated[
    str,
    typer.Option(
        metavar="OFFSET:LENGTH:PSID",
        help="Only the source ports of this MAP-E subscriber: 4:8:0x34",
    ),
]
ValidFrom = Annotated[
    int | None, typer.Option(parser=begin_us, metavar="DATE", help="Its first day.")
]
ValidUntil = Annotated[
    int | None, typer.Option(parser=end_us, metavar="DATE", help="Its last day.")
]
AllowAny = Annotated[
    bool, typer.Option("--allow-any", help="Accept 0.0.0.0/0 or ::/0.")
]


@app.command()
def add(
    context: typer.Context,
    contract: Contract,
    name: Name,
    network: Annotated[
        list[str],
        typer.Option(metavar="CIDR", help="203.0.113.0/24 or 2001:db8::/48; repeat."),
    ],
    port_set: PortSet = "",
    map_e: MapE = "",
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    crypto: Annotated[
        str,
        typer.Option(
            metavar="modern|legacy-until:DATE|legacy+group1-until:DATE",
            help="Algorithms.",
        ),
    ] = "modern",
    comment: Annotated[str, typer.Option(help="What it is, for people.")] = "",
    allow_any: AllowAny = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a line: sources in these networks may log in to the contract."""
    sources = networks(network)
    source_ports = ports(port_set) if port_set else None
    checked = crypto_of(crypto)
    with administration(context) as admin:
        facts = admin.lines.add(
            contract,
            name,
            networks=sources,
            ports=source_ports,
            map_e=map_e or None,
            valid_from_us=valid_from,
            valid_until_us=valid_until,
            crypto=checked,
            comment=comment,
            allow_any=allow_any,
        )
    _advise(facts)
    Output(as_json=as_json).done(
        f"Line {name} of {contract} is open for {', '.join(sources)}.", facts
    )


@app.command()
def change(
    context: typer.Context,
    contract: Contract,
    name: Name,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="In the place of all it had; repeat."),
    ] = None,
    port_set: PortSet = "",
    map_e: MapE = "",
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    always: Annotated[
        bool, typer.Option("--always", help="Take both dates away.")
    ] = False,
    crypto: Annotated[
        str, typer.Option(metavar="modern|legacy-until:DATE", help="Algorithms.")
    ] = "",
    comment: Annotated[str | None, typer.Option(help="What it is.")] = None,
    allow_any: AllowAny = False,
    as_json: JsonFlag = False,
) -> None:
    """Set some values of a line; sessions it no longer holds are cut.

    `--ports any` takes ports and MAP-E parameters away.
    """
    terms = LineTerms(
        networks=networks(network) if network else None,
        ports=ports(port_set) if port_set else None,
        map_e=map_e or None,
        valid_from_us=valid_from,
        valid_until_us=valid_until,
        always=always,
        crypto=crypto_of(crypto) if crypto else None,
        comment=comment,
        allow_any=allow_any,
    )
    with administration(context) as admin:
        facts = admin.lines.change(contract, name, terms)
    _advise(facts)
    Output(as_json=as_json).done(
        f"Line {name} of {contract} is changed. {cut_words(facts)}", facts
    )


def _advise(facts: Facts) -> None:
    """Say what to mind: warnings, and other lines that hold the same addresses."""
    for warning in facts["warnings"] if isinstance(facts["warnings"], list) else []:
        say(f"Mind: {warning}")
    for overlap in facts["overlaps"] if isinstance(facts["overlaps"], list) else []:
        if isinstance(overlap, dict):
            say(
                f"Mind: the line {overlap['line']} holds {overlap['network']} too; the "
                "more specific of the two decides."
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
        (
            "contract",
            "name",
            "state",
            "networks",
            "ports",
            "map_e",
            "valid_from",
            "valid_until",
            "crypto",
            "comment",
        ),
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


@app.command()
def report(
    context: typer.Context,
    contract: Annotated[
        str, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = "",
    since: Annotated[
        int | None,
        typer.Option(parser=start_us, metavar="TIME", help="30d, or a date."),
    ] = None,
    old: Annotated[bool, typer.Option("--old", help="Old algorithms alone.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Tell who logs in over which algorithms, so that a line can be made modern."""
    since_us = start_us("30d") if since is None else since
    with trail_reader(context) as reader:
        found = agreed(reader, Query(since_us=since_us, contract=contract))
    Output(as_json=as_json).rows(
        [row for row in found if row["old"] or not old],
        ("contract", "line", "login", "device", "logins", "last", "algorithms", "old"),
    )
