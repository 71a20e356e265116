"""A note of what keeps the recorder from its work, for those who ask how it is.

It lies beside the streams, since the DB is just what does not answer then. There is
none while the DB takes records.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from server.model.clock import rfc3339

NOTE: Final = "recorder.json"


class Trouble(NamedTuple):
    """What it is and since when."""

    text: str
    since: str
    """RFC 3339."""


def write(journal: Path, text: str, now_us: int) -> None:
    """Leave the note; that it cannot be left keeps nobody from anything.

    Args:
        journal: `state_dir/journal`.
        text: One line for the operator.
        now_us: Wall clock, microseconds since the epoch.
    """
    with suppress(OSError):
        draft = journal / f"{NOTE}.new"
        told = {"text": text, "since": rfc3339(now_us)}
        draft.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        draft.replace(journal / NOTE)


def clear(journal: Path) -> None:
    """All is well."""
    with suppress(OSError):
        (journal / NOTE).unlink(missing_ok=True)


def read(journal: Path) -> Trouble | None:
    """What the note says; None when there is none."""
    try:
        told = json.loads((journal / NOTE).read_bytes())
        return Trouble(str(told["text"]), str(told["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
