"""`kagikura why`: which stage and rule would allow or refuse an act."""

import ipaddress
from typing import Annotated

import typer

from server.cli.output import JsonFlag, Output, say
from server.cli.store import become_owner, loaded, operator
from server.daemon.why import OPERATIONS, Act, Question
from server.daemon.why import why as ask
from server.model.identity import Source
from server.model.operation import Operation, Protocol

_NAMES = sorted(str(operation) for operation in OPERATIONS)


def why(
    context: typer.Context,
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="alice@contract")],
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help=", ".join(_NAMES))
    ],
    path: Annotated[str, typer.Argument(metavar="PATH", help="/shared/sales/a.pdf")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="IP[:PORT]", help="Address; IPv6 port: [IP]:N."),
    ],
    device: Annotated[str, typer.Option(help="The device's name.")] = "",
    protocol: Annotated[str, typer.Option(help="sftp or webdav.")] = "sftp",
    to: Annotated[str, typer.Option(help="Where a rename or copy leads.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Replay the decision about an act and name the rule that settles it."""
    settings = loaded(context).settings
    who = operator()
    act = Act(operation=_operation(operation), path=path, target=to)
    if bool(to) != (act.operation in {Operation.RENAME, Operation.COPY}):
        raise typer.BadParameter("--to belongs to rename and copy")
    question = Question(
        login=login,
        source=_source(source),
        protocol=_protocol(protocol),
        device=device,
    )
    become_owner(settings.state_dir)
    facts = ask(settings, who, question, act)
    stages = facts["stages"] if isinstance(facts["stages"], list) else []
    output = Output(as_json=as_json)
    if as_json:
        output.facts(facts)
        return
    output.rows(
        [step for step in stages if isinstance(step, dict)],
        ("stage", "verdict", "rule", "text"),
    )
    verdict = "Allowed" if facts["allowed"] else "Refused"
    say(f"{verdict}: {facts['act']} by {login} from {facts['from']}.")


def _operation(text: str) -> Operation:
    if text not in _NAMES:
        raise typer.BadParameter(f"{text!r}: write one of {', '.join(_NAMES)}")
    return Operation(text)


def _protocol(text: str) -> Protocol:
    if text not in {Protocol.SFTP, Protocol.WEBDAV}:
        raise typer.BadParameter(f"{text!r}: write sftp or webdav")
    return Protocol(text)


def _source(text: str) -> Source:
    """An address with or without a port: `192.0.2.7:5000`, `[2001:db8::1]:5000`."""
    host, port = text, "0"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host)
        return Source.of_peer((host, int(port)))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: write 192.0.2.7, 192.0.2.7:5000 or [2001:db8::1]:5000"
        ) from error
