"""What Windows and Office send, replayed against the listener for device secrets.

Written by hand from MS-WDV and MS-WDVME (what the redirector adds to WebDAV) and from
traces in public threads: mar10/wsgidav#112 and #332 (copying a file in Explorer),
swisspol/GCDWebServer#319 (LOCK without a Depth), OpenMarshal/npm-WebDAV-Server#37
(Word's owner file), sabre-io/dav#980 and #1188 (Office without the redirector),
dgraziotin/docker-nginx-webdav-nononsense#8 (opening a document).
"""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.support.rfc4918 import Answer, Replay, replaying
from tests.support.webdav import WebdavStore, served

REDIRECTOR = {
    "User-Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045",
    "Translate": "f",
    "Connection": "Keep-Alive",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
}
OFFICE = {
    "User-Agent": "Microsoft Office Word 2014",
    "X-Office-Major-Version": "16",
    "X-MS-CookieUri-Requested": "t",
    "X-FeatureVersion": "1",
    "X-IDCRL_ACCEPTED": "t",
    "Translate": "f",
}
LOCK = (
    '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope>'
    "<D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>"
    "<D:href>OFFICE\\alice</D:href></D:owner></D:lockinfo>"
)
MODIFIED = "Sat, 03 Jan 2026 01:02:03 GMT"
TOP = "/shared/team"


def times(*names: str) -> str:
    """A PROPPATCH of the redirector: times and attributes of NTFS (MS-WDVME 2.2)."""
    values = {"Win32FileAttributes": "00000020"}
    told = "".join(f"<Z:{n}>{values.get(n, MODIFIED)}</Z:{n}>" for n in names)
    return (
        '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" '
        'xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
        f"{told}</D:prop></D:set></D:propertyupdate>"
    )


ALL_TIMES = times(
    "Win32CreationTime",
    "Win32LastAccessTime",
    "Win32LastModifiedTime",
    "Win32FileAttributes",
)
XML = 'text/xml; charset="utf-8"'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """One store; each test works in a folder of its own."""
    with served(tmp_path_factory.mktemp("windows")) as store:
        yield store


@pytest.fixture
def explorer(store: WebdavStore) -> Iterator[Replay]:
    alice = store.alice
    url, user = store.secret_url, alice.secret_user
    with replaying(url, user, alice.secret, REDIRECTOR) as replay:
        yield replay


@pytest.fixture
def word(store: WebdavStore) -> Iterator[Replay]:
    alice = store.alice
    with replaying(store.secret_url, alice.secret_user, alice.secret, OFFICE) as replay:
        yield replay


def lock(client: Replay, path: str) -> str:
    """A lock as the redirector takes one: no Depth, an hour."""
    answer = client.ask("LOCK", path, LOCK, Timeout="Second-3600", Content_Type=XML)
    return answer.token


def upload(client: Replay, path: str, content: bytes) -> None:
    """Explorer's way to write a file: made empty, locked, dated, filled, dated."""
    client.ask("PROPFIND", path, Depth="0", status=404)
    client.ask("PUT", path, b"", status=201)
    token = lock(client, path)
    mine = f"({token})"
    client.ask("PROPPATCH", path, ALL_TIMES, If=mine, Content_Type=XML)
    client.ask("HEAD", path)
    client.ask("PUT", path, content, If=mine, status=204)
    last = times("Win32LastModifiedTime", "Win32FileAttributes")
    told = client.ask("PROPPATCH", path, last, If=mine, Content_Type=XML)
    assert told.refused() == {}
    client.ask("UNLOCK", path, Lock_Token=token)


def listed(answer: Answer) -> set[str]:
    return {found.href for found in answer.found()}


