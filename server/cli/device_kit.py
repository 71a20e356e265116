"""`kagikura device kit`: a folder with all that maps the store as a drive."""

from pathlib import Path
from typing import Annotated

import typer

from server.access.kit.contents import Holder, Store, System, kit
from server.access.kit.store import is_certified, store_of
from server.cli.context import administration
from server.cli.files import new_folder
from server.cli.output import Facts, JsonFlag, Output, say
from server.cli.store import loaded
from server.settings.schema import Settings


def kit_command(
    context: typer.Context,
    login: Annotated[str, typer.Argument(metavar="LOGIN")],
    device: Annotated[str, typer.Argument(metavar="DEVICE")],
    system: Annotated[System, typer.Option("--for", help="What the device runs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="DIR",
            help="A new folder; kit-LOGIN-DEVICE here by default.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="How clients name the server; the first of webdav.names by default.",
            show_default=False,
        ),
    ] = "",
    secret: Annotated[
        bool | None,
        typer.Option(
            "--secret/--no-secret",
            help="Make a device secret, in the place of an older one; for a new device "
            "by default where [webdav.secret] is on.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what a person needs to map a drive; a device that is new is registered."""
    settings = loaded(context).settings
    if secret is None and not settings.webdav.secret.enabled:
        secret = False
    folder = out or Path(f"kit-{login.partition('@')[0]}-{device}")
    with new_folder(folder, settings.state_dir) as write:
        with administration(context) as admin:
            store = store_of(settings, host)
            facts, issued = admin.devices.kit(login, device, system, secret=secret)
        holder = Holder(
            login=str(facts["login"]), contract=str(facts["contract"]), device=device
        )
        files = kit(system, store, holder, issued)
        for name, file in files.items():
            write(name, file.content, executable=file.executable)
    given: Facts = {
        "certificate_password": issued.file_password,
        "secret_name": holder.secret_name if issued.secret else "",
        "secret": issued.secret,
    }
    given = {name: value for name, value in given.items() if value}
    told: Facts = {"folder": str(folder), "files": list(files), "host": store.host}
    _tell(Output(as_json=as_json), {**facts, **told}, given)
    _warn(settings, store, system, is_new=bool(issued.file))


def _tell(output: Output, facts: Facts, given: Facts) -> None:
    if output.as_json:
        output.facts({**facts, **given})
        return
    say(f"The kit is in {facts['folder']}: begin with guide.html.")
    say("It holds a key: hand it over as carefully as the device itself.")
    if given:
        say("Shown this once, to be told apart from it:")
        output.facts(given)


def _warn(settings: Settings, store: Store, system: System, *, is_new: bool) -> None:
    if not is_new:
        say("The device was registered already: its key is with its owner, not here.")
    if not store.secret_port and system is not System.LINUX:
        say("[webdav.secret] is off, so this kit maps the drive over SFTP alone.")
    if not is_certified(settings, store.host):
        say(
            f"The server's certificate does not name {store.host}: add it to "
            "webdav.names, or say --host."
        )
