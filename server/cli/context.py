"""What all commands share: the settings, and whose rights they run with."""

import os
import pwd
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
    place = next(p for p in [state_dir, *state_dir.parents] if p.exists())
    owner = place.stat()
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