def test_a_drive_is_mapped_from_the_root_down(explorer: Replay) -> None:
    """The redirector asks without a password first, then walks every parent."""
    explorer.ask("OPTIONS", "/", known=False, status=401)
    explorer.ask("OPTIONS", "/")
    for parent in ("/", "/shared", TOP):
        (found,) = explorer.ask("PROPFIND", parent, b"", Depth="0").found()
        assert found.is_folder
    assert listed(explorer.ask("PROPFIND", "/", b"", Depth="1")) == {
        "/",
        "/private/",
        "/shared/",
    }
    assert f"{TOP}/" in listed(explorer.ask("PROPFIND", "/shared", b"", Depth="1"))
    for looked_for in ("desktop.ini", "AutoRun.inf", "folder.jpg", "Thumbs.db"):
        explorer.ask("PROPFIND", f"{TOP}/{looked_for}", b"", Depth="0", status=404)


def test_a_file_is_copied_into_the_drive_and_keeps_its_time(explorer: Replay) -> None:
    """Explorer shows an error when any step of its chain fails."""
    path = f"{TOP}/見積 (1) #5 100%.xlsx"

    upload(explorer, path, b"content" * 1000)

    (found,) = explorer.ask("PROPFIND", path, b"", Depth="0").found()
    assert found.text("getcontentlength") == "7000"
    assert found.text("getlastmodified") == MODIFIED
    asked = (
        '<D:propfind xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:prop>'
        "<Z:Win32CreationTime/><Z:Win32LastModifiedTime/><Z:Win32FileAttributes/>"
        "</D:prop></D:propfind>"
    )
    (kept,) = explorer.ask("PROPFIND", path, asked, Depth="0").found()
    told = [node.text for node in kept.properties.values()]
    assert told == [MODIFIED, MODIFIED, "00000020"]
    got = explorer.ask("GET", path)
    assert got.body == b"content" * 1000
    assert got.etag == found.text("getetag")
    assert got.headers["Last-Modified"] == MODIFIED


def test_files_and_folders_are_renamed_moved_and_deleted(explorer: Replay) -> None:
    """F2 and drag: Overwrite: F, a Destination with scheme and host."""
    new, old = f"{TOP}/Neuer Ordner", f"{TOP}/新しいフォルダー"
    explorer.ask("PROPFIND", old, b"", Depth="0", status=404)
    explorer.ask("MKCOL", old)
    upload(explorer, f"{old}/a.txt", b"a")
    for source, target in ((f"{old}/a.txt", f"{old}/b.txt"), (old, new)):
        explorer.ask("PROPFIND", target, b"", Depth="0", status=404)
        to = explorer.link(target)
        explorer.ask("MOVE", source, Destination=to, Overwrite="F", status=201)
    upload(explorer, f"{TOP}/b.txt", b"another")
    to = explorer.link(f"{new}/b.txt")
    explorer.ask("MOVE", f"{TOP}/b.txt", Destination=to, Overwrite="F", status=412)
    explorer.ask("MOVE", f"{TOP}/b.txt", Destination=to, Overwrite="T", status=204)
    assert explorer.ask("GET", f"{new}/b.txt").body == b"another"
    explorer.ask("DELETE", new)
    explorer.ask("PROPFIND", new, b"", Depth="0", status=404)


def test_a_name_that_windows_could_not_open_is_refused(explorer: Replay) -> None:
    """A Mac or a scanner may try; the answer must not look like missing rights."""
    for name in ("a:b", "con.txt", "end."):
        explorer.ask("PUT", f"{TOP}/{name}", b"", status=400)


def test_word_saves_over_the_drive_by_its_dance(explorer: Replay) -> None:
    """Owner file, temporary file, two renames, and a lock that is kept awake."""
    folder = f"{TOP}/word"
    explorer.ask("MKCOL", folder)
    book, owner = f"{folder}/報告.docx", f"{folder}/~$報告.docx"
    new, backup = f"{folder}/5A3F1B20.tmp", f"{folder}/6C4D0E11.tmp"
    upload(explorer, book, b"first")
    token = lock(explorer, book)
    explorer.ask("PROPFIND", folder, b"", Depth="1")
    upload(explorer, owner, b"alice".ljust(162))
    held = lock(explorer, owner)
    explorer.ask("GET", owner)
    explorer.ask("UNLOCK", owner, Lock_Token=held)
    assert explorer.ask("GET", book).body == b"first"
    again = explorer.ask("LOCK", book, If=f"({token})", Timeout="Second-3600")
    assert token.strip("<>") in again.body.decode()

    upload(explorer, new, b"second")
    explorer.ask("UNLOCK", book, Lock_Token=token)
    for source, target in ((book, backup), (new, book)):
        to = explorer.link(target)
        explorer.ask("MOVE", source, Destination=to, Overwrite="F", status=201)
    explorer.ask("DELETE", backup)
    explorer.ask("DELETE", owner)

    assert explorer.ask("GET", book).body == b"second"
    assert len(explorer.ask("PROPFIND", folder, b"", Depth="1").found()) == 2


