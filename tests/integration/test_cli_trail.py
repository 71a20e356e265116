"""`kagikura audit` beside a running daemon."""

import codecs
import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import until


class Follower:
    """A running `audit tail -f`, its lines collected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._thread = threading.Thread(target=self._collect, name="follower")
        self._thread.start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            self.lines.extend(iter(stream.readline, ""))

    def wait_for(self, text: str, deadline_s: float) -> None:
        until(
            lambda: any(text in line for line in self.lines),
            what=f"the tail shows {text}",
            deadline_s=deadline_s,
        )

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join()


@contextmanager
def _following(daemon: Daemon, *options: str) -> Iterator[Follower]:
    with (daemon.folder / "tail.err").open("w") as errors:
        follower = Follower(
            subprocess.Popen(
                daemon._command("audit", "tail", "-f", *options),
                cwd=daemon.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        )
    try:
        yield follower
    finally:
        follower.end()


def test_tail_shows_each_act_within_a_second(daemon: Daemon) -> None:
    """An admin sees what happens while it happens."""
    with _following(daemon, "--text") as follower:
        follower.wait_for("audit_tail", 10)

        daemon.told("folder", "add", "main", "seen")

        follower.wait_for("admin.folder.add main/seen done", 1.5)


def test_tail_goes_on_when_the_index_is_lost_and_rebuilt(daemon: Daemon) -> None:
    """The journal is the truth: no gap, no repeat, whatever becomes of the DB."""
    with _following(daemon) as follower:
        follower.wait_for("audit_tail", 10)
        daemon.told("folder", "add", "main", "before")
        follower.wait_for("main/before", 5)

        for file in daemon.state.glob("audit.db*"):
            file.unlink()
        daemon.told("folder", "add", "main", "after")

        follower.wait_for("main/after", 30)
    ids = [json.loads(line)["id"] for line in follower.lines]
    assert len(ids) == len(set(ids))
    for target in ("main/before", "main/after"):
        acts = daemon.records(operation="admin.folder.add", target=target)
        assert {record["id"] for record in acts} <= set(ids)


def test_search_pages_without_gap_or_repeat(daemon: Daemon) -> None:
    """`--before` goes on where the page ended."""
    for name in ("a", "b", "c"):
        daemon.told("folder", "add", "main", name)
    daemon.wait_indexed()
    wanted = ["audit", "search", "--operation", "admin.folder.add"]

    whole = daemon.told(*wanted)
    first = daemon.told(*wanted, "--limit", "4")
    rest = daemon.told(*wanted, "--before", first[-1]["id"])

    assert [row["id"] for row in first + rest] == [row["id"] for row in whole]
    assert len(daemon.told(*wanted, "--outcome", "done")) == len(whole) // 2


def test_an_export_opens_in_a_spreadsheet_and_tells_its_hash(
    daemon: Daemon, tmp_path: Path
) -> None:
    """The hash on record proves which file was handed out."""
    daemon.told("folder", "add", "main", "見積")
    daemon.wait_indexed()
    target = tmp_path / "trail.csv"

    told = daemon.told("audit", "export", "--csv", "--output", str(target))

    content = target.read_bytes()
    assert content.startswith(codecs.BOM_UTF8)
    assert "main/見積".encode() in content
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    exported = daemon.records(operation="audit_export", outcome="done")
    assert exported[-1]["sha256"] == told["sha256"]
    signed = json.loads(target.with_name("trail.csv.manifest.json").read_text())
    assert signed["sha256"] == told["sha256"]


@pytest.mark.parametrize("form", ["--csv", "--jsonl"])
def test_an_export_is_proved_by_its_manifest(
    daemon: Daemon, tmp_path: Path, form: str
) -> None:
    """Wherever the file goes: one byte more and it is not what was handed out."""
    daemon.wait_indexed()
    target = tmp_path / "trail"
    daemon.told("audit", "export", form, "--output", str(target))
    verify = ["audit", "verify", "--file", str(target)]
    verify += ["--manifest", f"{target}.manifest.json"]
    verify += ["--public-key", daemon.cli("audit", "key").stdout.strip()]

    good = daemon.cli(*verify)
    with target.open("ab") as file:
        file.write(b"\n")
    changed = daemon.cli(*verify)

    assert (good.returncode, changed.returncode) == (0, 1), good.stderr


def test_an_export_to_stdout_is_csv_alone(daemon: Daemon) -> None:
    """`kagikura audit export --csv > file` is what the README says."""
    daemon.wait_indexed()

    done = daemon.cli("audit", "export", "--csv", "--operation", "system.start")

    header, *rows = done.stdout.removeprefix("\ufeff").splitlines()
    assert header.startswith("row,id,act,phase,time,")
    assert rows
    assert all("system.start" in row for row in rows)
    assert "SHA-256" in done.stderr


def test_status_tells_a_running_daemon_from_a_stopped_one(store: Daemon) -> None:
    """Scripts wait for it by the exit code."""
    assert store.cli("status").returncode == 3

    store.start()

    told = store.told("status")
    assert told["running"] is True
    assert {stream["stream"] for stream in told["indexed"]} >= {"node-1/worker-1"}
    assert told["level"] == "ok"


def test_status_tells_lag_spool_rows_and_the_last_checkpoint(daemon: Daemon) -> None:
    """What a person or a monitor looks at first."""
    daemon.wait_indexed()
    until(lambda: daemon.told("status")["checkpoint"], what="a checkpoint")

    told = daemon.told("status")

    assert told["checkpoint"]["number"] >= 1
    assert told["rows"] >= told["checkpoint"]["records"]
    assert 0 <= told["lag_s"] <= 5
    assert told["spool_bytes"] >= 0
    assert "records" in daemon.cli("status").stdout
