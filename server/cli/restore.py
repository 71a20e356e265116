"""`kagikura restore`, `undo` and `trash`: what was deleted or replaced comes back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from server.cli.output import Facts, JsonFlag, Output, say
from server.cli.store import become_owner, loaded, operator
from server.cli.times import start_us
from server.daemon.restoring import Restoration, Whose, Wish, restoration

trash = typer.Typer(no_args_is_help=True, help="The trash: what can be put back.")

Login = Annotated[
    str, typer.Option(metavar="LOGIN", help="Whose /private: alice or alice@contract.")
]
Contract = Annotated[str, typer.Option(metavar="NAME", help="Where there are several.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Whatever stands there now may go to the trash instead."
    ),
]


def restore(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|PATH",
            help="A record's id, an entry of the trash (ENTRY/INSIDE for a part of a "
            "folder), or a path as clients name it.",
        ),
    ],
    before: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="With PATH: the version of that moment, or the last before it.",
        ),
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="PATH", help="Put it there, not where it was.")
    ] = "",
    login: Login = "",
    contract: Contract = "",
    overwrite: Overwrite = False,
    as_json: JsonFlag = False,
) -> None:
    """Put back what was deleted or replaced, out of the trash."""
    is_path = what.startswith("/")
    if before and not is_path:
        raise typer.BadParameter("--before chooses among the versions of a PATH")
    moment = start_us(before) if before else None
    whose, wish = Whose(contract=contract, login=login), Wish(to, overwrite)
    with _restoration(context) as found:
        if is_path:
            facts = found.trash.restore_path(what, moment, whose, wish)
        else:
            facts = found.trash.restore_entry(what, whose, wish)
    _tell(Output(as_json=as_json), [facts])


def undo(
    context: typer.Context,
    record: Annotated[
        str, typer.Argument(metavar="RECORD", help="A record's id, or an act's.")
    ],
    overwrite: Overwrite = False,
    as_json: JsonFlag = False,
) -> None:
    """Put back what an act destroyed or moved, while that is still there."""
    with _restoration(context) as found:
        steps = found.undoing.undo(record, overwrite=overwrite)
    _tell(Output(as_json=as_json), steps)


@trash.command("list")
def list_(
    context: typer.Context,
    path: Annotated[
        str, typer.Option(metavar="PATH", help="What stood there or below.")
    ] = "",
    login: Annotated[
        str, typer.Option(metavar="LOGIN", help="What this login deleted or replaced.")
    ] = "",
    contract: Contract = "",
    as_json: JsonFlag = False,
) -> None:
    """List what lies in the trash, oldest first."""
    with _restoration(context) as found:
        rows = found.list(Whose(contract=contract, login=login), path)
    Output(as_json=as_json).rows(
        rows,
        (
            "entry",
            "since",
            "contract",
            "login",
            "operation",
            "path",
            "kind",
            "size",
            "until",
        ),
    )


@contextmanager
def _restoration(context: typer.Context) -> Iterator[Restoration]:
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    with restoration(settings, who) as found:
        yield found


def _tell(output: Output, steps: Sequence[Facts]) -> None:
    for step in steps:
        words = f"{step['did']}: {step['path']}"
        if step.get("replaced"):
            words += " (what stood there is in the trash)"
        say(words[0].upper() + words[1:])
    if output.as_json:
        output.facts({"steps": list(steps)})
