"""Real clients against the real listeners."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.storage import marks
from tests.support.webdav import WebdavStore, curl, require_program, served

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavStore]:
    """One store for all clients of this page; each works in a folder of its own."""
    require_program("curl")
    with served(tmp_path_factory.mktemp("webdav")) as store:
        yield store


def _etag(text: str) -> str:
    found = re.search(r'ETag: ("[^"]+")', text, re.IGNORECASE)
    assert found is not None
    return found[1]


def test_curl_stores_reads_moves_copies_and_deletes(
    store: WebdavStore, tmp_path: Path
) -> None:
    """The whole life of a file, with certificate and password, under its own name."""
    content = os.urandom(3_000_000)
    source = tmp_path / "source"
    source.write_bytes(content)
    folder = "/private/%E8%A6%8B%E7%A9%8D"
    name = f"{folder}/%E8%AB%8B%E6%B1%82%3B%23.pdf"

    assert store.curl("MKCOL", folder + "/")[0] == 201
    assert store.curl("MKCOL", folder + "/")[0] == 405
    assert store.curl("PUT", name, "-T", str(source))[0] == 201
    assert store.curl("PUT", name, "-T", str(source))[0] == 204
    fetched = tmp_path / "fetched"
    assert store.curl("GET", name, "-o", str(fetched))[0] == 200
    assert fetched.read_bytes() == content
    assert store.curl("GET", name, "-r", "1000000-1999999", "-o", str(fetched))[0] == (
        206
    )
    assert fetched.read_bytes() == content[1_000_000:2_000_000]
    moved = f"Destination: {store.url}{folder}/b%3Bc.pdf"
    assert store.curl("MOVE", name, "-H", moved)[0] == 201
    assert store.curl("GET", name)[0] == 404
    copied = f"Destination: {folder}/d.pdf"
    assert store.curl("COPY", f"{folder}/b%3Bc.pdf", "-H", copied)[0] == 201
    no = ("-H", "Overwrite: F")
    assert store.curl("COPY", f"{folder}/b%3Bc.pdf", "-H", copied, *no)[0] == 412
    assert store.curl("COPY", f"{folder}/b%3Bc.pdf", "-H", copied)[0] == 204
    assert store.curl("PUT", "/private/none/x", "-T", str(source))[0] == 409
    status, listing = store.curl("PROPFIND", folder + "/", "-H", "Depth: 1")
    assert status == 207
    assert f"{folder}/b%3Bc.pdf</D:href>" in listing
    assert "<D:getcontentlength>3000000</D:getcontentlength>" in listing
    assert store.curl("DELETE", folder + "/")[0] == 204
    assert store.curl("PROPFIND", folder + "/", "-H", "Depth: 0")[0] == 404


def test_the_etag_is_the_same_everywhere_and_guards_a_save(
    store: WebdavStore, tmp_path: Path
) -> None:
    """Word opens read-only when PROPFIND, GET and PUT disagree."""
    file = tmp_path / "x"
    file.write_text("one")
    path = "/private/etag.txt"

    stored = _etag(store.curl("PUT", path, "-i", "-T", str(file))[1])
    seen = _etag(store.curl("HEAD", path)[1])
    listed = store.curl("PROPFIND", path, "-H", "Depth: 0")[1]

    assert stored == seen
    assert f"<D:getetag>{stored}</D:getetag>" in listed
    assert store.curl("GET", path, "-H", f"If-None-Match: {stored}")[0] == 304
    right, wrong = f"If-Match: {stored}", 'If-Match: "other"'
    assert store.curl("PUT", path, "-T", str(file), "-H", wrong)[0] == 412
    assert store.curl("PUT", path, "-T", str(file), "-H", "If-None-Match: *")[0] == 412
    assert store.curl("PUT", path, "-T", str(file), "-H", right)[0] == 204


def test_a_pipe_without_length_is_stored_whole(
    store: WebdavStore, tmp_path: Path
) -> None:
    """Finder and many scripts send chunks."""
    file = tmp_path / "x"
    file.write_bytes(os.urandom(2_500_000))
    chunks = ("-H", "Transfer-Encoding: chunked", "-H", "Expect:")

    assert store.curl("PUT", "/private/chunked", "-T", str(file), *chunks)[0] == 201
    fetched = tmp_path / "y"
    assert store.curl("GET", "/private/chunked", "-o", str(fetched))[0] == 200
    assert fetched.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("suite", ["basic", "copymove", "props", "locks", "http"])
def test_litmus_finds_nothing(store: WebdavStore, suite: str, tmp_path: Path) -> None:
    """The protocol's own test suite; it speaks no TLS with client certificates."""
    litmus = require_program("litmus")
    alice = store.alice
    base = f"/private/litmus-{suite}"
    login = f"{alice.secret_user}:{alice.secret}"
    assert curl("MKCOL", store.secret_url + base, "-u", login)[0] == 201

    done = subprocess.run(
        [litmus, f"{store.secret_url}{base}/", alice.secret_user, alice.secret],
        env={**os.environ, "TESTS": suite},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "0 failed" in done.stdout, done.stdout
    assert "WARNING" not in done.stdout, done.stdout
    assert done.returncode == 0


def test_rclone_copies_a_tree_there_and_back(
    store: WebdavStore, tmp_path: Path
) -> None:
    """Sizes around the block size, a name that URLs must escape, then a purge."""
    rclone = require_program("rclone")
    source = tmp_path / "source" / "見積 2026"
    source.mkdir(parents=True)
    for size in (0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1):
        (source / f"ファイル{size};#&.pdf").write_bytes(os.urandom(size))
    hidden = subprocess.run(
        [rclone, "obscure", store.alice.password],
        capture_output=True,
        text=True,
        check=True,
    )
    environ = {
        **os.environ,
        "RCLONE_CONFIG": str(tmp_path / "none.conf"),
        "RCLONE_WEBDAV_URL": f"{store.url}/private",
        "RCLONE_WEBDAV_USER": store.alice.name,
        "RCLONE_WEBDAV_PASS": hidden.stdout.strip(),
        "RCLONE_WEBDAV_VENDOR": "other",
        "RCLONE_CA_CERT": str(store.server_ca),
        "RCLONE_CLIENT_CERT": str(store.alice.certificate),
        "RCLONE_CLIENT_KEY": str(store.alice.certificate),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [rclone, *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("copy", str(source.parent), ":webdav:tree")
    run("check", "--download", str(source.parent), ":webdav:tree")
    run("copy", ":webdav:tree", str(tmp_path / "back"))
    for file in source.iterdir():
        back = tmp_path / "back" / source.name / file.name
        assert back.read_bytes() == file.read_bytes()
    run("purge", ":webdav:tree")
    assert "tree" not in run("lsf", ":webdav:")


LOCK = (
    '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
    "</D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner><D:href>alice</D:href></D:owner></D:lockinfo>"
)
TIMES = (
    '<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" '
    'xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
    "<Z:Win32CreationTime>Sat, 03 Jan 2026 01:02:03 GMT</Z:Win32CreationTime>"
    "<Z:Win32LastModifiedTime>Sat, 03 Jan 2026 01:02:03 GMT"
    "</Z:Win32LastModifiedTime><Z:Win32FileAttributes>00000020"
    "</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)


def _locked(store: WebdavStore, path: str) -> str:
    """Take a lock and return its token in angle brackets."""
    status, answer = store.curl("LOCK", path, "-i", "-d", LOCK, "-H", "Timeout: x")
    assert status in {200, 201}
    assert "<D:timeout>Second-3600</D:timeout>" in answer
    assert f"<D:lockroot><D:href>{path}</D:href></D:lockroot>" in answer
    found = re.search(r"Lock-Token: (<[^>]+>)", answer)
    assert found is not None
    return found[1]


def test_what_explorer_does_to_upload_works(store: WebdavStore) -> None:
    """OPTIONS, an empty PUT, LOCK, the times, the content under the lock, UNLOCK."""
    path = "/shared/team/book.xlsx"
    status, options = store.curl("OPTIONS", "/", "-i")
    assert status == 200
    assert "DAV: 1, 2" in options
    assert "MS-Author-Via: DAV" in options
    assert store.curl("PUT", path, "-d", "")[0] == 201
    token = _locked(store, path)
    mine = ("-H", f"If: <{store.url}{path}> ({token})")
    assert store.curl("PUT", path, "-d", "content", *mine)[0] == 204
    status, answer = store.curl("PROPPATCH", path, "-d", TIMES, *mine)
    assert status == 207
    assert "403" not in answer
    assert "Sat, 03 Jan 2026 01:02:03 GMT" in store.curl("HEAD", path)[1]
    assert store.curl("UNLOCK", path, "-H", f"Lock-Token: {token}")[0] == 204


def test_a_lock_is_its_owners(store: WebdavStore) -> None:
    """Nobody else writes, refreshes or unlocks, with the token or without."""
    path = "/shared/team/locked.docx"
    bob = store.bob
    assert store.curl("PUT", path, "-d", "one")[0] == 201
    token = _locked(store, path)
    mine = ("-H", f"If: ({token})")

    assert store.curl("PUT", path, "-d", "two")[0] == 423
    assert store.curl("PUT", path, "-d", "two", person=bob)[0] == 423
    assert store.curl("PUT", path, "-d", "two", *mine, person=bob)[0] in {412, 423}
    refresh = (*mine, "-H", "Timeout: Second-100")
    assert store.curl("LOCK", path, *refresh, person=bob)[0] in {403, 412}
    assert "Second-100" in store.curl("LOCK", path, *refresh)[1]
    unlock = ("-H", f"Lock-Token: {token}")
    assert store.curl("UNLOCK", path, *unlock, person=bob)[0] == 403
    assert store.curl("UNLOCK", path, *unlock)[0] == 204
    assert store.curl("PUT", path, "-d", "two", person=bob)[0] == 204


def test_a_lock_of_nothing_makes_an_empty_file(store: WebdavStore) -> None:
    """RFC 4918, section 7.3; the name is taken before the content comes."""
    path = "/shared/team/new.docx"
    token = _locked(store, path)

    assert store.curl("HEAD", path)[0] == 200
    assert store.curl("PUT", path, "-d", "x", person=store.bob)[0] == 423
    assert store.curl("PUT", path, "-d", "x", "-H", f"If: ({token})")[0] == 204


def test_a_file_that_somebody_writes_answers_423_in_words(store: WebdavStore) -> None:
    """The mark is that of an SFTP handle of another login, whichever worker has it."""
    path = "/shared/team/written.txt"
    assert store.curl("PUT", path, "-d", "one")[0] == 201
    (kept,) = (store.folder / "data").glob("*/shared/*/written.txt")

    with kept.open("r+b") as handle:
        marks.mark(handle.fileno(), "somebody")
        moved = ("-H", f"Destination: {store.url}/shared/team/moved.txt")
        for method, options in (
            ("PUT", ("-d", "two")),
            ("DELETE", ()),
            ("MOVE", moved),
            ("LOCK", ("-d", LOCK)),
        ):
            status, words = store.curl(method, path, *options)
            assert (method, status) == (method, 423)
            assert "open for writing" in words

    assert store.curl("DELETE", path)[0] == 204
