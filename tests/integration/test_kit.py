"""The Linux kit, unpacked and used as its guide says, against the real daemon."""

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, copy_store
from tests.support.sockets import free_port
from tests.support.waiting import until
from tests.support.webdav import require_program

PASSWORD = "kasa to nagagutsu 7"
needs_fuse = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE here")


@dataclass
class Unpacked:
    """A served store, and Hanako's kit in a folder with a difficult name."""

    daemon: Daemon
    folder: Path
    told: dict[str, Any]
    home: Path

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run something in the kit's folder, as its guide says."""
        return subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def environ(self) -> dict[str, str]:
        """A person who types her password when ssh asks."""
        return {
            **os.environ,
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "SSH_ASKPASS": str(self.home / "askpass"),
            "SSH_ASKPASS_REQUIRE": "force",
        }


@pytest.fixture(scope="module")
def hanako(
    store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Unpacked]:
    """One daemon at fixed ports for this module."""
    home = tmp_path_factory.mktemp("hanako")
    ports = {"SFTP__PORT": free_port(), "WEBDAV__PORT": free_port()}
    ports["WEBDAV__SECRET__PORT"] = free_port()
    environ = {f"KAGIKURA_{name}": str(port) for name, port in ports.items()}
    daemon = copy_store(store_template, home / "store", environ)
    daemon.start()
    try:
        added = daemon.told("login", "add", "hanako", "--totp", "off")
        code = added["enrolment_code"]
        daemon.told(
            *("enrol", "hanako", "--code", code, "--password-stdin"),
            text=f"{PASSWORD}\n",
        )
        folder = home / "Hanako's kit"
        told = daemon.told(
            *("device", "kit", "hanako", "pc", "--for", "linux"),
            *("-o", str(folder), "--host", "localhost"),
        )
        (home / "askpass").write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
        (home / "askpass").chmod(0o700)
        yield Unpacked(daemon, folder, told, home)
    finally:
        daemon.stop()


@contextmanager
def mounted(folder: Path, unmount: list[str]) -> Iterator[Path]:
    """Wait until a folder is a mount; unmount it after the block."""
    try:
        until(lambda: os.path.ismount(folder), what="it is mounted")
        yield folder
    finally:
        subprocess.run([*unmount, str(folder)], check=False, capture_output=True)


def test_the_kit_is_its_owners_alone_and_on_record(hanako: Unpacked) -> None:
    """It holds a key; the passwords were told beside it."""
    assert hanako.folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in hanako.folder.iterdir()}
    assert sorted(modes) == hanako.told["files"]
    assert modes["device.key"] == 0o600
    assert modes["mount-sshfs.sh"] == 0o700
    assert hanako.told["certificate_password"]
    assert hanako.told["secret_name"] == "hanako+pc@main"
    rows = hanako.daemon.records(operation="admin.device.kit", outcome="done")
    assert rows[0]["target"] == "hanako@main/pc"
    assert rows[0]["login"].startswith("os:")


def test_curl_stores_a_file_by_its_settings(hanako: Unpacked) -> None:
    """No name, certificate or authority is typed."""
    port = hanako.daemon.environ["KAGIKURA_WEBDAV__PORT"]
    url = f"https://localhost:{port}/private/report.pdf"
    curl = ["curl", "-sS", "--fail", "-K", "curl.conf"]
    (hanako.home / "report.pdf").write_bytes(b"%PDF")
    typed = ["-u", f"hanako@main:{PASSWORD}"]  # a terminal would be asked for it

    put = hanako.run(*curl, *typed, "-T", str(hanako.home / "report.pdf"), url)
    got = hanako.run(*curl, *typed, url)

    assert (put.returncode, got.stdout) == (0, "%PDF"), put.stderr + got.stderr
    assert 'user = "hanako@main"' in (hanako.folder / "curl.conf").read_text()


def test_rclone_lists_and_copies_by_its_settings(hanako: Unpacked) -> None:
    """And asks for no shell: the trail has no refused command of it."""
    require_program("rclone")
    obscured = hanako.run("rclone", "obscure", PASSWORD).stdout.strip()
    rclone = ["rclone", "--config", "rclone.conf", "--sftp-pass", obscured]
    (hanako.home / "見積書.txt").write_text("1,000")

    put = hanako.run(
        *rclone, "copy", str(hanako.home / "見積書.txt"), "kagikura:/private"
    )
    listed = hanako.run(*rclone, "ls", "kagikura:/private")

    assert put.returncode == 0, put.stderr
    assert "見積書.txt" in listed.stdout
    assert not hanako.daemon.records(operation="command")


def test_the_first_login_knows_the_server(hanako: Unpacked) -> None:
    """Its key is in the kit: nobody is asked to trust what answers first."""
    done = hanako.run("./log-in.sh", text="ls /private\nbye\n")

    assert done.returncode == 0, done.stderr
    known = hanako.folder / "known_hosts"
    kept = known.read_text()
    try:
        known.write_text("")
        assert hanako.run("./log-in.sh", text="bye\n").returncode == 255
    finally:
        known.write_text(kept)


@needs_fuse
def test_sshfs_mounts_by_its_script(hanako: Unpacked) -> None:
    """Below a home folder whose name no shell likes."""
    folder = hanako.home / "Kagikura"
    done = hanako.run("./mount-sshfs.sh")
    if done.returncode != 0 and "fuse" in done.stderr:
        pytest.skip(f"sshfs cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    with mounted(folder, ["fusermount3", "-u"]):
        (folder / "private" / "sshfs.txt").write_text("x")
        assert (folder / "private" / "sshfs.txt").read_text() == "x"


@needs_fuse
def test_rclone_mounts_by_its_script(hanako: Unpacked) -> None:
    """The same place, over rclone."""
    require_program("rclone")
    obscured = hanako.run("rclone", "obscure", PASSWORD).stdout.strip()
    folder = hanako.home / "rclone"
    with subprocess.Popen(
        ["./mount-rclone.sh", str(folder)],
        cwd=hanako.folder,
        env={**hanako.environ, "RCLONE_SFTP_PASS": obscured},
        stderr=subprocess.PIPE,
    ) as process:
        try:
            with mounted(folder, ["fusermount3", "-u"]):
                assert (folder / "private").is_dir()
        finally:
            process.terminate()


@needs_fuse
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting davfs2 asks for sudo")
def test_davfs2_mounts_by_its_script(hanako: Unpacked) -> None:
    """It asks three questions on a terminal; the kit's certificate answers the TLS."""
    require_program("mount.davfs")
    folder = hanako.home / "davfs2"
    asked = {
        b"certificate": hanako.told["certificate_password"],
        b"Username:": "hanako@main",
        b"Password:": PASSWORD,
    }

    try:
        with typed(hanako, ["./mount-davfs2.sh", str(folder)], asked) as said:
            assert "exit=0" in said, said
            with mounted(folder, ["umount"]):
                assert (folder / "private").is_dir()
    finally:
        for name in ("kagikura-ca.crt", "private/kagikura-pc.p12"):
            Path("/etc/davfs2/certs", name).unlink(missing_ok=True)


@contextmanager
def typed(
    hanako: Unpacked, program: list[str], asked: dict[bytes, str]
) -> Iterator[str]:
    """Answer a program's questions on a terminal; all it said, with its exit code.

    A shell holds the terminal until the block ends, as a person's does: whoever goes
    on in the background would be hung up with it.
    """
    shell = ["/bin/sh", "-c", '"$@"; echo "exit=$?"; read -r rest', "sh", *program]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(hanako.folder)
        os.execve(shell[0], shell, hanako.environ)  # noqa: S606 - the script under test
    said, answered = b"", 0
    while b"exit=" not in said:
        said += os.read(terminal, 4096)
        fresh = said[answered:]
        for words, answer in asked.items():
            if words in fresh and fresh.rstrip().endswith((b":", b"?")):
                answered = len(said)
                os.write(terminal, f"{answer}\n".encode())
                break
    try:
        yield said.decode(errors="replace")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def test_a_kit_is_written_once_and_never_over_another(hanako: Unpacked) -> None:
    """What stands there may be somebody's only key."""
    again = hanako.daemon.cli(
        *("device", "kit", "hanako", "new", "--for", "windows"),
        *("-o", str(hanako.folder), "--host", "localhost"),
    )
    unknown = hanako.daemon.cli(
        *("device", "kit", "nobody", "pc", "--for", "windows"),
        *("-o", str(hanako.home / "none"), "--host", "localhost"),
    )

    assert (again.returncode, unknown.returncode) == (2, 1)
    assert not (hanako.home / "none").exists()
    shown = hanako.daemon.cli("device", "show", "hanako", "new")
    assert shown.returncode == 1


def test_a_kit_without_the_key_says_so(hanako: Unpacked) -> None:
    """A registered device's key is with its owner; a wrong host is told."""
    told = hanako.daemon.cli(
        *("device", "kit", "hanako", "pc", "--for", "windows"),
        *("-o", str(hanako.home / "later"), "--host", "elsewhere.example"),
    )

    assert told.returncode == 0, told.stderr
    assert "registered already" in told.stderr
    assert "does not name elsewhere.example" in told.stderr
    assert not (hanako.home / "later" / "device.key").exists()
