"""`kagikura session`: who is connected now."""

from typing import Annotated

import typer

from server.cli.context import administration
from server.cli.output import JsonFlag, Output, cut_words

app = typer.Typer(no_args_is_help=True, help="Sessions: who is connected now.")
bans = typer.Typer(
    no_args_is_help=True, help="Sources that are not let in for a while."
)
app.add_typer(bans, name="ban")


@app.command("list")
def list_(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the live sessions of all processes and nodes."""
    with administration(context) as admin:
        found = admin.sessions.list()
    Output(as_json=as_json).rows(
        found,
        (
            "session",
            "login",
            "contract",
            "device",
            "line",
            "protocol",
            "source_ip",
            "started",
            "client",
        ),
    )


@app.command()
def cut(
    context: typer.Context,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Its id.")],
    as_json: JsonFlag = False,
) -> None:
    """Cut one session and wait until it is gone."""
    with administration(context) as admin:
        facts = admin.sessions.cut(session)
    Output(as_json=as_json).done(f"Session {session}: {cut_words(facts)}", facts)


@bans.command("list")
def list_bans(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the bans that hold now."""
    with administration(context) as admin:
        found = admin.bans.list()
    Output(as_json=as_json).rows(
        found, ("source", "contract", "line", "rule", "since", "until")
    )


@bans.command()
def lift(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="An address.")],
    as_json: JsonFlag = False,
) -> None:
    """Let a source in again before its ban ends."""
    with administration(context) as admin:
        facts = admin.bans.lift(source)
    Output(as_json=as_json).done(f"{facts['source']} may come in again.", facts)
