"""What real clients destroyed through either door comes back by the command line."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.daemon.reading import operator_fields
from server.daemon.trail import opened_cli_trail
from server.model.operation import Operation
from server.settings.loader import load
from tests.fault.test_kill import demo_root
from tests.support.daemon import Daemon, copy_store
from tests.support.people import sftp
from tests.support.webdav import curl

Door = Callable[[Daemon, str, str, str], None]
"""A client: the daemon, what to do (put, delete, rename), a name, and a content or the
new name."""


@pytest.fixture(scope="module")
def store(
    store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """One served store for the module; each test has names of its own."""
    daemon = copy_store(store_template, tmp_path_factory.mktemp("restore") / "store")
    daemon.start()
    yield daemon
    if daemon.process is not None:
        daemon.stop()


def by_sftp(daemon: Daemon, verb: str, name: str, more: str = "") -> None:
    """OpenSSH's own client."""
    local, path = daemon.folder / "local", f"/private/{name}"
    local.write_text(more)
    script = {
        "put": f"put {local} {path}",
        "delete": f"rm {path}",
        "rename": f"rename {path} /private/{more}",
    }
    askpass = daemon.folder / "askpass"
    askpass.write_text(f'#!/bin/sh\necho "{daemon.password}"\n')
    askpass.chmod(0o700)
    options = ("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null")
    done = subprocess.run(
        [
            *("sftp", "-F/dev/null", "-oBatchMode=no", *options, "-oLogLevel=ERROR"),
            *(f"-oIdentityFile={daemon.demo / 'demo_key'}", "-oIdentitiesOnly=yes"),
            *("-P", str(daemon.sftp_port), "-b", "-", "demo@127.0.0.1"),
        ],
        input=script[verb] + "\n",
        env={**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def by_curl(daemon: Daemon, verb: str, name: str, more: str = "") -> None:
    """What `curl` does with the device's certificate."""
    local, url = daemon.folder / "local", f"{daemon.ready['webdav']}private/"
    local.write_text(more)
    asked = {
        "put": ("PUT", "-T", str(local)),
        "delete": ("DELETE",),
        "rename": ("MOVE", "-H", f"Destination: {url}{more}"),
    }
    method, *options = asked[verb]
    login = (
        *("--cacert", str(daemon.demo / "server-ca.pem")),
        *("--cert", str(daemon.demo / "demo.pem"), "-u", f"demo:{daemon.password}"),
    )
    status, words = curl(method, url + name, *login, *options)
    assert 200 <= status < 300, words


both_doors = pytest.mark.parametrize("door", [by_sftp, by_curl])


def content(daemon: Daemon, name: str) -> str:
    return (demo_root(daemon) / name).read_text()


def last(daemon: Daemon, operation: str, name: str) -> str:
    """The id of the last record of a kind about a name."""
    found = daemon.records(operation=operation, path=f"/private/{name}")
    return str(found[-1]["id"])


@both_doors
def test_a_deleted_file_is_listed_and_comes_back(store: Daemon, door: Door) -> None:
    """The trash says what, whose and until when; the restore is an act of os:NAME."""
    name = f"帳簿-{door.__name__}"
    door(store, "put", name, "figures")
    door(store, "delete", name, "")

    (row,) = store.told("trash", "list", "--path", f"/private/{name}")
    assert (row["login"], row["operation"], row["kind"]) == ("demo", "delete", "file")
    assert row["size"] == len("figures")
    store.told("restore", row["entry"])

    assert content(store, name) == "figures"
    assert store.told("trash", "list", "--path", f"/private/{name}") == []
    intent, outcome = store.records(operation="restore", path=f"/private/{name}")
    assert (intent["phase"], outcome["outcome"]) == ("intent", "done")
    assert intent["login"].startswith("os:")
    assert intent["detail"]["owner"] == "demo"
    assert intent["detail"]["destroyed_by"] == "demo"


@both_doors
def test_the_version_of_a_moment_comes_back(store: Daemon, door: Door) -> None:
    """What a virus wrote over at two o'clock is had back as it stood before."""
    name = f"versions-{door.__name__}"
    for text in ("first", "second", "third"):
        if text == "third":
            moment = datetime.now(UTC).isoformat()
        door(store, "put", name, text)
    door(store, "delete", name, "")
    path = ("restore", f"/private/{name}", "--login", "demo")

    store.told(*path, "--before", moment, "--to", f"/private/{name}-then")
    assert content(store, f"{name}-then") == "second"
    store.told(*path)
    assert content(store, name) == "third"
    refused = store.cli(*path, "--before", moment)
    assert refused.returncode == 1


@both_doors
def test_an_overwritten_file_is_put_back_by_its_record(
    store: Daemon, door: Door
) -> None:
    """And the newer one is in the trash then: undoing the undoing brings it back."""
    name = f"over-{door.__name__}"
    door(store, "put", name, "old")
    door(store, "put", name, "new")

    store.told("undo", last(store, "write", name))
    assert content(store, name) == "old"
    store.told("undo", last(store, "restore", name))
    assert content(store, name) == "new"


@both_doors
def test_a_rename_is_taken_back_unless_the_name_is_taken(
    store: Daemon, door: Door
) -> None:
    """Nothing is overwritten without a word."""
    name, new = f"from-{door.__name__}", f"to-{door.__name__}"
    door(store, "put", name, "moved")
    door(store, "rename", name, new)
    door(store, "put", name, "another")
    record = last(store, "rename", name)

    refused = store.cli("undo", record)
    assert refused.returncode == 1
    assert "taken" in refused.stderr
    store.told("undo", record, "--overwrite")

    assert content(store, name) == "moved"
    assert not (demo_root(store) / new).exists()
    again = store.cli("undo", record)
    assert again.returncode == 1


def test_a_change_in_place_is_taken_back(store: Daemon) -> None:
    """A file written in the middle by sshfs was never emptied, and yet it is kept."""
    by_sftp(store, "put", "middle", "0123456789")
    with sftp(store) as client, client.open("/private/middle", "r+") as file:
        file.seek(3)
        file.write("xyz")
    assert content(store, "middle") == "012xyz6789"

    store.told("undo", last(store, "write", "middle"))

    assert content(store, "middle") == "0123456789"


def test_what_others_changed_since_is_left_alone(store: Daemon) -> None:
    """The words name who did it, and --overwrite keeps even that in the trash."""
    for text in ("one", "two", "three"):
        by_curl(store, "put", "since", text)
    writes = store.records(operation="write", path="/private/since", phase="outcome")

    refused = store.cli("undo", writes[1]["id"])
    assert refused.returncode == 1
    assert writes[2]["act"] in refused.stderr
    store.told("undo", writes[1]["id"], "--overwrite")

    assert content(store, "since") == "one"


def test_a_deleted_tree_comes_back_whole_or_in_part(store: Daemon) -> None:
    """One file of it too, when the folder that held it has gone."""
    with sftp(store) as client:
        client.mkdir("/private/tree")
        client.mkdir("/private/tree/sub")
    by_sftp(store, "put", "tree/a", "a")
    by_sftp(store, "put", "tree/sub/b", "b")
    by_curl(store, "delete", "tree", "")
    record = last(store, "delete", "tree")

    store.told("restore", "/private/tree/sub/b", "--login", "demo")
    assert content(store, "tree/sub/b") == "b"
    refused = store.cli("undo", record)
    assert refused.returncode == 1
    store.told("restore", record, "--to", "/private/tree/whole")
    assert content(store, "tree/whole/a") == "a"
    made = store.records(operation="mkdir", login=store.records()[-1]["login"])
    assert {r["path"] for r in made} == {"/private/tree", "/private/tree/sub"}


def test_what_cannot_be_undone_says_why(store: Daemon) -> None:
    """No silence, no traceback: exit code 1 and words."""
    by_sftp(store, "put", "words", "new")
    made = last(store, "write", "words")
    for record, words in (
        (made, "destroyed nothing"),
        (store.records(operation="login")[-1]["id"], "no act that had an effect"),
        ("node-1/worker-1:999999", "no record"),
    ):
        refused = store.cli("undo", record)
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert words in refused.stderr
    gone = store.cli("restore", "/private/never", "--login", "demo")
    assert (gone.returncode, "no version" in gone.stderr) == (1, True)


def test_history_tells_of_the_restoring(store: Daemon) -> None:
    """The administrator's act belongs to the history of Demo's own file."""
    by_sftp(store, "put", "told", "x")
    by_sftp(store, "delete", "told", "")
    store.told("restore", "/private/told", "--login", "demo")
    store.wait_indexed()

    lines = store.cli("audit", "history", "/private/told", "--json").stdout
    found = map(json.loads, lines.splitlines())

    done = [r["operation"] for r in found if r["operation"] != "stat"]
    assert done == ["write", "delete", "restore"]


def test_it_works_while_no_daemon_runs(store_template: Path, tmp_path: Path) -> None:
    """After a crash too: the command itself brings the index up to date."""
    daemon = copy_store(store_template, tmp_path / "store")
    daemon.start()
    by_curl(daemon, "put", "a", "old")
    by_curl(daemon, "delete", "a", "")
    daemon.kill()

    daemon.told("undo", last(daemon, "delete", "a"))

    assert content(daemon, "a") == "old"
    daemon.start()
    by_curl(daemon, "put", "a", "new")
    assert daemon.stop() == 0
    daemon.told("undo", last(daemon, "write", "a"))
    assert content(daemon, "a") == "old"


def test_a_restoring_that_was_killed_is_closed_by_the_next_command(
    store_template: Path, tmp_path: Path
) -> None:
    """The commands' stream is no process's own: whoever comes next recovers it."""
    daemon = copy_store(store_template, tmp_path / "store")
    settings = load(daemon.folder / "kagikura.toml", {}).settings
    root = f"{'c' * 26}/private/{'l' * 26}"
    pid = os.fork()
    if pid == 0:
        os.chdir(daemon.folder)
        with opened_cli_trail(settings) as trail:
            act = trail.gate.act(operator_fields("os:x"), Operation.RESTORE)
            act.note(
                path="/private/a",
                folder="/private",
                detail={"root": root, "entry": "E", "inside": [], "inode": "1"},
            )
            act.begin()
            os._exit(137)
    os.waitpid(pid, 0)

    daemon.told("trash", "list")

    (outcome,) = daemon.records(operation="restore", phase="outcome")
    assert (outcome["outcome"], outcome["recovered"]) == ("unknown", True)
