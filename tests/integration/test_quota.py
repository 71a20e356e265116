"""Quotas through both doors and several workers: exact at the last byte."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fault.test_kill import demo_root
from tests.support.crowd import DavHands, SftpHands
from tests.support.daemon import Daemon, copy_store
from tests.support.ledger import RefusedByServerError
from tests.support.people import Dav, sftp
from tests.support.waiting import until

MIB = 1024 * 1024
QUOTA = 3 * MIB
EACH = 200 * 1024


@pytest.fixture(scope="module")
def store(
    store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """Served by two workers."""
    folder = tmp_path_factory.mktemp("quota") / "store"
    daemon = copy_store(store_template, folder, {"KAGIKURA_WORKERS": "2"})
    daemon.start()
    yield daemon
    if daemon.process is not None:
        assert daemon.stop() == 0


def stored(daemon: Daemon) -> int:
    """What stands in Demo's folder, and of hers in the stage."""
    root = demo_root(daemon)
    found = 0
    for path in (*root.rglob("*"), *(root.parents[1] / ".stage").glob("*")):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return found


def used(daemon: Daemon, of: str = "demo@main") -> dict[str, int]:
    (row,) = [row for row in daemon.told("quota", "list") if row["of"] == of]
    return row


def put_by_sftp(daemon: Daemon, path: str, length: int) -> bool:
    """Whether all of it came in."""
    with sftp(daemon) as client:
        try:
            SftpHands(client).put(path, b"s" * length)
        except OSError as error:
            return _refused(error, "quota_bytes")
    return True


def put_by_dav(daemon: Daemon, path: str, length: int) -> bool:
    """Whether it was taken."""
    with Dav(daemon) as client:
        try:
            DavHands(client).put(path, b"d" * length)
        except RefusedByServerError as error:
            return _refused(error, "507")
    return True


def _refused(error: Exception, words: str) -> bool:
    if words not in str(error):
        raise error
    return False


def emptied(daemon: Daemon, quota: int) -> None:
    """Demo's folder without a file, and with a quota."""
    with Dav(daemon) as client:
        client.ask("PUT", "/private/any", b"")
        for path in demo_root(daemon).iterdir():
            client.ask("DELETE", f"/private/{path.name}")
    daemon.told("login", "change", "demo", "--quota-bytes", str(quota))


Put = Callable[[Daemon, str, int], bool]
DOORS: tuple[Put, ...] = (put_by_sftp, put_by_dav)


def uploaded_at_once(store: Daemon) -> tuple[list[bool], list[int]]:
    """Which of sixteen uploads came in, and what was seen above the quota meanwhile."""
    over, done = list[int](), threading.Event()

    def watch() -> None:
        while not done.is_set():
            over.extend([found] if (found := stored(store)) > QUOTA else [])

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(DOORS[n % 2], store, f"/private/up-{n}", EACH)
            for n in range(16)
        ]
        results = [job.result() for job in jobs]
    done.set()
    watching.join()
    return results, over


def test_sixteen_uploads_share_the_last_megabyte(store: Daemon) -> None:
    """Never above the quota, and in the end not a byte of it is out of reach."""
    emptied(store, QUOTA)
    assert put_by_dav(store, "/private/first", 2 * MIB)
    known = len(store.records(stage="quota"))
    warned = len(store.records(operation="system.quota_warning"))
    results, over = uploaded_at_once(store)

    assert over == []
    assert 1 <= sum(results) <= (QUOTA - 2 * MIB) // EACH
    refused = known + results.count(False)
    until(
        lambda: len(store.records(stage="quota")) == refused, what="all are on record"
    )
    assert {r["outcome"] for r in store.records(stage="quota")} == {"refused"}
    before = used(store)
    assert before["bytes"] == stored(store)
    (again,) = store.told("quota", "recount")
    assert again == before
    assert store.records(operation="system.quota_recount") == []
    left = QUOTA - before["bytes"]
    assert not put_by_dav(store, "/private/rest", left + 1)
    assert put_by_dav(store, "/private/rest", left)
    warnings = store.records(operation="system.quota_warning")[warned:]
    levels = sorted(r["detail"]["level"] for r in warnings)
    assert levels in ([90], [80, 90])  # one settling may pass both at once
    assert {r["target"] for r in warnings} == {"demo@main"}


@pytest.mark.parametrize("put", DOORS)
def test_deleting_makes_room_at_once(store: Daemon, put: Put) -> None:
    """The trash counts for the contract, so nobody has to wait for its end."""
    emptied(store, QUOTA)
    assert put(store, "/private/first", 2 * MIB)
    assert not put_by_dav(store, "/private/again", 2 * MIB)
    with Dav(store) as client:
        client.ask("DELETE", "/private/first")
    assert put(store, "/private/again", 2 * MIB)
    assert used(store)["bytes"] == stored(store)


def test_the_room_that_is_left_is_told(store: Daemon) -> None:
    """What Explorer shows is the person's quota, not the server's disk."""
    emptied(store, QUOTA)
    put_by_dav(store, "/private/some", 100_000)
    before = used(store)
    asked = (
        b'<propfind xmlns="DAV:"><prop><quota-available-bytes/><quota-used-bytes/>'
        b"</prop></propfind>"
    )
    with Dav(store) as client:
        told = client.ask("PROPFIND", "/private", asked, {"Depth": "0"}).decode()
    blocks = -(-before["bytes"] // 4096)
    assert f"quota-used-bytes>{blocks * 4096}<" in told
    room = (QUOTA - before["bytes"]) // 4096 * 4096
    assert f"quota-available-bytes>{room}<" in told


def test_a_restore_is_refused_where_it_does_not_fit(store: Daemon) -> None:
    """An administrator's act obeys quotas too; a higher quota lets it through."""
    emptied(store, QUOTA)
    assert put_by_dav(store, "/private/lost", 2 * MIB)
    with Dav(store) as client:
        client.ask("DELETE", "/private/lost")
    assert put_by_dav(store, "/private/kept", 2 * MIB)
    gone = store.records(operation="delete", path="/private/lost")[-1]["act"]
    refused = store.cli("restore", gone, "--to", "/private/back")
    assert (refused.returncode, "quota_bytes" in refused.stderr) == (1, True)
    store.told("login", "change", "demo", "--quota-bytes", "none")
    store.told("restore", gone, "--to", "/private/back")
    (login,) = [
        r for r in store.told("quota", "list", "--all") if r["of"] == "demo@main"
    ]
    assert login["bytes"] == stored(store)


def test_a_killed_worker_gives_back_what_it_had_reserved(store: Daemon) -> None:
    """Its uploads are gone, and so is their share of the quota."""
    emptied(store, QUOTA)
    store.told("contract", "change", "main", "--quota-bytes", "1G")
    with sftp(store) as client:
        file = client.open("/private/cut", "wb", bufsize=0)
        file.write(b"x" * 50_000)
        store.kill()
    store.start()
    with Dav(store) as client:
        client.ask("PUT", "/private/after", b"x")
    root = demo_root(store).parents[1]
    there = [
        p.stat().st_size
        for p in root.rglob("*")
        if p.is_file() and ".quota" not in p.parts
    ]
    assert used(store, "main")["bytes"] == sum(there)
    store.told("contract", "change", "main", "--quota-bytes", "none")
