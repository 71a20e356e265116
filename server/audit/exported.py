"""Verifying a file of records away from the store: an export, an archive.

With its manifest the file as a whole is proved. Without one each record is proved by
itself, its link where the record before is there too, and its place where a checkpoint
names it; what a filter left out and what somebody took out look the same then.
"""

import gzip
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, cast

from server.audit import hashchain, manifest
from server.audit.checkpoint import CheckpointFolder
from server.audit.evidence import Report, gather, notes_of
from server.audit.export import Form
from server.audit.hashchain import ChainError, Link
from server.audit.manifest import ManifestError
from server.audit.note import VerifierKey
from server.audit.statements import Head, Manifest
from server.audit.verify import Fault, Finding, Notes, Proof

_GZIP: Final = b"\x1f\x8b"


def verify_export(
    path: Path,
    manifest_path: Path | None,
    folders: Sequence[CheckpointFolder],
    *,
    root: VerifierKey | None,
) -> Report:
    """Verify an export, or an archive of retention (JSON Lines, .gz).

    A CSV is proved by its manifest, as a whole.

    Raises:
        OSError: It cannot be read.
        UnavailableError: The manifest, or a file of notes, cannot be read.
    """
    report = Report("file")
    notes = notes_of(folders)
    if manifest_path is None:
        report.remarks.append("without a manifest nobody can tell what was left out")
    else:
        signed = _check_manifest(path, manifest_path, notes, root, report)
        if signed is not None and signed.form == Form.CSV:
            report.records = 0 if report.findings else signed.records
            return report
    with _opened(path) as file:
        gather(file, notes)
    proof = Proof(notes, root) if notes.certificates or root else None
    if proof is not None:
        report.take(proof)
    with _opened(path) as file:
        _check_lines(file, proof, report)
    return report


def _check_manifest(
    path: Path,
    manifest_path: Path,
    notes: Notes,
    root: VerifierKey | None,
    report: Report,
) -> Manifest | None:
    try:
        signed = manifest.read(manifest_path.read_bytes())
    except ManifestError as error:
        text = f"The manifest cannot be read: {error}."
        report.findings.append(Finding(Fault.MANIFEST, "manifest", text))
        return None
    notes.certificates.extend(signed.certificates)
    proof = Proof(Notes(certificates=list(signed.certificates)), root)
    key = proof.chain.numbered(signed.manifest.key) if proof.chain else None
    if key is None or not signed.note.is_signed_by(key.verifier):
        text = f"The manifest is not signed by key {signed.manifest.key}."
        report.findings.append(Finding(Fault.MANIFEST, "manifest", text))
    digest, count = sha256(), 0
    with path.open("rb") as file:
        for line in file:
            digest.update(line)
            count += 1
    if signed.manifest.form == "jsonl" and count != signed.manifest.records:
        text = f"The file has {count} records, the manifest {signed.manifest.records}."
        report.findings.append(Finding(Fault.MANIFEST, "file", text))
    if digest.hexdigest() != signed.manifest.sha256:
        text = "The file's SHA-256 is not that of the manifest."
        report.findings.append(Finding(Fault.MANIFEST, "file", text))
    return signed.manifest


def _check_lines(file: BinaryIO, proof: Proof | None, report: Report) -> None:
    """Each record by its own hash, by its link where the one before is there too."""
    last: dict[str, Head] = {}
    time = ""
    for number, line in enumerate(file, start=1):
        try:
            link = hashchain.parse(line)
        except ChainError as error:
            where = f"line {number}"
            text = f"{where.capitalize()} was changed: {error}."
            report.findings.append(Finding(Fault.CHANGED, where, text))
            return
        report.records += 1
        stream = link.fields["id"].rpartition(":")[0]
        before = last.get(stream, Head(0, hashchain.GENESIS))
        wrong = _wrong_link(link, stream, before, time) or _wrong_place(
            link, stream, proof
        )
        if wrong is not None:
            report.findings.append(wrong)
            return
        last[stream], time = Head(link.seq, link.hash), link.fields["time"]


def _wrong_link(link: Link, stream: str, before: Head, time: str) -> Finding | None:
    where = link.fields["id"]
    if link.seq == before.seq + 1 and link.fields["prev"] != before.hash:
        text = f"{where} does not follow {stream}:{before.seq}: one was changed."
        return Finding(Fault.CHANGED, where, text)
    if link.seq == before.seq:
        return Finding(Fault.INSERTED, where, f"{where} stands there twice.")
    if link.fields["time"] < time and link.seq != before.seq + 1:
        text = f"{where} stands behind a later record: the order was changed."
        return Finding(Fault.REORDERED, where, text)
    return None


def _wrong_place(link: Link, stream: str, proof: Proof | None) -> Finding | None:
    anchor = proof.anchors.get(stream, {}).get(link.seq) if proof else None
    if anchor is None or anchor.hash == link.hash:
        return None
    where = link.fields["id"]
    text = f"{where} is not the record that {anchor.source} names."
    return Finding(Fault.REWRITTEN, where, text)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")
