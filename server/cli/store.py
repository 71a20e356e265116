"""Which store a command is about, and whose rights it runs with."""

import os
import pwd
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from server.settings.loader import Loaded, load


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command's name."""

    config: Path | None


def loaded(context: typer.Context) -> Loaded:
    """The configuration that this run is about.

    Raises:
        SettingsError: It cannot be used.
    """
    options = context.find_object(Options)
    return load(options.config if options else None, os.environ)


def command_line(context: typer.Context) -> str:
    """How to call this same program with this same configuration again."""
    program = Path(sys.argv[0])
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    parts = [str(program)] if program.name == "kagikura" else ["kagikura"]
    options = context.find_object(Options)
    if options and options.config:
        parts += ["--config", str(options.config)]
    return shlex.join(parts)


def operator() -> str:
    """Name the person at the keyboard: `os:NAME`, or the number without a name."""
    uid = os.getuid()
    try:
        return f"os:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"os:{uid}"


def become_owner(state_dir: Path) -> None:
    """Started as root, go on as the owner of `state_dir` (or of where it will be).

    So a command never leaves files behind that the daemon cannot read. Where root owns
    the folder it stays root.
    """
    if os.geteuid() != 0:
        return
    owner = owner_of(state_dir)
    if owner.st_uid == 0:
        return
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
        groups = os.getgrouplist(name, owner.st_gid)
    except KeyError:
        groups = [owner.st_gid]
    os.setgroups(groups)
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def owner_of(state_dir: Path) -> os.stat_result:
    """Whose the store is, or will be."""
    return next(p for p in [state_dir, *state_dir.parents] if p.exists()).stat()
