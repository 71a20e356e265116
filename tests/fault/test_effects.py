"""No effect without a record, no record without an effect, as the kernel saw it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.test_kill import demo_root
from tests.support.crowd import DavHands, Hands, SftpHands
from tests.support.daemon import Daemon
from tests.support.effects import (
    Effect,
    Oracle,
    effects,
    traced,
    traced_command,
)
from tests.support.people import Dav, sftp
from tests.support.waiting import until
from tests.support.webdav import curl


def work(hands: Hands, home: str) -> None:
    """A little of everything that both protocols can do."""
    hands.mkdir(home)
    hands.mkdir(f"{home}/資料")
    hands.put(f"{home}/a", os.urandom(100_000))
    hands.put(f"{home}/a", os.urandom(70_000))
    hands.put(f"{home}/資料/b", b"")
    assert len(hands.get(f"{home}/a")) == 70_000
    hands.rename(f"{home}/a", f"{home}/資料/c")
    hands.put(f"{home}/d", b"d")
    hands.rename(f"{home}/d", f"{home}/資料/c")
    hands.delete(f"{home}/資料/b")


def work_over_sftp(daemon: Daemon) -> None:
    with sftp(daemon) as client:
        work(SftpHands(client), "/private/by-sftp")
        client.chmod("/private/by-sftp/資料/c", 0o640)
        client.utime("/private/by-sftp/資料/c", (1, 2))
        client.truncate("/private/by-sftp/資料/c", 0)
        client.mkdir("/private/by-sftp/empty")
        client.rmdir("/private/by-sftp/empty")
        client.listdir("/private/by-sftp")


def work_over_webdav(daemon: Daemon) -> None:
    with Dav(daemon) as dav:
        work(DavHands(dav), "/private/by-webdav")
        there = {"Destination": "/private/copied"}
        dav.ask("COPY", "/private/by-webdav", headers=there)
        dav.ask("COPY", "/private/by-webdav", headers=there)
        dav.ask("DELETE", "/private/by-webdav")
        dav.ask("PROPFIND", "/private/copied", headers={"Depth": "1"})
        dav.ask("OPTIONS", "/private")


def work_with_litmus(daemon: Daemon, folder: Path) -> None:
    """The protocol's own test suite, where it is installed."""
    litmus = shutil.which("litmus")
    if litmus is None:
        return
    added = daemon.told("device", "add", "demo", "explorer", "--secret")
    login = ("demo+explorer", added["secret"])
    url = daemon.ready["webdav_secret"] + "private/"
    asked = ("PROPFIND", url, "-u", ":".join(login), "-H", "Depth: 0")
    until(lambda: curl(*asked)[0] == 207, what="the device is known")
    subprocess.run(
        [litmus, url, *login],
        env={**os.environ, "TESTS": "basic copymove"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )


@pytest.fixture
def observed(daemon: Daemon, tmp_path: Path) -> tuple[list[Effect], Oracle]:
    """What a worker did to the files, and the trail of it."""
    with sftp(daemon) as client:
        client.listdir("/private")  # the login's folder is made at the first visit
    trace = tmp_path / "trace"
    with traced(daemon.children()["worker-1"], trace):
        work_over_sftp(daemon)
        work_over_webdav(daemon)
        work_with_litmus(daemon, tmp_path)
    assert daemon.stop() == 0
    found = effects(trace, daemon.folder / "data")
    prefixes = {f"private/{demo_root(daemon).name}": "/private"}
    return found, Oracle(daemon.records(), prefixes)


def test_every_effect_is_explained_and_every_record_has_one(
    observed: tuple[list[Effect], Oracle], daemon: Daemon, tmp_path: Path
) -> None:
    """The promise of the whole product, as the kernel saw it."""
    found, oracle = observed

    assert oracle.unexplained(found) == []

    explaining = {act for effect in found for act in oracle.explaining(effect)}
    changing = [act for act in oracle.acts.values() if act.changed_files]
    assert [act for act in changing if act.id not in explaining] == []
    assert len(changing) > 20
    calls = {effect.call for effect in found}
    assert calls >= {"pwrite64", "pread64", "renameat2", "linkat", "copy_file_range"}


def test_the_oracle_sees_what_is_not_recorded(
    observed: tuple[list[Effect], Oracle], daemon: Daemon, tmp_path: Path
) -> None:
    """Without any one act's records its effects stand out; so does a stranger's."""
    found, oracle = observed
    for act in list(oracle.acts):
        removed = oracle.acts.pop(act)
        if removed.changed_files:
            assert oracle.unexplained(found), removed
        oracle.acts[act] = removed

    planted = demo_root(daemon) / "by-sftp" / "planted"
    script = f"open({str(planted)!r}, 'w').write('x')"
    traced_command([sys.executable, "-c", script], tmp_path / "planted")

    (made, *written) = effects(tmp_path / "planted", daemon.folder / "data")
    assert made.paths[0].name == "planted"
    assert oracle.unexplained([made, *written]) == [made, *written]
