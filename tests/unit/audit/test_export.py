"""Exports: what stands in them, that no cell calculates, that they can be proved."""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.audit import hashchain, manifest
from server.audit.export import COLUMNS, Exported, Form, cell
from server.audit.headings import JAPANESE, Language
from server.audit.index import Index, oldest_first
from server.audit.keychain import KeyChain
from server.audit.manifest import ManifestError
from server.audit.query import Query
from server.audit.search import Row
from server.db.engine import Role, open_engine, writing
from server.model.errors import UnavailableError
from server.model.event import Fields
from tests.support.library import Library
from tests.support.trail import event

RECORDS: list[Fields] = [
    event(0, path="/shared/tax", operation="list"),
    event(1, path="/shared/tax/2025.pdf", login="bob"),
    event(2, path="/private/=1+2.csv", login="bob"),
    event(3, path='/private/a\r\nb,"c".pdf'),
    event(4, path="/private/申告/第1表.pdf", contract="other"),
]


@pytest.fixture
def library(tmp_path: Path, database_url: str) -> Iterator[Library]:
    """On SQLite and on PostgreSQL."""
    opened = Library(tmp_path, database_url)
    opened.write(RECORDS)
    opened.record()
    yield opened
    opened.close()


def _export(
    library: Library, query: Query, form: Form = Form.CSV, **how: Language
) -> tuple[Exported, bytes, bytes]:
    file = io.BytesIO()
    exported, signed = library.reader.export(file, query, form, **how)
    return exported, file.getvalue(), signed


def _table(content: bytes) -> list[dict[str, str]]:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return list(csv.DictReader(text))


def _own(library: Library) -> list[Row]:
    library.record()
    return library.reader.search(Query(operation="audit_export"))


def test_the_csv_is_what_spreadsheets_read(library: Library) -> None:
    """UTF-8 with BOM, RFC 4180 line ends, every record and field in it."""
    exported, content, _ = _export(library, Query(protocol="sftp"))

    rows = _table(content)
    assert content.startswith(b"\xef\xbb\xbf")
    assert tuple(rows[0]) == COLUMNS
    assert [row["act"] for row in rows] == [f"act-{n}" for n in range(5)]
    assert rows[3]["path"] == '/private/a\r\nb,"c".pdf'
    assert rows[4]["path"] == "/private/申告/第1表.pdf"
    assert exported.count == 5
    assert (exported.first, exported.last) == (rows[0]["id"], rows[-1]["id"])


