"""`kagikura audit history`, `who` and `stats`: the trail by file, person and time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, cast

import typer

from server.audit.history import SeveralFilesError
from server.audit.query import Query
from server.audit.stats import By
from server.cli.filters import filtered
from server.cli.output import Facts, JsonFlag, Output, say
from server.cli.reader import trail_reader
from server.cli.times import day_us, start_us

_When = "A date, a time, or how long ago: 2026-11-01, 2026-11-01T09:00, 15m, 2h, 7d."
_BY: Final = f"Any of {', '.join(By)}, with commas."
_VOLUME: Final = (
    "reads",
    "writes",
    "others",
    "refused",
    "bytes_read",
    "bytes_written",
)
_SESSIONS: Final = (
    "first",
    "last",
    "protocol",
    "device_name",
    "line",
    "source_ip",
    *_VOLUME,
    "ended",
)


def history(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Any name it has had.")],
    contract: Annotated[str, typer.Option(metavar="NAME", help="Whose file.")] = "",
    login: Annotated[
        str, typer.Option(metavar="LOGIN", help="Whose /private: alice or alice@name.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Show every act on a file, oldest first, through all its renames and moves."""
    output = Output(as_json=as_json)
    name, _, named_contract = login.partition("@")
    path = path if path.startswith("/") else f"/{path}"
    with trail_reader(context) as reader:
        try:
            rows = reader.history(path, contract=contract or named_contract, login=name)
            for row in rows:
                ended = row.get("outcome") or row.get("act_outcome")
                output.record(row, {**row, "outcome": ended or ""})
        except SeveralFilesError as error:
            raise typer.BadParameter(
                f"{error}; say which by --login or --contract"
            ) from None


def who(
    context: typer.Context,
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="alice or alice@name")],
    day: Annotated[
        str, typer.Option(metavar="DATE", help="That day, or `today`.")
    ] = "",
    since: Annotated[
        int | None, typer.Option(parser=start_us, metavar="WHEN", help=_When)
    ] = None,
    until: Annotated[
        int | None, typer.Option(parser=start_us, metavar="WHEN", help="Before then.")
    ] = None,
    contract: Annotated[str, typer.Option(metavar="NAME")] = "",
    limit: Annotated[
        int, typer.Option(min=1, help="Files a table shows; JSON has them all.")
    ] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Show what a login did: sessions, files, volumes."""
    if day and (since is not None or until is not None):
        raise typer.BadParameter("--day, or --since and --until")
    if day:
        since, until = day_us(day)
    name, _, named_contract = login.partition("@")
    query = Query(
        login=name,
        contract=contract or named_contract,
        since_us=since,
        until_us=until,
    )
    with trail_reader(context) as reader:
        facts = reader.person(query)
    output = Output(as_json=as_json)
    if as_json:
        output.facts({"login": name, **facts})
        return
    _show_person(output, facts, limit)


@filtered
def stats(
    context: typer.Context,
    query: Query,
    by: Annotated[
        str, typer.Option(metavar="WHAT", help=_BY)
    ] = "day,operation,outcome",
    as_json: JsonFlag = False,
) -> None:
    """Count acts by day, hour, login, operation, outcome and more."""
    try:
        wanted = list(dict.fromkeys(By(word.strip()) for word in by.split(",")))
    except ValueError:
        raise typer.BadParameter(f"--by {by}: write any of {', '.join(By)}") from None
    with trail_reader(context) as reader:
        found = reader.stats(query, wanted)
    Output(as_json=as_json).rows(found, (*wanted, "acts", "bytes"))


def _show_person(output: Output, facts: Mapping[str, object], limit: int) -> None:
    lists = {name: cast("list[Facts]", facts[name]) for name in ("sessions", "files")}
    say(f"Sessions: {len(lists['sessions'])}")
    output.rows([_local(row) for row in lists["sessions"]], _SESSIONS)
    say(f"Files: {len(lists['files'])}")
    busiest = sorted(lists["files"], key=lambda row: str(row["last"]), reverse=True)
    shown = [_local(row) for row in busiest[:limit]]
    output.rows(shown, ("path", "last", *_VOLUME))
    if len(busiest) > limit:
        say(f"{len(busiest) - limit} more: --limit, or --json")
    say("Volumes:")
    total = {"folder": "all", **cast("Facts", facts["total"])}
    output.rows([*cast("list[Facts]", facts["volumes"]), total], ("folder", *_VOLUME))
    say("Acts:")
    output.rows(
        cast("list[Facts]", facts["operations"]), ("operation", "outcome", "acts")
    )


def _local(row: Facts) -> Facts:
    """Its times where this machine stands, to the second."""
    times = {name: _clock(str(row[name])) for name in ("first", "last")}
    return {**row, **times}


def _clock(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
