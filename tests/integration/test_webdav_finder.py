"""What Finder sends, replayed against the listener for device secrets.

Written by hand from traces in public threads: owncloud/core#24753 and
pydio/pydio-core#581 (a file and the `._` file beside it, step by step),
mar10/wsgidav#15 and sabre-io/dav#55 (chunks and the announced length),
arut/nginx-dav-ext-module#1 and robbiehanson/CocoaHTTPServer#8 (mounting),
tobychui/zoraxy#1079 (the DAV header of the 401).
"""

import unicodedata
from collections.abc import Iterator

import pytest

from server.model.folder import CaseRule, MacFiles
from server.model.operation import PRESETS
from tests.support.rfc4918 import Replay, replaying
from tests.support.waiting import until
from tests.support.webdav import WebdavStore, served

FINDER = {
    "User-Agent": "WebDAVFS/3.0.0 (03008000) Darwin/23.4.0 (arm64)",
    "Accept": "*/*",
    "Connection": "keep-alive",
}
XML = "text/xml"
LOCK = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n'
    "<D:lockscope><D:exclusive/></D:lockscope>\n<D:locktype><D:write/></D:locktype>\n"
    "<D:owner>\n<D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>\n"
    "</D:lockinfo>\n"
)


def asking(*names: str) -> str:
    told = "".join(f"<D:{name}/>" for name in names)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<D:propfind xmlns:D="DAV:"><D:prop>{told}</D:prop></D:propfind>\n'
    )


