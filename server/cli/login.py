"""`kagikura login` and `kagikura enrol`: people and machines of a contract."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final, Literal

import segno
import typer

from server.cli.context import administration
from server.cli.files import new_file
from server.cli.output import Facts, JsonFlag, Output, cut_words, say
from server.cli.values import (
    QuotaBytes,
    QuotaFiles,
    factors_of,
    limits_of,
    read_password,
)
from server.model.errors import RefusedError
from server.model.identity import LoginKind

app = typer.Typer(no_args_is_help=True, help="Logins: people and machines.")

_CONFIRM_TRIES_MAX: Final = 3

OneTime = Annotated[
    str, typer.Option("--code", metavar="CODE", help="What the authenticator shows.")
]
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="alice or alice@contract")]


@app.command()
def add(
    context: typer.Context,
    login: Login,
    kind: Annotated[LoginKind, typer.Option(help="What it is for.")] = LoginKind.USER,
    totp: Annotated[
        Literal["required", "off"] | None,
        typer.Option(
            help="One-time codes; auth.totp_default for people, never for intake.",
            show_default=False,
        ),
    ] = None,
    factors: Annotated[
        str,
        typer.Option(
            metavar="key|password|key+password", help="For intake only: what it proves."
        ),
    ] = "",
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="For intake only: no person enrols."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a login; for a person, print the code to enrol with."""
    if password_stdin and kind is not LoginKind.INTAKE:
        raise typer.BadParameter(
            "only the person sets a person's password: hand over the enrolment code"
        )
    chosen = factors_of(factors)
    password = read_password() if password_stdin else None
    with administration(context) as admin:
        facts = admin.logins.add(
            login, kind=kind, totp_rule=totp, factors=chosen, password=password
        )
    _tell_code(Output(as_json=as_json), f"Login {login} is there.", facts)


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List logins, of one contract or of all."""
    with administration(context) as admin:
        found = admin.logins.list(contract)
    Output(as_json=as_json).rows(
        found,
        ("login", "contract", "kind", "state", "factors", "totp", "password"),
    )


@app.command()
def show(context: typer.Context, login: Login, as_json: JsonFlag = False) -> None:
    """Show one login and its devices."""
    with administration(context) as admin:
        facts = admin.logins.show(login)
    Output(as_json=as_json).facts(facts)


@app.command()
def change(
    context: typer.Context,
    login: Login,
    quota_bytes: QuotaBytes = "",
    quota_files: QuotaFiles = "",
    as_json: JsonFlag = False,
) -> None:
    """Limit what stands in a login's own folder."""
    limits = limits_of(quota_bytes, quota_files)
    with administration(context) as admin:
        facts = admin.quotas.of_login(login, limits)
    Output(as_json=as_json).done(f"Login {login} is changed.", facts)


@app.command()
def disable(context: typer.Context, login: Login, as_json: JsonFlag = False) -> None:
    """Keep a login out and cut its sessions."""
    with administration(context) as admin:
        facts = admin.logins.disable(login)
    Output(as_json=as_json).done(
        f"Login {login} is disabled. {cut_words(facts)}", facts
    )


@app.command()
def enable(context: typer.Context, login: Login, as_json: JsonFlag = False) -> None:
    """Let a disabled login in again."""
    with administration(context) as admin:
        facts = admin.logins.enable(login)
    Output(as_json=as_json).done(f"Login {login} is {facts['state']} again.", facts)


