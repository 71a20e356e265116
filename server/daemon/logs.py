"""The log on stderr: one line per event, the facts behind it as `key=value`.

The log is for the operator's eyes; what happened to files stands in the trail.
"""

import logging
import sys
from typing import Final

from typing_extensions import override

_STANDARD: Final = frozenset([
    *vars(logging.makeLogRecord({})),
    "message",
    "asctime",
    "taskName",
])


class _Lines(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        facts = " ".join(
            f"{key}={value!r}"
            for key, value in vars(record).items()
            if key not in _STANDARD
        )
        first, newline, rest = text.partition("\n")
        return f"{first} {facts}{newline}{rest}" if facts else text


def start(level: str, slot: str) -> None:
    """Log to stderr from now on.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        slot: This process, named in each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Lines(f"%(asctime)s {slot} %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # paramiko's transports log every negotiation; its warnings are enough.
    logging.getLogger("paramiko").setLevel(logging.WARNING)
