"""`kagikura login` and `kagikura enrol`: people and machines of a contract."""

import sys
from typing import Annotated, Literal

import segno
import typer

from server.cli.context import administration
from server.cli.output import Facts, JsonFlag, Output, cut_words, say
from server.cli.values import factors_of, read_password
from server.model.identity import LoginKind

app = typer.Typer(no_args_is_help=True, help="Logins: people and machines.")

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
def reset(context: typer.Context, login: Login, as_json: JsonFlag = False) -> None:
    """Take password and one-time codes away; print a new code to enrol with."""
    with administration(context) as admin:
        facts = admin.logins.reset(login)
    _tell_code(
        Output(as_json=as_json), f"Login {login} is reset. {cut_words(facts)}", facts
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
    as_json: JsonFlag = False,
) -> None:
    """The person's own step: set the password; get the secret of one-time codes."""
    password = (
        read_password()
        if password_stdin
        else typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    )
    with administration(context) as admin:
        facts = admin.logins.enrol(login, code, password)
    output = Output(as_json=as_json)
    uri = facts.get("totp_uri")
    if not uri or as_json:
        output.done(f"Login {login} can be used now.", facts)
        return
    say(f"Login {login} can be used now. Scan this with the authenticator:")
    segno.make(str(uri)).terminal(out=sys.stderr, compact=True)
    output.text(str(uri), facts)


def _tell_code(output: Output, sentence: str, facts: Facts) -> None:
    """The enrolment code is data; what to do with it is prose."""
    code = facts.get("enrolment_code")
    if not code or output.as_json:
        output.done(sentence, facts)
        return
    say(f"{sentence} Valid until {facts['enrolment_until']}, for the person alone:")
    say(f"  kagikura enrol {facts['login']}@{facts['contract']} --code {code}")
    output.text(str(code), facts)
