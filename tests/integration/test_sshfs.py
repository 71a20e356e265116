"""The store as a drive over SFTP: sshfs, and rsync on top of it."""

import os
import secrets
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.exerciser import Exerciser
from tests.support.openssh import OpenSsh
from tests.support.sftp import SftpHouse, open_house
from tests.support.waiting import until
from tests.support.webdav import require_program

OPTIONS = ("-o", "reconnect", "-o", "ServerAliveInterval=5", "-o", "idmap=user")
SAMPLE_S = 10
_NO_LINKS = r"not implemented|not supported|not permitted"
SOAK_S = 120


@dataclass(frozen=True)
class Drive:
    """A mounted home folder."""

    folder: Path
    house: SftpHouse
    stored: Path
    """The same on the server's disk."""


@contextmanager
def mounted(folder: Path, name: str) -> Iterator[Drive]:
    with open_house(folder) as house:
        person = house.add_person(name)
        point = folder / "drive"
        point.mkdir()
        client = OpenSsh(house, person, [person.key])
        done = client.mount(point, *OPTIONS)
        if done.returncode != 0:
            pytest.skip(f"sshfs cannot mount here: {done.stderr.strip()}")
        try:
            yield Drive(point, house, house.private(person))
        finally:
            subprocess.run(["fusermount3", "-u", "-z", str(point)], check=True)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    """One mount for all tests of this page; each works in a folder of its own."""
    require_program("sshfs")
    with mounted(tmp_path_factory.mktemp("sshfs"), "alice") as drive:
        yield drive


def test_random_work_on_a_file_reads_back_what_was_written(drive: Drive) -> None:
    """A person maps the drive once and forgets that it is no local disk."""
    worker = Exerciser(drive.folder / "見積 fsx", secrets.randbits(32))

    assert worker.run(SAMPLE_S) > 100

    assert (drive.stored / "見積 fsx").read_bytes() == worker.content


@pytest.mark.soak
def test_two_minutes_of_random_work_find_no_difference(tmp_path: Path) -> None:
    """A rare order of steps is found by many of them."""
    require_program("sshfs")
    with mounted(tmp_path, "alice") as drive:
        worker = Exerciser(drive.folder / "fsx", secrets.randbits(32))
        assert worker.run(SOAK_S) > 1000
        assert (drive.stored / "fsx").read_bytes() == worker.content


def test_rsync_sees_what_it_copied_and_copies_it_once(
    drive: Drive, tmp_path: Path
) -> None:
    """Modes and times are kept, or a backup would send everything each night."""
    rsync = require_program("rsync")
    source, target = tmp_path / "source", drive.folder / "backup"
    (source / "報告" / "深い").mkdir(parents=True)
    for number in range(20):
        path = source / "報告" / f"書類 {number}.pdf"
        path.write_bytes(os.urandom(number * 3000))
        os.utime(path, (1_700_000_000, 1_600_000_000 + number))
    (source / "tool").write_text("#!/bin/sh")
    (source / "tool").chmod(0o755)

    def copied(*options: str) -> list[str]:
        done = subprocess.run(
            [rsync, "-rpt", "--delete", "-i", *options, f"{source}/", f"{target}/"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert len(copied()) == 25  # 21 files, 3 folders, and a line about the first
    assert copied() == []
    assert copied("--checksum") == []
    (source / "報告" / "書類 3.pdf").write_bytes(b"changed")
    (source / "報告" / "書類 4.pdf").unlink()
    # SFTP tells whole seconds: within one, a folder that changed looks the same.
    os.utime(source / "報告", (1_700_000_000, 1_600_000_000))
    assert [line.split()[0] for line in copied("--inplace")] == [
        "*deleting",
        ".d..t......",
        ">f.st......",
    ]
    stored = drive.stored / "backup" / "報告"
    assert (stored / "書類 3.pdf").read_bytes() == b"changed"
    assert not (stored / "書類 4.pdf").exists()
    assert (drive.stored / "backup" / "tool").stat().st_mode & 0o777 == 0o755


def test_links_are_refused_and_dangerous_bits_are_dropped(drive: Drive) -> None:
    """A link would lead around the rights; a program says that it cannot make one."""
    file = drive.folder / "plain"
    file.write_text("x")

    with pytest.raises(OSError, match=_NO_LINKS):
        (drive.folder / "link").symlink_to("plain")
    with pytest.raises(OSError, match=_NO_LINKS):
        (drive.folder / "hard").hardlink_to(file)
    file.chmod(0o6711)
    os.utime(file, (1_500_000_000, 1_400_000_000))

    assert sorted(path.name for path in drive.folder.glob("*l*n*")) == ["plain"]
    found = (drive.stored / "plain").stat()
    assert stat.S_IMODE(found.st_mode) == 0o711
    assert (found.st_atime, found.st_mtime) == (1_500_000_000, 1_400_000_000)


def test_the_drive_shows_the_room_of_the_store(drive: Drive) -> None:
    """`df` and file managers refuse a copy that does not fit."""
    shown, real = os.statvfs(drive.folder), os.statvfs(drive.stored)

    assert shown.f_blocks * shown.f_frsize == real.f_blocks * real.f_frsize
    assert shown.f_namemax == real.f_namemax


def test_a_lost_connection_is_taken_up_again(drive: Drive) -> None:
    """Notebooks sleep; the drive must be there when they wake."""
    (drive.folder / "before").write_text("before")
    logins = len(drive.house.records(operation="login", outcome="done"))
    for connection in list(drive.house.listener._connections):
        connection.cut("test")

    def is_back() -> bool:
        try:
            return (drive.folder / "before").read_text() == "before"
        except OSError:
            return False

    until(is_back, what="the drive is back", deadline_s=20)
    (drive.folder / "after").write_text("after")
    assert (drive.stored / "after").read_text() == "after"
    assert len(drive.house.records(operation="login", outcome="done")) > logins
