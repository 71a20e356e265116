"""A record of the trail as one line for a person."""

from datetime import datetime
from typing import Final

from rich.text import Text

from server.model.event import Fields

_STYLES: Final = {
    "done": "green",
    "refused": "bold red",
    "failed": "red",
    "aborted": "yellow",
    "unknown": "yellow",
}
_WIDE_SPACE: Final = "\u3000"


def line_of(record: Fields) -> Text:
    """Time, login, source, protocol, operation, path, outcome; refusals say why."""
    line = Text(_local(record.get("time", "")), "dim")
    for text, style in (
        (_who(record), "bold"),
        (record.get("source_ip", "-"), ""),
        (record.get("protocol", "-"), ""),
        (record.get("operation", "-"), "cyan"),
        (_what(record), ""),
    ):
        line.append(" ").append(_safe(text), style)
    outcome = record.get("outcome") or record.get("phase", "")
    line.append(" ").append(outcome, _STYLES.get(outcome, "dim"))
    why = _why(record)
    if why:
        line.append(f" ({_safe(why)})", "dim")
    return line


def _who(record: Fields) -> str:
    login, contract = record.get("login", ""), record.get("contract", "")
    return f"{login}@{contract}" if login and contract else login or contract or "-"


def _what(record: Fields) -> str:
    path = record.get("path") or record.get("path_raw") or "-"
    target = record.get("target")
    return f"{path} -> {target}" if target else path


def _why(record: Fields) -> str:
    """Stage and rule of a refusal, else the reason, else how much went by."""
    stage, rule = record.get("stage", ""), record.get("rule", "")
    if stage or rule:
        return " ".join(filter(None, [stage, rule]))
    if record.get("reason"):
        return record["reason"]
    moved = record.get("bytes")
    return f"{moved:,} bytes" if moved is not None else ""


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
