"""How every command speaks: data on stdout, prose on stderr.

Data is a table for people and, with `--json`, one JSON document (a stream of records:
one JSON document a line). Exit codes: 0 done, 1 refused or not found, 2 wrong usage,
3 unavailable, which may pass.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from server.cli.paper import Paper

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Facts = Mapping[str, object]


class Output:
    """Where one command's data and prose go."""

    def __init__(self, *, as_json: bool) -> None:
        """Speak JSON or tables."""
        self._json = as_json

    @property
    def as_json(self) -> bool:
        """Whether data is JSON."""
        return self._json

    def rows(self, rows: Iterable[Facts], columns: Sequence[str]) -> None:
        """A list: a table of `columns`, or a JSON array of whole rows."""
        if self._json:
            self._print_json(list(rows))
            return
        self._paper.table(
            ([words(row.get(column)) for column in columns] for row in rows), columns
        )

    def facts(self, facts: Facts) -> None:
        """One thing: a line a fact, or a JSON object."""
        if self._json:
            self._print_json(facts)
            return
        self._paper.facts((name, words(value)) for name, value in facts.items())

    def done(self, sentence: str, facts: Facts) -> None:
        """An act is done: say so to people, hand the facts to scripts."""
        if self._json:
            self._print_json(facts)
        else:
            say(sentence)

    def text(self, text: str, facts: Facts) -> None:
        """A document as it stands, or the same inside a JSON object."""
        if self._json:
            self._print_json(facts)
        else:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")
            sys.stdout.flush()

    def record(self, record: Facts, shown: Facts | None = None) -> None:
        """One record of a stream, out at once.

        Args:
            record: As it is.
            shown: What a person's line is made of, where that differs.
        """
        if self._json:
            sys.stdout.write(dump(record) + "\n")
            sys.stdout.flush()
        else:
            self._paper.record(shown or record)

    @cached_property
    def _paper(self) -> "Paper":
        from server.cli.paper import Paper  # noqa: PLC0415 - an export must stay small

        return Paper()

    def _print_json(self, value: object) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        sys.stdout.flush()


def dump(facts: Facts) -> str:
    """One JSON document on one line."""
    return json.dumps(facts, ensure_ascii=False)


def say(sentence: str) -> None:
    """Prose for the person at the terminal."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def words(value: object) -> str:
    """A value as a cell shows it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(words(item) for item in value)
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def cut_words(facts: Facts) -> str:
    """How many live sessions an act cut, and how fast."""
    text = f"{facts['sessions_cut']} sessions were cut in {facts['cut_ms']} ms."
    if facts["workers_pending"]:
        text += (
            f" {facts['workers_pending']} processes have not answered yet; "
            "`kagikura status` says which."
        )
    return text
