"""`kagikura doctor`: what would stop a client from connecting."""

from typing import Annotated

import typer

from server.cli.output import EXIT_REFUSED, JsonFlag, Output, say
from server.cli.store import become_owner, loaded, operator
from server.daemon.doctor import doctor as examine


def doctor(
    context: typer.Context,
    recent: Annotated[
        bool,
        typer.Option("--recent", help="Tell the last day's failed handshakes too."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Look for what would stop a client from connecting; 1 when something does."""
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    facts = examine(settings, who, with_recent=recent)
    output = Output(as_json=as_json)
    if as_json:
        output.facts(facts)
    else:
        output.rows(_rows(facts["findings"]), ("check", "health", "text"))
        if recent:
            say("Failed handshakes of the last day, newest first:")
            columns = ("time", "protocol", "source_ip", "client", "rule", "count")
            output.rows(_rows(facts["recent"]), (*columns, "hint"))
    if not facts["healthy"]:
        raise typer.Exit(EXIT_REFUSED)


def _rows(found: object) -> list[dict[str, object]]:
    return (
        [row for row in found if isinstance(row, dict)]
        if isinstance(found, list)
        else []
    )
