"""The published vectors hold, for our verifier and for one that shares no code."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from server.audit import hashchain, note
from server.audit.note import Note, VerifierKey
from server.audit.statements import Certificate, Checkpoint, Manifest, Retention
from server.audit.verify import Notes, Proof, Walk
from tests.vectors.make import FOLDER, files

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def _notes(name: str) -> list[str]:
    return note.split((FOLDER / name).read_text("utf-8"))


def _root() -> VerifierKey:
    return VerifierKey.parse((FOLDER / "public-key.txt").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(files()))
def test_the_vectors_are_what_this_code_makes(name: str) -> None:
    """A format that changes unseen can be verified by nobody else."""
    assert (FOLDER / name).read_bytes() == files()[name]


def test_each_record_has_its_published_text_and_hash() -> None:
    """Canonical JSON, the domain byte, the hash of the record before."""
    for told in json.loads((FOLDER / "records.json").read_bytes()):
        fields = dict(told["fields"])
        digest = fields.pop("hash")

        line, made = hashchain.seal(fields)  # type: ignore[arg-type]  # as published

        assert hashchain.body_of(line).decode() == told["hashed"]
        assert made == told["hash"] == digest


def test_each_statement_reads_and_writes_the_same() -> None:
    """Four kinds of text that notes sign."""
    for name, kind in (
        ("keys.notes", Certificate),
        ("checkpoints.notes", Checkpoint),
        ("retention.notes", Retention),
    ):
        for written in _notes(name):
            text = Note.parse(written).text
            assert kind.parse(text).text() == text
    manifest = Note.parse((FOLDER / "manifest.note").read_text("utf-8"))
    assert Manifest.parse(manifest.text).text() == manifest.text


def test_the_vectors_verify() -> None:
    """Keys from the root, checkpoints, streams, and the stub of a retention."""
    notes = Notes(_notes("keys.notes"), _notes("checkpoints.notes"), whole=True)
    proof = Proof(notes, _root())
    assert proof.findings == []
    for slot in ("cli", "worker-1"):
        walk = Walk(f"node-1/{slot}", proof)
        lines = (FOLDER / f"{slot}.jsonl").read_bytes().splitlines(keepends=True)
        assert (walk.feed(lines), walk.end()) == (None, None)

    notes.retentions = _notes("retention.notes")
    walk = Walk("node-1/worker-1", Proof(notes, _root()))
    assert (walk.feed(lines[2:]), walk.end()) == (None, None)


def _second(folder: Path) -> tuple[int, str]:
    """What the verifier in JavaScript says of a folder of vectors."""
    names = ("public-key.txt", "keys.notes", "checkpoints.notes")
    done = subprocess.run(
        [
            str(NODE),
            str(FOLDER / "verify.mjs"),
            *(str(folder / name) for name in names),
            *(str(path) for path in sorted(folder.glob("*.jsonl"))),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.strip() or done.stderr


@needs_node
def test_a_second_verifier_finds_the_vectors_good() -> None:
    """It was written from the document alone."""
    assert _second(FOLDER) == (0, "good")


@needs_node
@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("worker-1.jsonl", b"a.txt", b"b.txt", "node-1/worker-1:2 was changed"),
        ("cli.jsonl", b"node-1/cli:4", b"node-1/cli:5", "node-1/cli:5 stands where"),
        ("keys.notes", b"number 2", b"number 3", "key 2 is missing"),
        ("checkpoints.notes", b"cli 3", b"cli 4", "checkpoint 1 is not signed"),
    ],
)
def test_a_second_verifier_finds_what_was_changed(
    tmp_path: Path, name: str, old: bytes, new: bytes, found: str
) -> None:
    """Two that agree on the good and on the bad."""
    for path in FOLDER.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    content = (tmp_path / name).read_bytes()
    assert old in content
    (tmp_path / name).write_bytes(content.replace(old, new, 1))

    code, text = _second(tmp_path)

    assert code == 1
    assert found in text