@app.command()
def reset(
    context: typer.Context,
    login: Login,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="An intake login's new password.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take password and one-time codes away; print a new code to enrol with."""
    password = read_password() if password_stdin else None
    with administration(context) as admin:
        facts = admin.logins.reset(login, password)
    _tell_code(
        Output(as_json=as_json), f"Login {login} is reset. {cut_words(facts)}", facts
    )


@app.command("confirm-code")
def confirm_code(
    context: typer.Context, login: Login, code: OneTime, as_json: JsonFlag = False
) -> None:
    """Take the first one-time code, to know that the authenticator is set up."""
    with administration(context) as admin:
        facts = admin.codes.confirm(login, code)
    Output(as_json=as_json).done(f"The authenticator of {login} works.", facts)


@app.command("recovery-codes")
def recovery_codes(
    context: typer.Context,
    login: Login,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make ten new ones; needs --code.")
    ] = False,
    code: Annotated[
        str, typer.Option(metavar="CODE", help="A one-time code of the person.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Tell how many recovery codes are left, or make new ones."""
    output = Output(as_json=as_json)
    if renew and not code:
        raise typer.BadParameter("--renew needs --code: only the person makes new ones")
    with administration(context) as admin:
        facts = admin.codes.renew(login, code) if renew else admin.codes.show(login)
    if renew:
        say("Each stands in for a one-time code once; shown this once:")
        output.text(_lines(facts["recovery_codes"]), facts)
    else:
        output.facts(facts)


@app.command()
def windows(
    context: typer.Context,
    login: Annotated[
        str | None, typer.Argument(metavar="[LOGIN]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List who may go on without a one-time code just now, and until when."""
    with administration(context) as admin:
        found = admin.windows.list(login)
    Output(as_json=as_json).rows(
        found,
        ("login", "contract", "device", "line", "protocol", "opened", "until"),
    )


@app.command("revoke-window")
def revoke_window(
    context: typer.Context,
    login: Login,
    device: Annotated[str, typer.Option(help="Only this device's.")] = "",
    line: Annotated[str, typer.Option(help="Only this line's.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Ask for a one-time code again, and cut the sessions that went without."""
    with administration(context) as admin:
        facts = admin.windows.revoke(login, device, line)
    Output(as_json=as_json).done(
        f"{facts['windows']} windows of {login} are closed. {cut_words(facts)}", facts
    )


@app.command()
def remove(context: typer.Context, login: Login, as_json: JsonFlag = False) -> None:
    """Remove a login and its devices and cut its sessions; its files stay."""
    with administration(context) as admin:
        facts = admin.logins.remove(login)
    Output(as_json=as_json).done(
        f"Login {login} is removed, its files are kept. {cut_words(facts)}", facts
    )


def enrol(
    context: typer.Context,
    login: Login,
    code: Annotated[str, typer.Option(metavar="CODE", help="The enrolment code.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read it there; else it is asked.")
    ] = False,
    qr: Annotated[
        Path | None,
        typer.Option(metavar="OUT.svg", help="Write the QR code to this file too."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """The person's own step: set the password; get the secret of one-time codes."""
    password = (
        read_password()
        if password_stdin
        else typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    )
    with ExitStack() as stack:
        picture = qr and stack.enter_context(new_file(qr))
        with administration(context) as admin:
            facts = admin.logins.enrol(login, code, password)
        uri = str(facts.get("totp_uri", ""))
        if picture and uri:
            segno.make(uri).save(picture, kind="svg", scale=4, border=4)
    _tell_enrolled(Output(as_json=as_json), login, facts)
    if uri and not as_json and sys.stdin.isatty():
        _confirm(context, login)


def _tell_enrolled(output: Output, login: str, facts: Facts) -> None:
    uri = str(facts.get("totp_uri", ""))
    if not uri or output.as_json:
        output.done(f"Login {login} can be used now.", facts)
        return
    say(f"Login {login} can be used now. Scan this with the authenticator:")
    segno.make(uri).terminal(out=sys.stderr, compact=True)
    output.text(uri, facts)
    say("Recovery codes: each stands in for a one-time code once. Keep them on paper:")
    say(_lines(facts["recovery_codes"]))


def _confirm(context: typer.Context, login: str) -> None:
    """Ask for a first code; none given leaves the secret unconfirmed."""
    for _ in range(_CONFIRM_TRIES_MAX):
        code = typer.prompt("The code it shows now", default="", show_default=False)
        if not code:
            break
        try:
            with administration(context) as admin:
                admin.codes.confirm(login, code)
        except RefusedError as error:
            say(str(error))
        else:
            say("The authenticator works.")
            return
    say(f"Not confirmed yet: kagikura login confirm-code {login} --code CODE")


def _lines(texts: object) -> str:
    return "\n".join(map(str, texts)) if isinstance(texts, list) else ""


def _tell_code(output: Output, sentence: str, facts: Facts) -> None:
    """The enrolment code is data; what to do with it is prose."""
    code = facts.get("enrolment_code")
    if not code or output.as_json:
        output.done(sentence, facts)
        return
    say(f"{sentence} Valid until {facts['enrolment_until']}, for the person alone:")
    say(f"  kagikura enrol {facts['login']}@{facts['contract']} --code {code}")
    output.text(str(code), facts)
