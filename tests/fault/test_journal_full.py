"""Disks that are full while clients work: refused in words, back by itself."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from tests.fault.test_kill import check, demo_root
from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger, RefusedByServerError
from tests.support.people import Dav, sftp
from tests.support.waiting import until

CLIENTS = 4
MIB = 1048576
RESERVE = 4 * MIB
BACK_S = 5


@contextmanager
def on_small_disk(folder: Path, size: str) -> Iterator[None]:
    """Put a folder with what it holds on a file system of its own."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Take the disk's free space but for `leave` bytes, while others write too."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        until(lambda: _filled(file.fileno(), leave), what="the disk is full")
    return ballast


def _filled(fd: int, leave: int) -> bool:
    disk = os.fstatvfs(fd)
    with contextlib.suppress(OSError):  # somebody was faster
        taken = os.fstat(fd).st_size
        os.posix_fallocate(fd, 0, taken + disk.f_bavail * disk.f_frsize - leave)
        return True
    return False


@pytest.fixture
def full_journal(store: Daemon) -> Iterator[Daemon]:
    """A daemon whose journal lies on 32 MiB of its own."""
    config = store.folder / "kagikura.toml"
    config.write_text(config.read_text().replace("= 65536", f"= {RESERVE}"))
    with on_small_disk(store.state / "journal", "32m"):
        store.start()
        try:
            yield store
        finally:
            if store.process is not None:
                store.stop()


@pytest.fixture
def small_data(store: Daemon) -> Iterator[Daemon]:
    """A daemon whose files lie on 16 MiB of their own."""
    (store.folder / "data").mkdir(exist_ok=True)
    with on_small_disk(store.folder / "data", "16m"):
        store.start()
        try:
            yield store
        finally:
            if store.process is not None:
                store.stop()


def refusal(act: Callable[[], object]) -> str:
    """What the server says to an act; empty when it does it."""
    try:
        act()
    except (RefusedByServerError, OSError) as error:
        return str(error)
    return ""


def first_refusal(client: paramiko.SFTPClient, path: str) -> str:
    """What SFTP says soon after the last room; then it disconnects.

    Each folder is another one: the reserve would tell long of one that is there.
    """
    told: list[str] = []

    def ask() -> bool:
        told.append(refusal(lambda: client.mkdir(f"{path}-{len(told)}")))
        return "trail" in told[-1]

    until(ask, what="SFTP refuses", deadline_s=6)
    channel = client.get_channel()
    assert channel is not None
    until(lambda: channel.closed, what="SFTP disconnects")
    return told[-1]


class Download:
    """A client that reads one file again and again on one handle, until told no."""

    def __init__(self, client: paramiko.SFTPClient, path: str) -> None:
        self._file = client.open(path, "rb")
        self.blocks = 0
        self.told = ""
        self._thread = threading.Thread(target=self._read, name="download")
        self._thread.start()

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _read(self) -> None:
        try:
            while True:
                self._file.seek(0)
                self._file.read(32768)
                self.blocks += 1
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.told = str(error) or "disconnected"


def require_closed(daemon: Daemon, dav: Dav) -> None:
    """Nothing at all is done by either protocol, a login neither."""
    intents = len(daemon.records(phase="intent"))
    for _ in range(20):
        assert refusal(lambda: dav.ask("GET", "/private/big"))
    with pytest.raises((paramiko.SSHException, EOFError, OSError)), sftp(daemon):
        pass
    assert len(daemon.records(phase="intent")) == intents


def require_back(daemon: Daemon, dav: Dav) -> None:
    """Both protocols work again, SFTP by a new session."""
    until(
        lambda: not refusal(lambda: dav.ask("MKCOL", "/private/back")),
        what="WebDAV works again",
        deadline_s=BACK_S,
    )
    with sftp(daemon) as client:
        client.mkdir("/private/back/by-sftp")


def test_nothing_is_done_unrecorded_while_the_journal_has_no_room(
    full_journal: Daemon, tmp_path: Path
) -> None:
    """Fail closed: refused in words over both protocols, and back without a restart."""
    daemon, workers = full_journal, full_journal.children()
    ledger = Ledger(tmp_path / "ledger")
    with sftp(daemon) as client, sftp(daemon) as reader, Dav(daemon) as dav:
        dav.ask("PUT", "/private/big", b"x" * MIB)
        download = Download(reader, "/private/big")
        with Crowd(daemon, ledger, clients=CLIENTS, seed=1):
            until(lambda: ledger.count("ok") > 20, what="the clients work")
            until(lambda: download.blocks > 10, what="the download runs")
            ballast = fill(daemon.state / "journal")
            by_sftp = first_refusal(client, "/private/over-sftp")
            by_webdav = refusal(lambda: dav.ask("MKCOL", "/private/over-webdav"))
            download.end()
            worked = ledger.count("ok")
            require_closed(daemon, dav)
            ballast.unlink()
            require_back(daemon, dav)
            until(lambda: ledger.count("ok") > worked + 20, what="the clients go on")

    assert "audit trail cannot be written" in by_sftp
    assert by_webdav.startswith("503")
    assert "audit trail cannot be written" in download.told
    assert daemon.children() == workers
    refused = {
        str(record["path"]).partition("-")[2].partition("-")[0]
        for record in daemon.records(reason="audit_unavailable")
        if record.get("operation") == "mkdir"
    }
    assert refused >= {"sftp", "webdav"}
    assert daemon.stop() == 0
    ledger.close()
    assert check(daemon, ledger) == []
    wanted = [record["id"] for record in daemon.records()]
    assert sorted(row["id"] for row in daemon.rows()) == sorted(wanted)


def test_a_full_data_disk_is_told_and_harms_nothing(small_data: Daemon) -> None:
    """The old version stays, reading and deleting go on, and room is enough again."""
    daemon, big = small_data, os.urandom(2 * MIB)
    with sftp(daemon) as client, Dav(daemon) as dav:
        for name in ("a", "b", "c"):
            dav.ask("PUT", f"/private/{name}", b"old")
        ballast = fill(daemon.folder / "data", leave=MIB)

        by_webdav = refusal(lambda: dav.ask("PUT", "/private/a", big))
        with client.open("/private/b", "wb") as file:
            by_sftp = refusal(lambda: file.write(big))
        kept = dav.ask("GET", "/private/a")
        dav.ask("DELETE", "/private/a")
        client.remove("/private/b")
        with client.open("/private/c", "rb") as file:
            read = file.read()

        ballast.unlink()
        dav.ask("PUT", "/private/a", big)

    assert by_webdav.startswith("507")
    assert "full" in by_sftp
    assert kept == b"old"
    assert read == b"old"
    failed = daemon.records(reason="storage_full", outcome="failed")
    assert {record["path"] for record in failed} == {"/private/a", "/private/b"}
    trash = demo_root(daemon).parent.parent / ".trash"
    assert b"old" in {path.read_bytes() for path in trash.iterdir()}
    assert list(trash.with_name(".stage").iterdir()) == []
