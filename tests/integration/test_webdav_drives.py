"""The store as a drive over WebDAV on Linux: davfs2, GNOME's gio, and cadaver."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.exerciser import Exerciser
from tests.support.waiting import until
from tests.support.webdav import WebdavStore, require_program, served

TIMEOUT_S = 60
SAMPLE_S = 4
SOAK_S = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """One store for all clients of this page; each works in a folder of its own."""
    with served(tmp_path_factory.mktemp("drives")) as store:
        yield store


def stored(store: WebdavStore) -> Path:
    """Where the shared folder `team` lies on the disk."""
    folder = store.accounts.watch.snapshot().folders[0]
    return store.folder / "data" / folder.contract_id / "shared" / folder.id


@contextmanager
def mounted(store: WebdavStore, folder: Path) -> Iterator[Path]:
    """The shared folder, mounted by davfs2 with the laptop's secret."""
    mount = require_program("mount.davfs")
    if os.getuid() != 0:
        pytest.skip("davfs2 mounts as root only")
    url, point = f"{store.secret_url}/shared/team", folder / "drive"
    alice = store.alice
    known = folder / "secrets"
    known.write_text(f'"{url}" "{alice.secret_user}" "{alice.secret}"\n')
    known.chmod(0o600)
    point.mkdir()
    settings = folder / "davfs2.conf"
    with TemporaryDirectory(prefix="kagikura-davfs2-") as cache:
        # It goes on as a user of its own, who cannot enter the tests' folders.
        shutil.chown(cache, group="davfs2")
        Path(cache).chmod(0o1770)
        settings.write_text(
            f"secrets {known}\ncache_dir {cache}\ndelay_upload 0\nuse_locks 1\n"
            "gui_optimize 0\nask_auth 0\nfile_refresh 0\ndir_refresh 0\n"
        )
        done = run([mount, "-o", f"conf={settings}", url, str(point)], {})
        if not point.is_mount():
            pytest.skip(f"davfs2 cannot mount here: {done.stderr.strip()}")
        try:
            yield point
        finally:
            subprocess.run(["umount", str(point)], check=True, timeout=TIMEOUT_S)


def exercised(store: WebdavStore, folder: Path, seconds: float) -> None:
    """Random work by davfs2, which keeps a file to itself until it is closed."""
    file, box = f"見積 fsx {seconds:g}", f"箱 {seconds:g}"  # the store has others' too
    with mounted(store, folder) as point:
        worker = Exerciser(point / file, secrets.randbits(32))
        assert worker.run(seconds) > 10
        (point / box).mkdir()
        (point / box / "a").write_text("a")
        (point / box / "a").rename(point / box / "b")
        # davfs2 1.6.1 lists no folder of any server on newer kernels (EINVAL).
        assert (point / box / "b").read_text() == "a"
        assert not (point / box / "a").exists()
        shown, real = os.statvfs(point), os.statvfs(stored(store))
        part = shown.f_bavail * shown.f_frsize / (real.f_bavail * real.f_frsize)
        assert 0.8 < part < 1.2
    # An unmount waits for what is still to be sent.
    until(
        lambda: (stored(store) / file).read_bytes() == worker.content,
        what="all is stored",
    )
    assert (stored(store) / box / "b").read_text() == "a"


def test_davfs2_works_at_random_and_loses_nothing(
    store: WebdavStore, tmp_path: Path
) -> None:
    """It locks, uploads whole files, and reads them back by their tags."""
    exercised(store, tmp_path, SAMPLE_S)


@pytest.mark.soak
def test_a_minute_of_davfs2_finds_no_difference(
    store: WebdavStore, tmp_path: Path
) -> None:
    """A rare order of steps is found by many of them."""
    exercised(store, tmp_path, SOAK_S)


def run(
    command: list[str], environ: Mapping[str, str], typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environ},
        input=typed,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


GIO = """
set -e
printf '%s\\n' "$SECRET" | gio mount "$STORE/"
gio copy "$HOME/source" "$STORE/shared/team/写真.jpg"
gio list -l "$STORE/shared/team"
gio rename "$STORE/shared/team/写真.jpg" 海.jpg
gio mkdir "$STORE/shared/team/box"
gio move "$STORE/shared/team/海.jpg" "$STORE/shared/team/box/山.jpg"
gio copy "$STORE/shared/team/box/山.jpg" "$HOME/back"
gio info -f "$STORE/"
gio remove "$STORE/shared/team/box/山.jpg" "$STORE/shared/team/box"
gio mount -u "$STORE/"
"""


def test_gnome_mounts_copies_renames_and_removes(
    store: WebdavStore, tmp_path: Path
) -> None:
    """What Files does when a person types the store's address."""
    bus = require_program("dbus-run-session")
    require_program("gio")
    backends = ("/usr/lib/gvfs/gvfsd-dav", "/usr/libexec/gvfsd-dav")
    if not any(Path(backend).exists() for backend in backends):
        pytest.skip("gvfs-backends is not installed")
    (tmp_path / "source").write_bytes(os.urandom(300_000))
    alice = store.alice
    user = alice.secret_user.replace("+", "%2B")
    environ = {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "GVFS_DISABLE_FUSE": "1",
        "SECRET": alice.secret,
        "STORE": f"dav://{user}@127.0.0.1:{store.secret_port}",
    }

    done = run([bus, "--", "sh", "-c", GIO], environ)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()
    assert "写真.jpg\t300000\t(regular)" in done.stdout
    assert "filesystem::free" in done.stdout
    assert not (stored(store) / "box").exists()


CADAVER = """
mkcol 書類
cd 書類
put {source} a.bin
lock a.bin
put {source} a.bin
discover a.bin
unlock a.bin
copy a.bin b.bin
move b.bin c.bin
ls
propnames c.bin
get c.bin {back}
delete a.bin
cd ..
rmcol 書類
quit
"""


def test_cadaver_locks_copies_and_fetches(store: WebdavStore, tmp_path: Path) -> None:
    """The oldest client of all, by neon, as many scripts still use it."""
    cadaver = require_program("cadaver")
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(200_000))
    alice = store.alice
    (tmp_path / ".netrc").write_text(
        f"machine 127.0.0.1 login {alice.secret_user} password {alice.secret}\n"
    )
    (tmp_path / ".netrc").chmod(0o600)

    done = run(
        [cadaver, f"{store.secret_url}/shared/team/"],
        {"HOME": str(tmp_path)},
        CADAVER.format(source=source, back=back),
    )

    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout.lower(), done.stdout
    assert back.read_bytes() == source.read_bytes()
    assert "c.bin" in done.stdout
    assert not (stored(store) / "書類").exists()
