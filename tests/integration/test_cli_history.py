"""`kagikura audit history`, `who` and `stats` on what real clients did."""

import json
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.people import Dav, sftp
from tests.support.waiting import until


def wait_for_read(daemon: Daemon) -> None:
    """Until a read is in the DB: unlike a change, it is told after the answer."""
    until(
        lambda: daemon.records(operation="read", phase="outcome"),
        what="the read is told",
    )
    daemon.wait_indexed()


def test_a_history_follows_a_file_across_both_doors(daemon: Daemon) -> None:
    """Put there by SFTP, moved by WebDAV, its folder renamed by SFTP, deleted."""
    with sftp(daemon) as client, Dav(daemon) as dav:
        client.mkdir("/private/2025")
        with client.open("/private/2025/下書き.txt", "wb") as file:
            file.write(b"one")
        dav.ask(
            "MOVE",
            "/private/2025/下書き.txt",
            headers={"Destination": "/private/2025/%E8%A6%8B%E7%A9%8D.txt"},
        )
        client.rename("/private/2025", "/private/2026")
        assert dav.ask("GET", "/private/2026/見積.txt") == b"one"
        wait_for_read(daemon)
        client.remove("/private/2026/見積.txt")
    daemon.wait_indexed()

    for name in ("2025/下書き.txt", "2025/見積.txt", "2026/見積.txt"):
        done = daemon.cli("audit", "history", f"/private/{name}", "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        acts = [
            (row["operation"], row["protocol"])
            for row in rows
            if row["operation"] not in {"stat", "list"}
        ]
        assert acts == [
            ("write", "sftp"),
            ("rename", "webdav"),
            ("rename", "sftp"),
            ("read", "webdav"),
            ("delete", "sftp"),
        ], done.stderr


def test_a_person_and_the_sums_are_told(daemon: Daemon) -> None:
    """As JSON for scripts and as tables for people."""
    with Dav(daemon) as dav:
        dav.ask("PUT", "/private/a.txt", b"x" * 100)
        dav.ask("GET", "/private/a.txt")
    wait_for_read(daemon)

    told = daemon.told("audit", "who", "demo", "--day", "today")
    table = daemon.cli("audit", "who", "demo@main", "--since", "1h")
    sums = daemon.told("audit", "stats", "--by", "login,operation", "--login", "demo")

    (file,) = (row for row in told["files"] if row["path"] == "/private/a.txt")
    assert (file["bytes_written"], file["bytes_read"]) == (100, 100)
    assert {session["protocol"] for session in told["sessions"]} == {"webdav"}
    assert "/private/a.txt" in table.stdout
    assert {"login": "demo", "operation": "write", "acts": 1, "bytes": 100} in sums


def test_what_is_unknown_or_wrong_is_told_by_the_exit_code(
    daemon: Daemon, tmp_path: Path
) -> None:
    """1 not found, 2 typed wrong."""
    daemon.wait_indexed()

    assert daemon.cli("audit", "history", "/private/nothing").returncode == 1
    assert daemon.cli("audit", "stats", "--by", "colour").returncode == 2
    assert daemon.cli("audit", "who", "demo", "--day", "2026-1").returncode == 2
    both = daemon.cli("audit", "who", "demo", "--day", "today", "--since", "1h")
    assert both.returncode == 2
