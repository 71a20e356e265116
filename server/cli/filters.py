"""The filters that `audit search`, `tail` and `export` share."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Final

import typer

from server.audit.query import Query
from server.audit.tables import source_range
from server.cli.times import start_us
from server.model.operation import Operation, Outcome, Protocol

_Text = Annotated[str, typer.Option()]
_When = "A date, a time, or how long ago: 2026-11-01, 2026-11-01T09:00, 15m, 2h, 7d."


def _query(
    *,
    since: Annotated[
        int | None,
        typer.Option(parser=start_us, metavar="WHEN", help=f"From then on. {_When}"),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(parser=start_us, metavar="WHEN", help="Before then."),
    ] = None,
    contract: Annotated[str, typer.Option(metavar="NAME")] = "",
    login: Annotated[
        str, typer.Option(metavar="LOGIN", help="alice or alice@contract")
    ] = "",
    device: Annotated[str, typer.Option(metavar="NAME|ID")] = "",
    line: Annotated[str, typer.Option(metavar="NAME")] = "",
    source: Annotated[
        str,
        typer.Option(
            "--from",
            "--source",
            metavar="ADDRESS|NETWORK",
            help="Where it came from: 192.0.2.7 or 192.0.2.0/24.",
        ),
    ] = "",
    protocol: Annotated[Protocol | None, typer.Option()] = None,
    operation: Annotated[
        str,
        typer.Option(metavar="NAME", help="read, write, login, admin.line.add ..."),
    ] = "",
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    session: Annotated[str, typer.Option(metavar="ID")] = "",
    act: Annotated[str, typer.Option(metavar="ID")] = "",
    sha256: Annotated[str, typer.Option(metavar="HEX")] = "",
    under: Annotated[
        str,
        typer.Option("--path", "--under", metavar="PATH", help="It and all below."),
    ] = "",
    path: Annotated[
        str, typer.Option("--exact", metavar="PATH", help="This path alone.")
    ] = "",
    contains: Annotated[
        str, typer.Option(metavar="TEXT", help="Anywhere in the path.")
    ] = "",
) -> Query:
    if operation and operation not in list(Operation):
        raise typer.BadParameter(f"there is no operation {operation!r}")
    if source:
        _require_source(source)
    name, _, named_contract = login.partition("@")
    return Query(
        since_us=since,
        until_us=until,
        contract=contract or named_contract,
        login=name,
        device=device,
        line=line,
        source=source,
        protocol=protocol or "",
        operation=operation,
        outcome=outcome or "",
        session=session,
        act=act,
        sha256=sha256.lower(),
        under=under,
        path=path,
        contains=contains,
    )


def _require_source(source: str) -> None:
    try:
        source_range(source)
    except ValueError:
        raise typer.BadParameter(
            f"{source!r} is neither an address nor a network"
        ) from None


_FILTERS: Final = inspect.signature(_query).parameters


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all filters as options; it takes them as one `query`."""
    own = inspect.signature(command).parameters
    parameters = [own[name] for name in own if name != "query"] + list(
        _FILTERS.values()
    )

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - what typer parsed
        asked = {name: given.pop(name) for name in _FILTERS}
        command(**given, query=_query(**asked))

    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how functools tells a signature
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
