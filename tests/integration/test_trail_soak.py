"""Long runs on tail and export: ten thousand cursors, real commands, a spreadsheet."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import threading
from itertools import count
from pathlib import Path

import pytest

from server.audit.export import Form
from server.audit.query import Query
from tests.support.daemon import Daemon
from tests.support.library import Library
from tests.support.trail import NODE, event
from tests.support.waiting import until

pytestmark = pytest.mark.soak

CURSORS = 10_000
COMMANDS = 36
NAMES = ("=1+2.txt", "+a", "-b", "@c", "＝d", "見積, 書.txt", 'a"b".txt', "'e")  # noqa: RUF001 - full width


def test_ten_thousand_cursors_see_each_row_exactly_once(
    tmp_path: Path, database_url: str
) -> None:
    """Readers that stop and go on anywhere, while recorders restart and the DB is lost.

    Each of ten readers keeps the last id of each stream, as a collector would.
    """
    chance = random.Random(3)  # noqa: S311 - a test's dice
    workers = ("worker-1", "worker-2", "worker-3")
    library = Library(tmp_path, database_url, workers=workers)
    numbers = count()
    readers: list[tuple[dict[str, str], list[str]]] = [({}, []) for _ in range(10)]
    for turn in range(CURSORS):
        if turn % 20 == 0:
            for worker in chance.sample(range(3), 2):
                library.write([event(next(numbers)) for _ in range(5)], worker)
            library.record()
        if turn in {CURSORS // 3, CURSORS // 2}:
            library.lose_db()
            library.record()
        last, seen = readers[turn % 10]
        after = ",".join(last.values()) or f"{NODE}/cli:1"
        rows = library.reader.tail(after, follow=False, stop=threading.Event())
        for row in rows:
            last[str(row["id"]).rpartition(":")[0]] = str(row["id"])
            seen.append(str(row["id"]))
            if chance.random() < 0.01:
                break  # stopped anywhere
    wanted = sorted(
        str(row["id"])
        for row in library.reader.tail(
            f"{NODE}/cli:1", follow=False, stop=threading.Event()
        )
    )
    for last, seen in readers:
        rest = library.reader.tail(
            ",".join(last.values()), follow=False, stop=threading.Event()
        )
        seen.extend(str(row["id"]) for row in rest)
        known = set(wanted)
        assert sorted(record for record in seen if record in known) == wanted
    library.close()


def test_commands_that_are_killed_see_each_row_exactly_once(daemon: Daemon) -> None:
    """`audit tail -f --after`, ended anywhere, over a keeper's death and a lost DB."""
    chance = random.Random(4)  # noqa: S311 - a test's dice
    last: dict[str, str] = {}
    seen: list[str] = []
    for turn in range(COMMANDS):
        daemon.told("folder", "add", "main", f"f{turn}")
        if turn == COMMANDS // 3:
            os.kill(daemon.children()["keeper"], signal.SIGKILL)
        if turn == COMMANDS // 2:
            for file in daemon.state.glob("audit.db*"):
                file.unlink()
        unseen = len(daemon.records()) - len(seen)
        for line in _some_lines(daemon, last, chance.randrange(1, unseen)):
            record_id = str(json.loads(line)["id"])
            last[record_id.rpartition(":")[0]] = record_id
            seen.append(record_id)
    written = {str(record["id"]) for record in daemon.records()}
    until(lambda: written <= {row["id"] for row in daemon.rows()}, deadline_s=30)
    done = daemon.cli("audit", "tail", "--after", ",".join(last.values()))
    seen += [str(json.loads(line)["id"]) for line in done.stdout.splitlines()]

    assert len(seen) == len(set(seen))
    assert written - set(seen) == {f"{NODE}/{slot}:1" for slot in ("cli",)} & written


def _some_lines(daemon: Daemon, last: dict[str, str], lines_max: int) -> list[str]:
    """The first lines of a tail that is killed then."""
    after = ",".join(last.values()) or f"{NODE}/cli:1"
    with subprocess.Popen(
        daemon._command("audit", "tail", "-f", "--after", after),
        cwd=daemon.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(lines_max)]
        process.kill()
    return [line for line in lines if line.endswith("\n")]


def test_a_spreadsheet_shows_names_and_no_formula(tmp_path: Path) -> None:
    """LibreOffice opens the CSV, calculates nothing and changes no name."""
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed")
    library = Library(tmp_path, f"sqlite:///{tmp_path / 'audit.db'}")
    paths = [f"/private/{name}" for name in NAMES]
    library.write([
        event(number, path=path, login=name)
        for number, (path, name) in enumerate(zip(paths, NAMES, strict=True))
    ])
    library.record()
    source = tmp_path / "trail.csv"
    with source.open("wb") as file:
        library.reader.export(file, Query(protocol="sftp"), Form.CSV)
    library.close()

    subprocess.run(
        [
            office,
            f"-env:UserInstallation=file://{tmp_path}/profile",
            "--headless",
            "--infilter=CSV:44,34,76,1,,0,false,true,false,false",
            "--convert-to",
            "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,true,false",
            "--outdir",
            tmp_path / "out",
            source,
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )

    text = (tmp_path / "out" / "trail.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["path"] for row in rows] == paths
    assert [row["login"].lstrip("'") for row in rows] == [
        name.lstrip("'") for name in NAMES
    ]
