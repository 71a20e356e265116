"""`kagikura audit verify`, `key` and `retention`: proving and pruning the trail."""

from pathlib import Path
from typing import Annotated

import typer

from server.audit.evidence import Report
from server.cli.output import EXIT_REFUSED, JsonFlag, Output, say
from server.cli.store import become_owner, loaded, operator
from server.daemon import proving
from server.model.errors import UnavailableError
from server.settings.schema import Settings


def key(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the public key that proves the trail; keep it somewhere else."""
    settings = loaded(context).settings
    become_owner(settings.state_dir)
    text = proving.audit_key(settings)
    Output(as_json=as_json).text(text, {"audit_key": text})


def verify(
    context: typer.Context,
    journal: Annotated[
        bool, typer.Option("--journal", help="The journals alone.")
    ] = False,
    database: Annotated[
        bool, typer.Option("--database", help="The audit DB alone.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="EXPORT", help="JSON Lines, .gz too; needs no store."
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="The export's manifest.")
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option("--checkpoints", metavar="FOLDER", help="A copy of checkpoints."),
    ] = None,
    public_key: Annotated[
        str,
        typer.Option(
            "--public-key",
            metavar="KEY",
            help="As `init` showed it, or a file of it; else the store's own.",
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Recompute every link and signature; exit code 0 good, 1 tampered, 3 unreadable.

    Without --journal, --database or --file: journals and database.
    """
    root = proving.public_key(public_key)
    if manifest is not None and file is None:
        raise typer.BadParameter("--manifest needs --file")
    if file is not None:
        exported = proving.Exported(
            path=file, manifest=manifest, checkpoints=checkpoints
        )
        reports = [proving.verify_file(exported, root)]
    else:
        settings = loaded(context).settings
        who = operator()
        become_owner(settings.state_dir)
        both = not (journal or database)
        reports = proving.verify_store(
            settings,
            root,
            journal=journal or both,
            database=database or both,
            checkpoints=checkpoints,
        )
        _record(settings, who, reports)
    _tell(Output(as_json=as_json), reports, trusted=root is not None)
    if not all(report.good for report in reports):
        raise typer.Exit(EXIT_REFUSED)


def _record(settings: Settings, who: str, reports: list[Report]) -> None:
    """A trail that cannot be written is told of: that it is damaged must be said."""
    try:
        proving.tell_verified(settings, who, reports)
    except (UnavailableError, OSError) as error:
        say(f"This verification is not on record: {error}")


def retention(
    context: typer.Context,
    run: Annotated[bool, typer.Option("--run", help="Drop it now.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what is due (the default).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Records older than audit.retention_days: show them, or drop them now.

    The daemon does it by itself once a day.
    """
    if run and plan:
        raise typer.BadParameter("--plan or --run, not both")
    settings = loaded(context).settings
    become_owner(settings.state_dir)
    output = Output(as_json=as_json)
    due = proving.run_retention(settings) if run else proving.plan_retention(settings)
    if due is None:
        output.done("The running daemon does it within a minute.", {"asked": True})
    else:
        output.rows(due, ("stream", "first", "last", "records", "segments", "before"))


def _tell(output: Output, reports: list[Report], *, trusted: bool) -> None:
    facts = {
        "good": all(report.good for report in reports),
        "sources": [_facts(report) for report in reports],
    }
    if output.as_json:
        output.facts(facts)
        return
    for report in reports:
        for remark in report.remarks:
            say(f"{report.source}: note: {remark}")
        for finding in report.findings:
            say(f"{report.source}: {finding.fault.upper()} {finding.text}")
        signed = f", {report.checkpoints} checkpoints" if report.checkpoints else ""
        signed += f", signed up to {report.up_to}" if report.up_to else ""
        word = "good" if report.good else "NOT GOOD"
        output.text(f"{report.source}: {word}: {report.records} records{signed}", {})
    if not trusted:
        say("No --public-key was given: the keys found beside the records are trusted.")


def _facts(report: Report) -> dict[str, object]:
    return {
        "source": report.source,
        "good": report.good,
        "records": report.records,
        "checkpoints": report.checkpoints,
        "signed_up_to": report.up_to,
        "audit_key": report.key,
        "findings": [finding._asdict() for finding in report.findings],
        "remarks": report.remarks,
    }
