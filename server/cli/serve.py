"""`kagikura init`, `serve`, `status` and `ca`: the store as a whole."""

from pathlib import Path
from typing import Annotated, Final, cast

import typer

from server.access.keystore import KeyStore
from server.cli import demo
from server.cli.files import new_file
from server.cli.output import Facts, JsonFlag, Output, say
from server.cli.store import become_owner, command_line, loaded, operator
from server.daemon import build
from server.model.errors import ExistsError, NotFoundError
from server.settings.schema import Settings

_DEMO: Final = "demo"
_PAGE: Final = "connect.txt"


def init(
    context: typer.Context,
    with_demo: Annotated[
        bool,
        typer.Option("--demo", help="Add a login, a device and a line to try it with."),
    ] = False,
    if_none: Annotated[
        bool, typer.Option("--if-none", help="Change nothing if there is a store.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a store: state, keys, the contract `main`, its first admin."""
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    output = Output(as_json=as_json)
    folder = settings.state_dir.absolute() / _DEMO
    try:
        facts = build.initialise(
            settings, who, demo_folder=folder if with_demo else None
        )
    except ExistsError:
        if not if_none:
            raise
        _tell_again(output, folder / _PAGE)
        return
    if "demo" in facts:
        _tell_demo(output, facts, settings, command_line(context))
    else:
        _tell_admin(output, facts)


def serve(context: typer.Context) -> None:
    """Run the daemon in the foreground; SIGTERM stops it, SIGHUP reloads."""
    found = loaded(context)
    become_owner(found.settings.state_dir)
    raise typer.Exit(build.serve(found.settings, found.source))


def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Say how the daemon is; exit code 3 when it does not run."""
    settings = loaded(context).settings
    become_owner(settings.state_dir)
    facts = build.status(settings)
    Output(as_json=as_json).facts(facts if as_json else _flat(facts))
    if not facts["running"]:
        raise typer.Exit(3)


def ca(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the certificate of the store's own CA, PEM, for clients to trust."""
    settings = loaded(context).settings
    become_owner(settings.state_dir)
    path = KeyStore(settings.state_dir).server_ca
    if not path.exists():
        raise NotFoundError(
            f"There is no store in {settings.state_dir} yet. Run `kagikura init` first."
        )
    if settings.webdav.certificate:
        say("The server shows a certificate of yours, which this CA did not sign.")
    pem = path.read_text("ascii")
    Output(as_json=as_json).text(pem, {"certificate": pem})


def _flat(facts: Facts) -> Facts:
    """The status with a line for each stream of the trail."""
    streams = cast("list[Facts]", facts.get("indexed", []))
    flat = {name: value for name, value in facts.items() if name != "indexed"}
    checkpoint = cast("Facts", facts.get("checkpoint") or {})
    if "number" in checkpoint:
        number, time, records = (checkpoint[n] for n in ("number", "time", "records"))
        flat["checkpoint"] = f"{number} of {time}, {records} records"
    else:
        flat["checkpoint"] = checkpoint.get("error", "none yet")
    for stream in streams:
        flat[f"indexed {stream['stream']}"] = (
            f"up to {stream['up_to'] or 'nothing yet'}, {stream['behind']} to come"
        )
    return flat


def _tell_demo(output: Output, facts: Facts, settings: Settings, kagikura: str) -> None:
    client = cast("Facts", facts["demo"])
    admin = {name: value for name, value in facts.items() if name != "demo"}
    pasted = demo.commands(client, settings, kagikura)
    page = demo.words(client, pasted, admin)
    folder = Path(str(client["ssh_key"])).parent
    with new_file(folder / _PAGE) as file:
        # The admin's code is shown once and kept nowhere.
        file.write(demo.words(client, pasted, {}).encode())
    output.text(page, {**admin, **client, **pasted})


def _tell_again(output: Output, page: Path) -> None:
    text = page.read_text("utf-8") if page.exists() else "There is a store already.\n"
    output.text(text, {"initialised": True})


def _tell_admin(output: Output, facts: Facts) -> None:
    if output.as_json:
        output.facts(facts)
        return
    say(
        f"There is a store now. The admin of contract {facts['contract']} is "
        f"{facts['admin']}; valid until {facts['enrolment_until']}, for that person:"
    )
    say(f"  kagikura enrol {facts['admin']} --code {facts['enrolment_code']}")
    say(
        "Keep this public key somewhere else; it proves the trail "
        "(`kagikura audit verify --public-key`):"
    )
    say(f"  {facts['audit_key']}")
    output.text(str(facts["enrolment_code"]), facts)