LOOK = asking("getlastmodified", "getcontentlength", "creationdate", "resourcetype")
ROOM = asking("quota-available-bytes", "quota-used-bytes", "quota", "quotaused")
LIST = asking(
    "getlastmodified",
    "getcontentlength",
    "creationdate",
    "resourcetype",
    "appledoubleheader",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """One store with a shared folder for each way to treat the files of macOS."""
    with served(tmp_path_factory.mktemp("finder")) as store:
        admin = store.accounts.administration
        for choice in MacFiles:
            admin.folders.add("main", str(choice))
            admin.folders.change(
                "main", str(choice), mac_files=choice, case=CaseRule.COLLIDE
            )
            for person in (store.alice, store.bob):
                admin.folders.grant("main", str(choice), person.name, PRESETS["editor"])
        snapshot = store.accounts.watch.snapshot
        until(lambda: len(snapshot().grants) == 8, what="the folders are known")
        yield store


@pytest.fixture
def finder(store: WebdavStore) -> Iterator[Replay]:
    alice = store.alice
    url, user = store.secret_url, alice.secret_user
    with replaying(url, user, alice.secret, FINDER) as replay:
        yield replay


def chunks(content: bytes) -> list[bytes]:
    return [content[at : at + 4096] for at in range(0, len(content), 4096)]


def look(finder: Replay, path: str, status: int | None = None) -> None:
    finder.ask("PROPFIND", path, LOOK, Depth="0", Content_Type=XML, status=status)


def write(finder: Replay, path: str, content: bytes) -> None:
    """webdavfs: made empty, locked for ten minutes, read back, sent in chunks."""
    look(finder, path, status=404)
    finder.ask("PUT", path, b"", status=201)
    look(finder, path)
    told = {"Depth": "0", "Timeout": "Second-600", "Content_Type": XML}
    lock = finder.ask("LOCK", path, LOCK, status=200, **told)
    assert finder.ask("GET", path).body == b""
    finder.ask(
        "PUT",
        path,
        chunks(content),
        If=f"({lock.token})",
        X_Expected_Entity_Length=str(len(content)),
        status=204,
    )
    look(finder, path)
    finder.ask("UNLOCK", path, Lock_Token=lock.token)


def names(client: Replay, folder: str) -> set[str]:
    """The last parts of what a listing shows."""
    answer = client.ask("PROPFIND", folder, LIST, Depth="1", Content_Type=XML)
    assert set(answer.refused().values()) <= {404}
    return {found.href.rstrip("/").rpartition("/")[2] for found in answer.found()[1:]}


def test_finder_mounts_the_store_and_looks_around(finder: Replay) -> None:
    """No DAV header on the 401, no password dialog; no room, no copying."""
    challenged = finder.ask("OPTIONS", "/", known=False, status=401)
    assert "2" in challenged.headers["DAV"]
    finder.ask("OPTIONS", "/")
    look(finder, "/")
    (found,) = finder.ask(
        "PROPFIND", "/private", ROOM, Depth="0", Content_Type=XML
    ).found()
    assert int(found.text("quota-available-bytes")) > 0
    for probe in ("._.", ".DS_Store", ".hidden", ".Spotlight-V100", "._.DS_Store"):
        look(finder, f"/private/{probe}", status=404)
    assert {"private", "shared"} == names(finder, "/")


@pytest.mark.parametrize("choice", list(MacFiles))
def test_a_file_is_copied_with_the_file_beside_it(
    store: WebdavStore, finder: Replay, choice: MacFiles
) -> None:
    """Whatever becomes of the `._` file, Finder's own steps all succeed."""
    top = f"/shared/{choice}"
    name = unicodedata.normalize("NFD", "パンダの写真.jpg")
    picture = bytes(range(256)) * 100
    write(finder, f"{top}/{name}", picture)
    write(finder, f"{top}/._{name}", b"\0\5\x16\7" + bytes(4092))
    write(finder, f"{top}/.DS_Store", b"\0\0\0\1Bud1" + bytes(6140))
    assert finder.ask("GET", f"{top}/._{name}").body.startswith(b"\0\5\x16\7")
    look(finder, f"{top}/.DS_Store")

    kept = choice is MacFiles.KEEP
    shown = {unicodedata.normalize("NFC", name)}
    shown |= {f"._{one}" for one in shown} | {".DS_Store"} if kept else set()
    bob = store.bob
    with replaying(store.secret_url, bob.secret_user, bob.secret, FINDER) as other:
        found = other.ask("PROPFIND", top, LIST, Depth="1", Content_Type=XML).found()
        assert len(found) == 1 + len(shown)
        assert other.ask("GET", f"{top}/{name}").body == picture
        look(other, f"{top}/.DS_Store", 404 if choice is MacFiles.DROP else None)
    rows = [
        record
        for record in store.records(operation="write", folder=top)
        if "._" in str(record.get("path")) or "DS_Store" in str(record.get("path"))
    ]
    # Each is written twice: empty, then whole; with intent and outcome where it counts.
    assert len(rows) == (1 if choice is MacFiles.DROP else 8)


def test_a_copy_that_is_cut_leaves_the_empty_file_and_says_so(
    store: WebdavStore, finder: Replay
) -> None:
    """Other servers show the half as the whole, for chunks tell no length."""
    path = "/private/cut.mov"
    finder.ask("PUT", path, b"", status=201)
    announced = {"X_Expected_Entity_Length": "100000"}

    finder.ask("PUT", path, chunks(bytes(50_000)), status=400, **announced)

    assert finder.ask("GET", path).body == b""
    (aborted,) = [r for r in store.outcomes("write") if r["outcome"] == "aborted"]
    assert aborted["reason"] == "incomplete_upload"


def test_a_document_is_saved_by_way_of_a_folder_of_its_own(finder: Replay) -> None:
    """TextEdit and Preview write beside the document and move it into place."""
    folder, document = "/private/メモ", "/private/メモ/memo.txt"
    aside = f"{folder}/memo.txt.sb-1f2e3d4c-AbCdEf"
    finder.ask("MKCOL", folder)
    write(finder, document, b"first")
    finder.ask("MKCOL", aside)
    write(finder, f"{aside}/memo.txt", b"second")
    to = finder.link(document)
    finder.ask("MOVE", f"{aside}/memo.txt", Destination=to, Overwrite="T", status=204)
    finder.ask("DELETE", aside)

    assert finder.ask("GET", document).body == b"second"
    assert finder.ask("GET", document, Range="bytes=2-3").body == b"co"
    assert names(finder, folder) == {"memo.txt"}


def test_finder_renames_by_letters_and_meets_a_collision(finder: Replay) -> None:
    """HFS+ and APFS know no two names that differ in case alone."""
    top = "/shared/hide"
    write(finder, f"{top}/report.txt", b"x")
    write(finder, f"{top}/._report.txt", b"y")
    for name in ("report.txt", "._report.txt"):
        to = finder.link(f"{top}/{name.replace('report', 'Report')}")
        finder.ask("MOVE", f"{top}/{name}", Destination=to, Overwrite="F", status=201)
    finder.ask("PUT", f"{top}/REPORT.TXT", b"", status=409)
    finder.ask("MKCOL", f"{top}/REPORT.TXT", status=409)
    finder.ask("MKCOL", f"{top}/other")
    to = finder.link(f"{top}/REPORT.TXT")
    finder.ask("MOVE", f"{top}/other", Destination=to, Overwrite="F", status=409)
    assert {"Report.txt", "other"} <= names(finder, top)
