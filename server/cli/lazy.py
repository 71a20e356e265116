"""Commands that are loaded when they are called: each pays for itself alone."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typing_extensions import override


class LazyGroup(TyperGroup):
    """A group that knows where its commands are and loads the one that is called."""

    places: ClassVar[Mapping[str, str]] = {}
    """`module:function` of this package by a verb's name, `module:app` by a noun's."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.places)

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.places:
            return None
        module, _, name = self.places[cmd_name].partition(":")
        found = getattr(import_module(f"server.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = cmd_name
            return group
        verb = typer.Typer(add_completion=False)
        verb.command(cmd_name)(found)
        return typer.main.get_command(verb)


class RootGroup(LazyGroup):
    """`kagikura`."""

    places: ClassVar[Mapping[str, str]] = {
        "init": "serve:init",
        "serve": "serve:serve",
        "status": "serve:status",
        "why": "why:why",
        "doctor": "doctor:doctor",
        "ca": "serve:ca",
        "enrol": "login:enrol",
        "contract": "contract:app",
        "line": "line:app",
        "login": "login:app",
        "device": "device:app",
        "folder": "folder:app",
        "group": "group:app",
        "session": "session:app",
        "lock": "lock:app",
        "restore": "restore:restore",
        "undo": "restore:undo",
        "trash": "restore:trash",
        "quota": "quota:app",
        "audit": "audit:app",
        "config": "config:app",
    }


class AuditGroup(LazyGroup):
    """`kagikura audit`."""

    places: ClassVar[Mapping[str, str]] = {
        "search": "audit:search",
        "tail": "audit:tail",
        "export": "audit:export",
        "history": "histories:history",
        "who": "histories:who",
        "stats": "histories:stats",
        "verify": "proof:verify",
        "key": "proof:key",
        "retention": "proof:retention",
    }
