"""`kagikura audit`: read the trail. Each reading is itself on record."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from server.audit.export import Form
from server.audit.headings import Language
from server.audit.query import LIMIT_MAX, Query
from server.audit.search import Reader
from server.cli.files import new_file
from server.cli.filters import filtered
from server.cli.lazy import AuditGroup
from server.cli.output import JsonFlag, Output, say
from server.cli.progress import Progress
from server.cli.reader import trail_reader

app = typer.Typer(
    cls=AuditGroup,
    no_args_is_help=True,
    help="Search, follow, export and prove the trail.",
)


@filtered
def search(
    context: typer.Context,
    query: Query,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Rows.")] = 100,
    before: Annotated[
        str, typer.Option(metavar="ID", help="The next page: behind this record.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="ID", help="The page before: newer than this.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Find records, newest first."""
    if before and after:
        raise typer.BadParameter("--before and --after lead in different directions")
    output = Output(as_json=as_json)
    with trail_reader(context) as reader:
        _tell_lag(reader)  # before the search is itself on record
        found = reader.search(replace(query, limit=limit, before=before, after=after))
    if as_json:
        output.rows(found, ())
        return
    for row in found:
        output.record(row)
    if len(found) == limit:
        say(f"There may be more: --before {found[-1]['id']}")


@filtered
def tail(
    context: typer.Context,
    query: Query,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")
    ] = False,
    after: Annotated[
        str,
        typer.Option(
            metavar="ID[,ID]",
            help="Begin behind this record; where filters leave streams apart, behind "
            "the last of each.",
        ),
    ] = "",
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, help="Begin with so many.")
    ] = 10,
    as_text: Annotated[
        bool, typer.Option("--text", help="Lines for people, into a pipe too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show records as they come in, none twice, none left out.

    Lines for people on a terminal, else JSON Lines.
    """
    as_json = as_json or not (as_text or sys.stdout.isatty())
    output = Output(as_json=as_json)
    with trail_reader(context) as reader:
        rows = reader.tail(
            after,
            follow=follow,
            stop=threading.Event(),
            filters=query,
            last=last,
            pausing=lambda reason: say(f"kagikura: {reason} Waiting for it."),
        )
        with suppress(KeyboardInterrupt):
            for row in rows:
                output.record(row)


@filtered
def export(
    context: typer.Context,
    query: Query,
    csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets.")] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="JSON Lines, each record as chained.")
    ] = False,
    lang: Annotated[
        Language, typer.Option(help="Of the CSV's headings.")
    ] = Language.EN,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A new file, and FILE.manifest.json beside it; else stdout.",
        ),
    ] = None,
    signed: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="The manifest's place."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write all records that the filters find, oldest first, as CSV or JSON Lines.

    `kagikura audit verify` checks a file by its manifest.
    """
    if csv and jsonl:
        raise typer.BadParameter("--csv or --jsonl, not both")
    if as_json and target is None:
        raise typer.BadParameter("--json tells about the file of --output: name one")
    if signed is None and target is not None:
        signed = target.with_name(f"{target.name}.manifest.json")
    with (
        _opened(target) as file,
        _opened_manifest(signed) as beside,
        trail_reader(context) as reader,
    ):
        exported, manifest = reader.export(
            file,
            query,
            Form.JSONL if jsonl else Form.CSV,
            language=lang,
            moved=Progress(),
        )
        if beside is not None:
            beside.write(manifest)
    Output(as_json=as_json).done(
        f"{exported.count} records, SHA-256 {exported.sha256}",
        {
            "file": str(target) if target else None,
            "manifest": str(signed) if signed else None,
            "records": exported.count,
            "first": exported.first,
            "last": exported.last,
            "bytes": exported.bytes,
            "sha256": exported.sha256,
        },
    )


def _tell_lag(reader: Reader) -> None:
    for stream in reader.indexed_up_to():
        if stream.behind:
            say(
                f"{stream.stream}: indexed up to {stream.time or 'nothing yet'}, "
                f"{stream.behind} records are still to come."
            )


@contextmanager
def _opened(target: Path | None) -> Iterator[BinaryIO]:
    """The file to write, new and for its owner alone; or stdout."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with new_file(target) as file:
        yield file


@contextmanager
def _opened_manifest(target: Path | None) -> Iterator[BinaryIO | None]:
    """The manifest's file, where one is wanted."""
    if target is None:
        yield None
        return
    with new_file(target) as file:
        yield file