def test_a_document_that_somebody_has_open_opens_read_only_for_the_next(
    store: WebdavStore, explorer: Replay
) -> None:
    """Word asks for the lock, is told 423 and by whom, and offers a copy."""
    path = f"{TOP}/shared.docx"
    upload(explorer, path, b"x")
    token = lock(explorer, path)
    bob = store.bob
    with replaying(store.secret_url, bob.secret_user, bob.secret, REDIRECTOR) as other:
        other.ask("LOCK", path, LOCK, Timeout="Second-3600", status=423)
        other.ask("PUT", path, b"y", status=423)
        other.ask("PROPPATCH", path, ALL_TIMES, status=423)
        to = other.link(f"{TOP}/mine.docx")
        other.ask("MOVE", path, Destination=to, Overwrite="F", status=423)
        other.ask("DELETE", path, status=423)
        (found,) = other.ask("PROPFIND", path, b"", Depth="0").found()
        discovery = found.properties["{DAV:}lockdiscovery"]
        assert "OFFICE\\alice" in "".join(discovery.itertext())
        assert other.ask("GET", path).body == b"x"
        explorer.ask("UNLOCK", path, Lock_Token=token)
        upload(other, f"{path}.copy", b"y")
        other.ask("PUT", path, b"y", status=204)


def test_office_without_the_redirector_edits_a_document(
    explorer: Replay, word: Replay
) -> None:
    """`ms-word:ofe` links: Office speaks WebDAV itself, and has its own names."""
    path = f"{TOP}/direct.docx"
    upload(explorer, path, b"one")
    word.ask("OPTIONS", TOP)
    word.ask("HEAD", path)
    token = word.ask("LOCK", path, LOCK, Timeout="Second-3600", Depth="0").token
    got = word.ask("GET", path)
    asked = (
        '<?xml version="1.0" ?><D:propfind xmlns:D="DAV:" '
        'xmlns:Office="urn:schemas-microsoft-com:office:office"><D:prop>'
        "<D:creationdate/><D:getlastmodified/><D:getcontentlength/>"
        "<Office:modifiedby/></D:prop></D:propfind>"
    )
    seen = word.ask("PROPFIND", path, asked, Depth="0", Content_Type=XML)
    assert set(seen.refused().values()) == {404}
    (found,) = seen.found()
    assert found.text("getcontentlength") == "3"
    assert parsedate_to_datetime(found.text("getlastmodified"))
    word.ask("LOCK", path, If=f"({token})", Timeout="Second-3600")
    stored = word.ask("PUT", path, b"two", If=f"({token})", status=204)
    assert stored.etag != got.etag
    assert word.ask("HEAD", path).etag == stored.etag
    word.ask("PUT", path, b"three", Lock_Token=token, status=204)
    word.ask("UNLOCK", path, Lock_Token=token)
    assert explorer.ask("GET", path).body == b"three"


def test_a_folder_of_ten_thousand_files_is_listed_whole(
    store: WebdavStore, explorer: Replay
) -> None:
    """Explorer shows such a folder as empty when the answer is cut or malformed."""
    explorer.ask("MKCOL", f"{TOP}/many")
    (folder,) = (store.folder / "data").glob("*/shared/*/many")
    for number in range(10_000):
        (folder / f"書類 {number:05}.pdf").touch()

    found = explorer.ask("PROPFIND", f"{TOP}/many", b"", Depth="1").found()

    assert len(found) == 10_001
    assert found[0].href == f"{TOP}/many/"
    lengths = {one.text("getcontentlength") for one in found if not one.is_folder}
    assert lengths == {"0"}
