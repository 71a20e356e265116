"""`kagikura folder`: shared folders and what is granted on them."""

from typing import Annotated, cast

import typer

from server.cli.context import administration, contract_names
from server.cli.output import Facts, JsonFlag, Output
from server.cli.values import QuotaBytes, QuotaFiles, limits_of, rights
from server.model.folder import CaseRule, FolderRules, MacFiles

app = typer.Typer(no_args_is_help=True, help="Shared folders and grants.")

Contract = Annotated[str, typer.Argument(metavar="CONTRACT")]
Name = Annotated[str, typer.Argument(metavar="NAME")]
Case = Annotated[
    CaseRule | None,
    typer.Option(
        help="Names that differ only in case or width: two files, or the second is "
        "refused.",
        show_default=False,
    ),
]
Mac = Annotated[
    MacFiles | None,
    typer.Option(
        help="What becomes of ._* and .DS_Store: hide keeps them out of listings, drop "
        "forgets new ones.",
        show_default=False,
    ),
]


@app.command()
def add(
    context: typer.Context,
    contract: Contract,
    name: Name,
    case: Case = None,
    mac_files: Mac = None,
    as_json: JsonFlag = False,
) -> None:
    """Add /shared/NAME; nobody may use it before a grant."""
    rules = FolderRules(
        case=case or CaseRule.DISTINCT, mac_files=mac_files or MacFiles.KEEP
    )
    with administration(context) as admin:
        facts = admin.folders.add(contract, name, rules)
    Output(as_json=as_json).done(
        f"Folder /shared/{name} of {contract} is there; grant it to somebody.", facts
    )


@app.command()
def change(
    context: typer.Context,
    contract: Contract,
    name: Name,
    case: Case = None,
    mac_files: Mac = None,
    quota_bytes: QuotaBytes = "",
    quota_files: QuotaFiles = "",
    as_json: JsonFlag = False,
) -> None:
    """Change how /shared/NAME keeps names, or its quota; what is there stays."""
    limits = limits_of(quota_bytes, quota_files)
    facts: Facts = {}
    with administration(context) as admin:
        if case is not None or mac_files is not None or not limits:
            facts = admin.folders.change(contract, name, case=case, mac_files=mac_files)
        if limits:
            facts = {**facts, **admin.quotas.of_folder(contract, name, limits)}
    Output(as_json=as_json).done(f"Folder /shared/{name} is changed.", facts)


@app.command("list")
def list_(
    context: typer.Context,
    contract: Annotated[
        str | None, typer.Argument(metavar="[CONTRACT]", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List shared folders and their grants."""
    with administration(context) as admin:
        names = [contract] if contract else contract_names(admin)
        found = [
            {**folder, "contract": name}
            for name in names
            for folder in admin.folders.list(name)
        ]
    output = Output(as_json=as_json)
    rows = found if as_json else [row for folder in found for row in _rows(folder)]
    output.rows(
        rows, ("contract", "folder", "case", "mac_files", "path", "to", "rights")
    )


def _rows(folder: Facts) -> list[Facts]:
    """A table's rows of one folder: a grant each, or one that has none."""
    own = {key: value for key, value in folder.items() if key != "grants"}
    grants = cast("list[Facts]", folder["grants"])
    return [{**own, **grant} for grant in grants] or [own]


@app.command()
def remove(
    context: typer.Context, contract: Contract, name: Name, as_json: JsonFlag = False
) -> None:
    """Remove a shared folder and its grants; its files stay."""
    with administration(context) as admin:
        facts = admin.folders.remove(contract, name)
    Output(as_json=as_json).done(
        f"Folder /shared/{name} of {contract} is removed, its files are kept.", facts
    )


@app.command()
def grant(
    context: typer.Context,
    contract: Contract,
    path: Annotated[str, typer.Argument(metavar="NAME[/SUB]")],
    to: Annotated[str, typer.Argument(metavar="LOGIN|@GROUP")],
    right: Annotated[
        str,
        typer.Argument(
            metavar="RIGHTS",
            help="viewer, editor, depositor, a list of list,read,write,delete, or none",
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Set what a login or group may do there and below: all of it, not more."""
    allowed = rights(right)
    with administration(context) as admin:
        facts = admin.folders.grant(contract, path, to, allowed)
    Output(as_json=as_json).done(
        f"{to} may {facts['rights'] or 'do nothing'} in /shared/{path}.", facts
    )