def test_the_csv_tells_the_time_here_and_in_utc(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People compare with their own clock, auditors with everybody's."""
    monkeypatch.setitem(os.environ, "TZ", "Asia/Tokyo")
    time.tzset()
    try:
        _, content, _ = _export(library, Query(protocol="sftp"))
    finally:
        monkeypatch.undo()
        time.tzset()

    for row in _table(content):
        utc = time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")
        local = time.strptime(row["time_local"][:19], "%Y-%m-%d %H:%M:%S")
        assert time.mktime(local) - time.mktime(utc) == 9 * 3600
        assert row["time"][19:23] == row["time_local"][19:]


def test_the_headings_can_be_japanese(library: Library) -> None:
    """The office that reads it does; every column has one of its own."""
    _, content, _ = _export(library, Query(login="bob"), language=Language.JA)

    header = content.decode("utf-8-sig").splitlines()[0].split(",")
    assert header == [JAPANESE[name] for name in COLUMNS]
    assert len(set(header)) == len(header)


def test_json_lines_hold_the_lines_as_chained(library: Library) -> None:
    """Each line's hash can be computed again from the file alone."""
    exported, content, _ = _export(library, Query(login="bob"), Form.JSONL)

    links = [hashchain.parse(line) for line in io.BytesIO(content)]
    assert [link.fields["act"] for link in links] == ["act-1", "act-2"]
    assert exported.count == 2


@pytest.mark.parametrize("form", list(Form))
def test_an_export_is_on_record_with_its_hash(library: Library, form: Form) -> None:
    """A file that turns up elsewhere can be matched with who took it."""
    exported, content, _ = _export(library, Query(login="bob"), form)

    outcome, intent = _own(library)

    assert exported.sha256 == hashlib.sha256(content).hexdigest()
    assert outcome["sha256"] == exported.sha256
    assert isinstance(outcome["detail"], dict)
    assert outcome["detail"]["count"] == 2
    assert outcome["detail"]["query"] == {"login": "bob"}
    assert intent["phase"] == "intent"


@pytest.mark.parametrize("form", list(Form))
def test_many_pages_are_exported_once_each(library: Library, form: Form) -> None:
    """The seams between pages lose and repeat nothing, at equal times too."""
    library.write([event(number, login="carol") for number in range(1000, 6000)])
    library.record()
    shares: list[float] = []
    file = io.BytesIO()

    library.reader.export(file, Query(login="carol"), form, moved=shares.append)

    lines = file.getvalue().splitlines()
    acts = [line.partition(b"act-")[2][:4] for line in lines]
    assert acts[-5000:] == [b"%d" % n for n in range(1000, 6000)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_filter_is_asked_once_and_not_for_each_page(library: Library) -> None:
    """A folder of ten million records, sorted again for each page, never ends."""
    library.write([event(number) for number in range(1000, 2000)])
    library.record()
    told: list[str] = []

    def hear(*given: object) -> None:
        told.append(str(given[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        exported, content, _ = _export(library, Query(under="/private"), Form.JSONL)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)

    assert exported.count == len(content.splitlines()) == 1000 + 3
    assert len([statement for statement in told if "paths" in statement]) == 1


def test_an_index_made_anew_meanwhile_ends_an_export(tmp_path: Path) -> None:
    """Row numbers may mean other records then."""
    library = Library(tmp_path, f"sqlite:///{tmp_path / 'audit.db'}")
    library.write([event(number) for number in range(500)])
    library.record()
    with closing(Index(library.url)) as index:
        lines = oldest_first(index, Query(login="alice").conditions())
        next(lines)
        library.lose_db()
        library.record()

        with pytest.raises(UnavailableError, match="made anew"):
            list(lines)
    library.close()


def test_another_record_in_a_place_is_not_taken_for_the_one_asked_for(
    library: Library,
) -> None:
    """A server's database shows no new file when it was made anew."""
    library.write([event(number) for number in range(1000, 1500)])
    library.record()
    writer = open_engine(library.url, Role.AUDIT_WRITER)
    with closing(Index(library.url)) as index:
        lines = oldest_first(index, Query(login="alice").conditions())
        next(lines)
        with writing(writer) as connection:
            connection.execute(sa.text("UPDATE records SET time_us = time_us + 1"))

        with pytest.raises(UnavailableError, match="made anew"):
            list(lines)
    writer.dispose()


def test_an_export_of_nothing_is_whole_too(library: Library) -> None:
    """That nothing was found is an answer too, and can be proved."""
    exported, content, signed = _export(library, Query(login="nobody"), Form.JSONL)

    assert content == b""
    assert (exported.count, exported.first, exported.last) == (0, "", "")
    assert manifest.read(signed).manifest.records == 0


def test_a_manifest_is_signed_by_a_key_that_the_root_vouches_for(
    library: Library,
) -> None:
    """File, manifest and public key are all that a check needs."""
    exported, _, signed = _export(library, Query(login="bob", contains="申告"))

    read = manifest.read(signed)

    chain = KeyChain.of(read.certificates, library.keys.root)
    key = chain.numbered(read.manifest.key)
    assert key is not None
    assert read.note.is_signed_by(key.verifier)
    assert read.manifest.sha256 == exported.sha256
    assert json.loads(read.manifest.query) == {"login": "bob", "contains": "申告"}


@pytest.mark.parametrize("member", ["records", "sha256", "filter", "first", "kind"])
def test_a_manifest_says_nothing_that_is_not_signed(
    library: Library, member: str
) -> None:
    """Who reads the members and not the note must not be misled."""
    _, _, signed = _export(library, Query())
    whole = json.loads(signed)
    whole[member] = "other"

    with pytest.raises(ManifestError):
        manifest.read(json.dumps(whole).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"note": 1}', b"\xff", b"0"])
def test_what_is_no_manifest_is_told(content: bytes) -> None:
    """Whatever file is given by mistake."""
    with pytest.raises(ManifestError):
        manifest.read(content)


@pytest.mark.parametrize("first", list("=+-@\t\r\n\0＝＋－＠"))  # noqa: RUF001 - the full-width forms are meant
def test_no_cell_is_a_formula(first: str) -> None:
    """A file's name must not run code in the auditor's spreadsheet."""
    assert cell(f"{first}cmd|' /C calc'!A0").startswith("'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (True, "true"),
        ("a,b", "a,b"),
        ([[0, 5]], "[[0,5]]"),
        ({"b": "ü", "a": 1}, '{"a":1,"b":"ü"}'),
    ],
)
def test_a_cell_is_plain_text(value: object, text: str) -> None:
    """Structured fields stay readable and can be parsed again."""
    assert cell(value) == text  # type: ignore[arg-type]  # the table's values are JSON
