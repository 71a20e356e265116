"""Whatever a crash leaves at a journal's end, the next process goes on from there."""

import os
import shutil
from pathlib import Path

import pytest

from server.audit import segment
from tests.support.trail import acts, event, open_journal, read_stream

BEFORE = 3


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A journal whose last two records were never synced, and where they begin."""
    folder = tmp_path_factory.mktemp("torn")
    journal = open_journal(folder)
    for number in range(BEFORE):
        journal.append(event(number))
    journal.settle()
    synced = (journal.folder / segment.SYNCED).read_bytes()
    begin = segment.read_synced(journal.folder).offset
    journal.append(event(100))
    journal.append(event(101))
    journal.close()
    (journal.folder / segment.SYNCED).write_bytes(synced)
    return folder, begin


def _copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    (only,) = segment.segments(target / "worker-1")
    return only.path


@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.soak), 7], ids=["each", "every seventh"]
)
def test_a_tail_torn_at_any_byte_is_cut_and_named(
    ended: tuple[Path, int], tmp_path: Path, step: int
) -> None:
    """Power goes when it likes: what was durable stays, the rest is told."""
    folder, begin = ended
    text = (folder / "worker-1" / segment.plain_name(1)).read_bytes()
    size = len(text)
    ends = {at + 1 for at in range(begin, size) if text[at : at + 1] == b"\n"}
    near = {end + by for end in ends for by in (-2, -1, 0, 1)}
    for length in sorted({*range(begin, size, step), *near} & {*range(begin, size)}):
        target = tmp_path / str(length)
        os.truncate(_copy(folder, target), length)

        open_journal(target).close()

        records = read_stream(target)
        kept = [record["path"] for record in acts(records)]
        assert kept[:BEFORE] == [f"/private/{number}" for number in range(BEFORE)]
        repairs = [r for r in records if r["operation"] == "system.tail_repair"]
        whole = (target / "worker-1").joinpath(segment.plain_name(1)).read_bytes()
        assert len(repairs) == (0 if _ended_whole(folder, length) else 1)
        assert whole.endswith(b"\n")
        shutil.rmtree(target)


def _ended_whole(folder: Path, length: int) -> bool:
    text = (folder / "worker-1" / segment.plain_name(1)).read_bytes()
    return text[length - 1 : length] == b"\n"


@pytest.mark.parametrize(
    "junk", [b"\0" * 4096, b"{}\n", b"\xff\n\xff", b'{"id":"x"}\n']
)
def test_junk_behind_the_durable_end_is_cut_and_named(
    ended: tuple[Path, int], tmp_path: Path, junk: bytes
) -> None:
    """A power cut may leave zeros or old blocks where records were to be."""
    folder, begin = ended
    path = _copy(folder, tmp_path / "copy")
    text = path.read_bytes()
    path.write_bytes(text[:begin] + junk)

    open_journal(tmp_path / "copy").close()

    records = read_stream(tmp_path / "copy")
    (repair,) = [r for r in records if r["operation"] == "system.tail_repair"]
    assert isinstance(repair["detail"], dict)
    assert repair["detail"]["bytes"] == len(junk)
    assert repair["detail"]["offset"] == begin


def test_a_crash_while_a_segment_begins_is_repaired(
    ended: tuple[Path, int], tmp_path: Path
) -> None:
    """The new file may be there with nothing, or half a record, in it."""
    folder, _ = ended
    for junk in (b"", b'{"half":'):
        target = tmp_path / f"copy{len(junk)}"
        path = _copy(folder, target)
        following = len(path.read_bytes().splitlines()) + 1
        (path.parent / segment.plain_name(following)).write_bytes(junk)

        open_journal(target).close()

        operations = [record["operation"] for record in read_stream(target)]
        assert "system.tail_repair" in operations
