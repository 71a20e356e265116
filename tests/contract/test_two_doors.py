"""The same acts by SFTP and by WebDAV: equal bytes on the disk, equal rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import paramiko
import pytest

from tests.support.daemon import Daemon, Record, copy_store
from tests.support.ledger import RefusedByServerError
from tests.support.people import Dav, sftp
from tests.support.waiting import until

COMPARED = (
    "operation",
    "phase",
    "outcome",
    "reason",
    "stage",
    "rule",
    "contract",
    "login",
    "device",
    "line",
    "folder",
    "path",
    "path_raw",
    "target",
    "size",
    "bytes",
    "ranges",
    "sha256",
)
LOOKING = {"stat", "list"}
"""What a client looks at before it acts is its own affair."""

CONTENT = bytes(range(256)) * 300


class Door(Protocol):
    """What both clients can do."""

    def put(self, path: str, content: bytes) -> None: ...

    def get(self, path: str) -> bytes: ...

    def mkdir(self, path: str) -> None: ...

    def rename(self, path: str, target: str) -> None: ...

    def delete(self, path: str) -> None: ...


class SftpDoor:
    """SFTP, each act as few requests."""

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self._client = client

    def put(self, path: str, content: bytes) -> None:
        with self._client.open(path, "wb") as file:
            file.write(content)

    def get(self, path: str) -> bytes:
        with self._client.open(path, "rb") as file:
            return file.read()

    def mkdir(self, path: str) -> None:
        self._client.mkdir(path)

    def rename(self, path: str, target: str) -> None:
        self._client.posix_rename(path, target)

    def delete(self, path: str) -> None:
        self._client.remove(path)


class DavDoor:
    """WebDAV."""

    def __init__(self, client: Dav) -> None:
        self._client = client

    def put(self, path: str, content: bytes) -> None:
        self._client.ask("PUT", path, content)

    def get(self, path: str) -> bytes:
        return self._client.ask("GET", path)

    def mkdir(self, path: str) -> None:
        self._client.ask("MKCOL", path)

    def rename(self, path: str, target: str) -> None:
        self._client.ask("MOVE", path, headers={"Destination": quote(target)})

    def delete(self, path: str) -> None:
        self._client.ask("DELETE", path)


def acts(door: Door) -> Iterator[Callable[[], object]]:
    """What both doors do; some of it is refused or fails."""
    yield lambda: door.mkdir("/private/報告")
    yield lambda: door.put("/private/報告/見積書 (2026年).pdf", CONTENT)
    yield lambda: door.put("/private/empty", b"")
    yield lambda: door.put("/private/empty", b"not any more")
    yield lambda: door.get("/private/報告/見積書 (2026年).pdf")
    yield lambda: door.rename("/private/empty", "/private/報告/moved")
    yield lambda: door.put("/shared/office/plan", b"plan")
    yield lambda: door.rename("/shared/office/plan", "/private/報告/moved")
    yield lambda: door.put("/private/gone", b"gone")
    yield lambda: door.delete("/private/gone")
    yield lambda: door.mkdir("/private/報告")
    yield lambda: door.put("/private/what?", b"refused by its name")
    yield lambda: door.put("/shared/none/x", b"refused by the tree")
    yield lambda: door.delete("/private/none")
    yield lambda: door.get("/private/none")
    yield lambda: door.rename("/private/none", "/private/nowhere")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if "/." not in f"/{path.relative_to(folder)}"
    }


def told(records: list[Record], protocol: str) -> list[dict[str, object]]:
    """What is compared of a door's acts on files, in order."""
    return [
        {key: record.get(key) for key in COMPARED}
        for record in records
        if record.get("protocol") == protocol
        and record["operation"] not in {*LOOKING, "login", "logout"}
    ]


@contextmanager
def opened(daemon: Daemon, protocol: str) -> Iterator[Door]:
    """A door of this protocol."""
    if protocol == "sftp":
        with sftp(daemon) as client:
            yield SftpDoor(client)
    else:
        with Dav(daemon) as client:
            yield DavDoor(client)


@pytest.fixture
def both(
    store_template: Path, tmp_path: Path
) -> Iterator[dict[str, tuple[Daemon, list[dict[str, object]]]]]:
    """Two copies of a store, each driven through one door."""
    found = {}
    daemons = []
    for protocol in ("sftp", "webdav"):
        daemon = copy_store(store_template, tmp_path / protocol)
        daemon.start()
        daemons.append(daemon)
        with opened(daemon, protocol) as door:
            for act in acts(door):
                with suppress(OSError, RefusedByServerError):
                    act()
        until(lambda d=daemon: d.records(operation="logout"), what="the session ended")
        found[protocol] = (daemon, told(daemon.records(), protocol))
    yield found
    for daemon in daemons:
        daemon.stop()


def test_both_doors_leave_equal_bytes_and_equal_rows(
    both: dict[str, tuple[Daemon, list[dict[str, object]]]],
) -> None:
    """From the VFS down the two protocols are one path, so the trail reads the same."""
    by_sftp, sftp_rows = both["sftp"]
    by_webdav, webdav_rows = both["webdav"]

    assert tree(by_sftp.folder / "data") == tree(by_webdav.folder / "data")
    assert sftp_rows == webdav_rows
    outcomes = {row["outcome"] for row in sftp_rows}
    assert outcomes == {None, "done", "failed", "refused"}


def test_what_the_journal_holds_the_database_shows(
    both: dict[str, tuple[Daemon, list[dict[str, object]]]],
) -> None:
    """Every act can be found, and no row differs from its record."""
    daemon, _ = both["sftp"]

    daemon.wait_indexed()

    by_id = {record["id"]: record for record in daemon.records()}
    rows = daemon.rows()
    assert len(rows) == len({row["id"] for row in rows})
    assert all(by_id[row["id"]] == row for row in rows)
