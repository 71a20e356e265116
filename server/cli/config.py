"""`kagikura config`: check, show and explain the configuration."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import BaseModel

from server.cli.output import JsonFlag, Output, say
from server.cli.store import loaded
from server.settings.reference import annotated_toml, reference
from server.settings.schema import Settings

app = typer.Typer(no_args_is_help=True, help="Check, show and explain the settings.")


@app.command()
def check(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Say whether the configuration can be used; exit code 2 when not."""
    source = loaded(context).source
    name = str(source) if source else None
    Output(as_json=as_json).done(
        f"{name or 'No file, the defaults hold'}: good.", {"source": name, "ok": True}
    )


@app.command()
def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print every key as it holds now: file, environment and defaults together."""
    found = loaded(context)
    output = Output(as_json=as_json)
    if as_json:
        output.facts(_masked(found.settings.model_dump(mode="json")))
        return
    say(f"From {found.source or 'the defaults'} and the environment:")
    defaults = dict(_flat("", Settings()))
    output.rows(
        (
            {"key": key, "value": value, "": "" if value == defaults[key] else "set"}
            for key, value in _flat("", found.settings)
        ),
        ("key", "value", ""),
    )


@app.command("reference")
def reference_(
    toml: Annotated[
        bool, typer.Option("--toml", help="As an annotated kagikura.toml.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Explain every key: meaning, bounds, default (JSON: a JSON schema)."""
    text = annotated_toml() if toml else reference()
    Output(as_json=as_json).text(text, Settings.model_json_schema())


def _flat(prefix: str, section: BaseModel) -> Iterator[tuple[str, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, _mask(value)


def _masked(values: dict[str, object]) -> dict[str, object]:
    return {
        name: _masked(value) if isinstance(value, dict) else _mask(value)
        for name, value in values.items()
    }


def _mask(value: object) -> object:
    """Hide the password of a database URL."""
    if not isinstance(value, str) or "://" not in value:
        return value
    password = urlsplit(value).password
    return value.replace(f":{password}@", ":***@", 1) if password else value
