"""`kagikura device`: registered keys, certificates and secrets."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from server.access.devices import Issued, Offer, P12Encryption, Package, Particulars
from server.cli import device_ca
from server.cli.context import administration
from server.cli.device_kit import kit_command
from server.cli.files import new_file
from server.cli.output import Facts, JsonFlag, Output, cut_words, say
from server.cli.times import end_us
from server.cli.values import read_file
from server.model.charset import Charset

app = typer.Typer(
    no_args_is_help=True, help="Devices: registered keys, certificates and secrets."
)
app.add_typer(device_ca.app, name="ca")
app.command("kit")(kit_command)

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="alice or alice@contract")]
Name = Annotated[str, typer.Argument(metavar="NAME")]
Owner = Annotated[
    str | None, typer.Option(help="Who has it in hand.", show_default=False)
]
Note = Annotated[str | None, typer.Option(help="A line about it.", show_default=False)]
ValidUntil = Annotated[
    int | None, typer.Option(parser=end_us, metavar="DATE", help="Its last day.")
]
NameCharset = Annotated[
    Charset | None,
    typer.Option(help="How it writes names over SFTP.", show_default=False),
]

_COLUMNS: Final = (
    "login",
    "contract",
    "device",
    "state",
    "owner",
    "ssh",
    "pinned_certificate",
    "secret",
    "valid_until",
    "last_used",
    "key_sha256",
)
_PENDING_COLUMNS: Final = (
    "login",
    "contract",
    "key",
    "fingerprint",
    "subject",
    "proved",
    "source",
    "protocol",
    "tries",
    "last",
    "key_sha256",
)
_PACKAGES: Final = {".p12": Package.P12, ".pfx": Package.P12, ".pem": Package.PEM}


@app.command()
def add(
    context: typer.Context,
    login: Login,
    name: Name,
    ssh_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Its public key, a .pub file."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Its certificate, PEM, of any authority."),
    ] = None,
    issue_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.p12|OUT.pem",
            help="Make a certificate; a key too, unless the device has one.",
        ),
    ] = None,
    issue_ssh_key: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="With --issue-certificate: the same new key for ssh."
        ),
    ] = None,
    p12: Annotated[
        P12Encryption,
        typer.Option(help="How OUT.p12 is encrypted: old importers take compatible."),
    ] = P12Encryption.COMPATIBLE,
    secret: Annotated[
        bool, typer.Option("--secret", help="Make a secret for [webdav.secret].")
    ] = False,
    owner: Owner = None,
    note: Note = None,
    valid_until: ValidUntil = None,
    charset: NameCharset = None,
    as_json: JsonFlag = False,
) -> None:
    """Register a device, or add what is missing to a registered one."""
    offer = Offer(
        ssh_key=read_file(ssh_key) if ssh_key else "",
        certificate=read_file(certificate) if certificate else "",
        issue=_package(issue_certificate),
        p12=p12,
        secret=secret,
    )
    if issue_ssh_key and (issue_certificate is None or ssh_key or certificate):
        raise typer.BadParameter(
            "--issue-ssh-key writes the key that --issue-certificate makes; "
            "a device that has a key keeps it"
        )
    with ExitStack() as stack:
        out = issue_certificate and stack.enter_context(new_file(issue_certificate))
        ssh_out = issue_ssh_key and stack.enter_context(new_file(issue_ssh_key))
        admin = stack.enter_context(administration(context))
        facts, issued = admin.devices.add(
            login,
            name,
            offer,
            Particulars(
                owner=owner, note=note, valid_until_us=valid_until, charset=charset
            ),
        )
        if out:
            out.write(issued.file)
        if ssh_out:
            ssh_out.write(issued.ssh_private_key.encode())
    given = _given(issued, issue_certificate, issue_ssh_key)
    _tell(Output(as_json=as_json), facts, given)


@app.command()
def change(
    context: typer.Context,
    login: Login,
    name: Name,
    owner: Owner = None,
    note: Note = None,
    valid_until: ValidUntil = None,
    charset: NameCharset = None,
    as_json: JsonFlag = False,
) -> None:
    """Change what is noted of a device, or how it writes names."""
    told = Particulars(
        owner=owner, note=note, valid_until_us=valid_until, charset=charset
    )
    with administration(context) as admin:
        facts, _ = admin.devices.add(login, name, Offer(), told)
    Output(as_json=as_json).done(f"Device {name} of {login} is changed.", facts)


def _package(path: Path | None) -> Package | None:
    if path is None:
        return None
    if path.suffix.lower() not in _PACKAGES:
        raise typer.BadParameter(f"{path}: the name must end in .p12 or .pem")
    return _PACKAGES[path.suffix.lower()]


def _given(issued: Issued, certificate: Path | None, ssh_key: Path | None) -> Facts:
    """What the client is to be given; it is shown this once."""
    given = {
        "certificate_file": str(certificate) if certificate else "",
        "certificate_password": issued.file_password,
        "ssh_key_file": str(ssh_key) if ssh_key else "",
        "secret": issued.secret,
    }
    return {name: value for name, value in given.items() if value}


def _tell(output: Output, facts: Facts, given: Facts) -> None:
    if output.as_json:
        # The device's own "secret" only says whether there is one.
        output.facts({**facts, **given})
        return
    say(f"Device {facts['device']} of {facts['login']}@{facts['contract']} is there.")
    if given:
        say("Shown this once:")
        output.facts(given)
    if "secret" in given:
        say(
            f"WebDAV user name: {facts['login']}+{facts['device']}@{facts['contract']}"
            " at [webdav.secret]."
        )


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    pending: Annotated[
        bool,
        typer.Option(
            "--pending", help="Keys that came with a right password, to be approved."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List devices, of one contract or of all."""
    with administration(context) as admin:
        devices = admin.devices
        found = admin.approval.waiting(contract) if pending else devices.list(contract)
    columns = _PENDING_COLUMNS if pending else _COLUMNS
    Output(as_json=as_json).rows(found, columns)


@app.command()
def show(
    context: typer.Context, login: Login, name: Name, as_json: JsonFlag = False
) -> None:
    """Show one device with its public key."""
    with administration(context) as admin:
        facts = admin.devices.show(login, name)
    Output(as_json=as_json).facts(facts)


@app.command()
def approve(
    context: typer.Context,
    login: Login,
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="As `list --pending` or the client says."),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the device.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make a device of a pending key; compare the fingerprint first."""
    with administration(context) as admin:
        facts = admin.approval.approve(login, key, name)
    Output(as_json=as_json).done(
        f"Device {facts['device']} of {login} may log in.", facts
    )


@app.command()
def lock(
    context: typer.Context, login: Login, name: Name, as_json: JsonFlag = False
) -> None:
    """Lock a lost device and cut its sessions."""
    with administration(context) as admin:
        facts = admin.devices.lock(login, name)
    Output(as_json=as_json).done(
        f"Device {name} of {login} is locked. {cut_words(facts)}", facts
    )


@app.command()
def unlock(
    context: typer.Context, login: Login, name: Name, as_json: JsonFlag = False
) -> None:
    """Let a locked device in again."""
    with administration(context) as admin:
        facts = admin.devices.unlock(login, name)
    Output(as_json=as_json).done(f"Device {name} of {login} may log in again.", facts)


@app.command()
def remove(
    context: typer.Context, login: Login, name: Name, as_json: JsonFlag = False
) -> None:
    """Remove a device and cut its sessions."""
    with administration(context) as admin:
        facts = admin.devices.remove(login, name)
    Output(as_json=as_json).done(
        f"Device {name} of {login} is removed. {cut_words(facts)}", facts
    )
