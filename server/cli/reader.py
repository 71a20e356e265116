"""The trail, for the commands that read it."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from server.audit.search import Reader
from server.cli.store import become_owner, loaded, operator
from server.daemon import reading


@contextmanager
def trail_reader(context: typer.Context) -> Iterator[Reader]:
    """The trail for reading, as the store's owner."""
    settings = loaded(context).settings
    who = operator()
    become_owner(settings.state_dir)
    with reading.trail_reader(settings, who) as found:
        yield found
