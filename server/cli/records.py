"""A record of the trail as one line for a person."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.text import Text

_STYLES: Final = {
    "done": "green",
    "refused": "bold red",
    "failed": "red",
    "aborted": "yellow",
    "unknown": "yellow",
}
_WIDE_SPACE: Final = "\u3000"


def line_of(record: Mapping[str, object]) -> Text:
    """Time, login, source, protocol, operation, path, outcome; refusals say why."""
    line = Text().append(_local(_text(record, "time")), "dim")
    for text, style in (
        (_who(record), "bold"),
        (_text(record, "source_ip"), ""),
        (_text(record, "protocol"), ""),
        (_text(record, "operation"), "cyan"),
        (_what(record), ""),
    ):
        line.append(" ").append(_safe(text or "-"), style)
    outcome = _text(record, "outcome") or _text(record, "phase")
    line.append(" ").append(outcome, _STYLES.get(outcome, "dim"))
    why = _why(record)
    if why:
        line.append(f" ({_safe(why)})", "dim")
    return line


def _text(record: Mapping[str, object], name: str) -> str:
    return str(record.get(name, ""))


def _who(record: Mapping[str, object]) -> str:
    login, contract = _text(record, "login"), _text(record, "contract")
    if login.startswith("os:"):  # at the command line, in no contract
        return login
    return f"{login}@{contract}" if login and contract else login or contract


def _what(record: Mapping[str, object]) -> str:
    path = _text(record, "path") or _text(record, "path_raw")
    target = _text(record, "target")
    return f"{path} -> {target}" if path and target else path or target


def _why(record: Mapping[str, object]) -> str:
    """Stage and rule of a refusal, else the reason, else how much went by."""
    decided = [_text(record, "stage"), _text(record, "rule")]
    if any(decided):
        return " ".join(filter(None, decided))
    moved = record.get("bytes")
    if "reason" in record or not isinstance(moved, int):
        return _text(record, "reason")
    return f"{moved:,} bytes"


def _local(time: str) -> str:
    """The time where this machine stands, to the millisecond."""
    if not time:
        return "-"
    moment = datetime.fromisoformat(time).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def _safe(text: str) -> str:
    """Controls spelt out: a file's name must not drive the terminal."""
    return "".join(
        char
        if char.isprintable() or char == _WIDE_SPACE
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )
