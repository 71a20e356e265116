"""Tools that copy and synchronise trees: rclone over both protocols, lftp, psftp."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.openssh import OpenSsh
from tests.support.sftp import PASSWORD, Person, SftpHouse, open_house
from tests.support.webdav import require_program, served

TIMEOUT_S = 600
SMALL, LARGE = 24, 2000


def run(
    command: list[str], environ: Mapping[str, str] | None = None, typed: str = ""
) -> str:
    """What a command says; it must work."""
    done = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environ or {})},
        input=typed,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def grow(folder: Path, count: int) -> None:
    """A tree of files: many small, some of several blocks, two levels deep."""
    chance = random.Random(count)  # noqa: S311 - the same tree each time
    for number in range(count):
        path = folder / f"年度 {number % 7}" / f"{number % 3}" / f"書類 {number};#.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.choice((0, 1, 300, 5000, 40_000))))
        os.utime(path, (1_700_000_000, 1_600_000_000 + number))
    (folder / "large").write_bytes(chance.randbytes(3_000_001))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True)
class Remote:
    """rclone's `store:`, and where its files lie on the server's disk."""

    environ: Mapping[str, str]
    stored: Path

    def rclone(self, *arguments: str) -> str:
        return run([require_program("rclone"), *arguments], self.environ)


def obscured(secret: str) -> str:
    return run([require_program("rclone"), "obscure", secret]).strip()


@contextmanager
def by_sftp(folder: Path) -> Iterator[Remote]:
    with open_house(folder) as house:
        alice = house.add_person("alice")
        environ = {
            "RCLONE_CONFIG_STORE_TYPE": "sftp",
            "RCLONE_CONFIG_STORE_HOST": "127.0.0.1",
            "RCLONE_CONFIG_STORE_PORT": str(house.port),
            "RCLONE_CONFIG_STORE_USER": alice.name,
            "RCLONE_CONFIG_STORE_KEY_FILE": str(alice.key),
            "RCLONE_CONFIG_STORE_PASS": obscured(PASSWORD),
            "RCLONE_CONFIG_STORE_SHELL_TYPE": "none",
            "HOME": str(folder),
        }
        yield Remote(environ, house.private(alice))


@contextmanager
def by_webdav(folder: Path) -> Iterator[Remote]:
    with served(folder) as store:
        alice = store.alice
        login = next(
            one
            for one in store.accounts.watch.snapshot().logins
            if one.name == alice.name
        )
        environ = {
            "RCLONE_CONFIG_STORE_TYPE": "webdav",
            "RCLONE_CONFIG_STORE_URL": f"{store.secret_url}/private",
            "RCLONE_CONFIG_STORE_VENDOR": "owncloud",
            "RCLONE_CONFIG_STORE_USER": alice.secret_user,
            "RCLONE_CONFIG_STORE_PASS": obscured(alice.secret),
            "HOME": str(folder),
        }
        private = store.folder / "data" / login.contract_id / "private" / login.id
        yield Remote(environ, private)


DOORS: dict[str, Callable[[Path], "object"]] = {"sftp": by_sftp, "webdav": by_webdav}


def synchronised(remote: Remote, folder: Path, count: int) -> None:
    """Out, compared, changed on both sides, and together again."""
    here = folder / "here"
    grow(here, count)
    remote.rclone("sync", str(here), "store:tree")
    remote.rclone("check", "--download", str(here), "store:tree")
    assert content(remote.stored / "tree") == content(here)

    (here / "large").write_bytes(b"changed here")
    (here / "年度 0" / "0" / "書類 0;#.pdf").unlink()
    remote.rclone("sync", str(here), "store:tree")
    assert content(remote.stored / "tree") == content(here)

    state = folder / "bisync"
    two_ways = ("bisync", str(here), "store:tree", "--workdir", str(state))
    remote.rclone(*two_ways, "--resync")
    (here / "from here").write_bytes(b"new here")
    (remote.stored / "tree" / "from there").write_bytes(b"new there")
    (remote.stored / "tree" / "large").unlink()
    remote.rclone(*two_ways)

    assert content(remote.stored / "tree") == content(here)
    assert {"from here", "from there"} <= content(here).keys()
    assert "large" not in content(here)


@pytest.mark.parametrize("door", list(DOORS))
def test_rclone_synchronises_a_tree_both_ways(door: str, tmp_path: Path) -> None:
    """Sync, check and bisync: what one side has, the other has, byte for byte."""
    require_program("rclone")
    with DOORS[door](tmp_path) as remote:
        synchronised(remote, tmp_path, SMALL)


@pytest.mark.soak
@pytest.mark.parametrize("door", list(DOORS))
def test_rclone_synchronises_two_thousand_files(door: str, tmp_path: Path) -> None:
    """An office's share, not a demonstration."""
    require_program("rclone")
    with DOORS[door](tmp_path) as remote:
        synchronised(remote, tmp_path, LARGE)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


def test_lftp_mirrors_there_and_back(
    house: SftpHouse, alice: Person, tmp_path: Path
) -> None:
    """Times are kept, so a second mirror transfers nothing."""
    lftp = require_program("lftp")
    here, back = tmp_path / "here", tmp_path / "back"
    grow(here, SMALL)
    options = " ".join(OpenSsh(house, alice, [alice.key]).options)
    opened = (
        "set cmd:fail-exit yes; set net:max-retries 1; set sftp:auto-confirm yes;"
        f'set sftp:connect-program "ssh -a -x {options}";'
        f"open -u '{alice.name},{PASSWORD}' sftp://127.0.0.1:{house.port};"
    )

    def mirror(*arguments: str) -> str:
        command = " ".join(["mirror", "--verbose", *arguments])
        return run([lftp, "-c", opened + command], {"HOME": str(tmp_path)})

    mirror("--reverse", "--parallel=3", str(here), "/private/tree")
    assert content(house.private(alice) / "tree") == content(here)
    assert "Transferring" not in mirror("--reverse", str(here), "/private/tree")
    mirror("/private/tree", str(back))
    assert content(back) == content(here)
    (here / "large").unlink()
    mirror("--reverse", "--delete", str(here), "/private/tree")
    assert content(house.private(alice) / "tree") == content(here)


def test_putty_whose_code_filezilla_runs_transfers_and_renames(
    house: SftpHouse, alice: Person, tmp_path: Path
) -> None:
    """It asks for the real path of anything, sets modes, and renames onto nothing."""
    psftp, puttygen = require_program("psftp"), require_program("puttygen")
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(400_000))
    key = tmp_path / "alice.ppk"
    run([puttygen, str(alice.key), "-O", "private", "-o", str(key)])
    fingerprint = run([puttygen, "-l", str(house.folder / "host_ed25519_key")])
    script = "\n".join([
        "pwd",
        "cd /private/nowhere/..",
        "mkdir 書類",
        "cd 書類",
        f"put {source} a.pdf.filepart",
        "chmod 640 a.pdf.filepart",
        "mv a.pdf.filepart a.pdf",
        "ls",
        f"reput {source} a.pdf",
        f"get a.pdf {back}",
        "del a.pdf",
        "cd ..",
        "rmdir 書類",
        "quit",
    ])
    batch = tmp_path / "batch"
    batch.write_text(script)

    told = run(
        [
            *(psftp, "-batch", "-P", str(house.port), "-i", str(key)),
            *("-hostkey", fingerprint.split()[2], "-pw", PASSWORD, "-b", str(batch)),
            f"{alice.name}@127.0.0.1",
        ],
        {"HOME": str(tmp_path)},
    )

    assert "Remote directory is /private" in told
    assert "a.pdf" in told
    assert back.read_bytes() == source.read_bytes()
    assert list(house.private(alice).iterdir()) == []
