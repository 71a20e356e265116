"""The `kagikura` command: its nouns, and what an error means to the caller.

A refused or impossible act exits with 1, wrong usage (a bad configuration too) with 2,
what may pass with 3; the words go to stderr.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from server.cli.lazy import RootGroup
from server.cli.output import EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE, say
from server.cli.store import Options
from server.db.engine import DatabaseError
from server.model.errors import ServerError, UnavailableError
from server.settings.loader import SettingsError

app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="An audited SFTP and WebDAV file store. Exit codes: 0 done, 1 refused or not "
    "found, 2 wrong usage, 3 unavailable.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kagikura {version('kagikura')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Else $KAGIKURA_CONFIG, ./kagikura.toml, /etc/kagikura/kagikura.toml.",
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keep what was said before the command's name."""
    context.obj = Options(config=config_file)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; the process's own by default.
    """
    os.umask(0o077)  # what a store holds is nobody else's
    try:
        app(args=arguments, prog_name="kagikura")
    except SettingsError as error:
        code = _tell(error, EXIT_USAGE)
    except UnavailableError as error:
        code = _tell(error, EXIT_UNAVAILABLE)
    except ServerError as error:
        code = _tell(error, EXIT_REFUSED)
    except (OSError, DatabaseError) as error:
        code = _tell(error, EXIT_UNAVAILABLE)
    else:
        code = 0
    sys.exit(code)


def _tell(error: Exception, code: int) -> int:
    say(f"kagikura: {error}")
    return code
