"""Tables and coloured lines for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.records import line_of

_ANY_WIDTH: Final = 100_000
"""Columns where no terminal bounds them: nothing is cut or wrapped for a pipe."""


class Paper:
    """Standard output, as a person reads it."""

    def __init__(self) -> None:
        """Print there; colours on a terminal alone."""
        self._console = Console(
            width=None if sys.stdout.isatty() else _ANY_WIDTH, highlight=False
        )

    def table(self, rows: Iterable[Sequence[str]], columns: Sequence[str]) -> None:
        """Print rows under headings."""
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Print one thing, a line a fact."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, words in facts:
            table.add_row(Text(name, "bold"), Text(words))
        self._console.print(table)

    def record(self, record: Mapping[str, object]) -> None:
        """Print a record of the trail on one line."""
        self._console.print(line_of(record), soft_wrap=True)
