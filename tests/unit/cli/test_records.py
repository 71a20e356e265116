"""A record as one line of `audit tail`."""

from server.cli.records import line_of
from server.model.event import Fields


def _plain(record: Fields) -> str:
    """The line without its time, whose zone is the machine's."""
    return line_of(record).plain.split(" ", 2)[2]


def test_a_line_tells_who_whence_what_and_how_it_ended() -> None:
    """An admin reads it at a glance."""
    record: Fields = {
        "time": "2026-01-31T09:05:07.000123Z",
        "login": "alice",
        "contract": "main",
        "source_ip": "203.0.113.9",
        "protocol": "sftp",
        "operation": "rename",
        "path": "/private/見積書.pdf",
        "target": "/shared/sales/見積書.pdf",
        "outcome": "done",
    }

    assert _plain(record) == (
        "alice@main 203.0.113.9 sftp rename "
        "/private/見積書.pdf -> /shared/sales/見積書.pdf done"
    )


def test_a_refusal_names_stage_and_rule() -> None:
    """The first question to a refusal is why."""
    record: Fields = {
        "time": "2026-01-31T09:05:07.000123Z",
        "source_ip": "198.51.100.7",
        "protocol": "webdav",
        "operation": "login",
        "outcome": "refused",
        "stage": "line",
        "rule": "no_line",
    }

    assert _plain(record) == ("- 198.51.100.7 webdav login - refused (line no_line)")


def test_the_phase_stands_in_where_there_is_no_outcome_yet() -> None:
    """An intent is a line too."""
    record: Fields = {"time": "2026-01-31T09:05:07.000123Z", "phase": "intent"}

    assert _plain(record).endswith(" intent")


def test_a_name_cannot_drive_the_terminal() -> None:
    """Escape sequences and reversed writing in a name are spelt out."""
    record: Fields = {
        "time": "2026-01-31T09:05:07.000123Z",
        "path": "/private/\x1b[2Jgpj.\u202eexe　全角",
        "outcome": "done",
    }

    assert "/private/\\x1b[2Jgpj.\\u202eexe　全角 done" in _plain(record)
