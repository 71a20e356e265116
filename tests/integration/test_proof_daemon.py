"""The proof beside a running daemon: checkpoints, verify, a tail cut, retention."""

import json
import os
from pathlib import Path

from server.audit import segment
from server.audit.checkpoint import KEYS, CheckpointFolder
from tests.support.daemon import Daemon
from tests.support.waiting import until

NODE = "node-1"


def _configure(store: Daemon, text: str) -> None:
    config = store.folder / "kagikura.toml"
    config.write_text(f"{config.read_text()}{text}\n")  # [audit] is its last section


def _last_segment(store: Daemon, slot: str) -> Path:
    return segment.segments(store.state / "journal" / slot)[-1].path


def test_a_daemon_signs_what_it_records_and_verify_says_so(store: Daemon) -> None:
    """From the first start to the last record of the stop."""
    (store.folder / "copy").mkdir()
    _configure(store, 'checkpoint_s = 1\ncheckpoint_copy_dir = "copy"')
    key = store.told("audit", "key")["audit_key"]
    store.start()
    store.told("folder", "add", "main", "signed")
    until(lambda: store.records(operation="checkpoint"), what="a checkpoint")
    assert store.stop() == 0

    held = len(store.records())

    told = store.told("audit", "verify", "--public-key", key)

    assert told["good"]
    journal, database = told["sources"]
    assert journal["records"] == database["records"] == held
    (verified,) = store.records(operation="audit_verify")
    assert verified["detail"]["good"]
    assert [one["records"] for one in verified["detail"]["sources"]] == [held, held]
    assert journal["findings"] == journal["remarks"] == []
    own = list((store.state / "checkpoints" / NODE).iterdir())
    copy = {
        path.name: path.read_bytes()
        for path in (store.folder / "copy" / NODE).iterdir()
    }
    assert {path.name: path.read_bytes() for path in own} == copy
    rotations = store.records(operation="system.key_rotation")
    certificates = list(CheckpointFolder(store.state / "checkpoints" / NODE).kept(KEYS))
    assert [record["detail"]["note"] for record in rotations] == certificates
    assert len(certificates) >= 2  # the first key's and the day's; midnight adds one


def test_verify_tells_tampered_from_unreadable(store: Daemon) -> None:
    """Exit codes 0, 1 and 3 are for scripts."""
    store.start()
    assert store.stop() == 0
    assert store.cli("audit", "verify").returncode == 0

    path = _last_segment(store, "worker-1")
    path.write_bytes(path.read_bytes().replace(b"system.start", b"system.stare", 1))
    changed = store.cli("audit", "verify", "--journal", "--json")

    assert changed.returncode == 1
    assert store.records(operation="audit_verify")[-1]["detail"]["good"] is False
    (found,) = json.loads(changed.stdout)["sources"][0]["findings"]
    assert (found["fault"], found["where"]) == ("changed", f"{NODE}/worker-1:2")
    assert store.cli("audit", "verify", "--database").returncode == 0
    for bad in (["--public-key", "nonsense+x"], ["--file", "nowhere.jsonl"]):
        assert store.cli("audit", "verify", *bad).returncode == 3


def test_an_export_with_its_manifest_needs_only_the_public_key(store: Daemon) -> None:
    """An auditor verifies at home what was handed over."""
    store.start()
    key = store.told("audit", "key")["audit_key"]
    store.wait_indexed()
    store.told("audit", "export", "--jsonl", "-o", "all.jsonl")
    assert store.stop() == 0
    (manifest,) = store.folder.glob("all.jsonl*manifest*")
    verify = ["audit", "verify", "--file", "all.jsonl", "--manifest", manifest.name]

    good = store.cli(*verify, "--public-key", key)
    file = store.folder / "all.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    short = store.cli(*verify, "--public-key", key)

    assert (good.returncode, short.returncode) == (0, 1), good.stderr
    assert "MANIFEST" in short.stderr


def test_a_journal_behind_its_checkpoint_is_not_served(store: Daemon) -> None:
    """A restored backup or a cut tail: nothing is served, and the words say why."""
    store.start()
    assert store.stop() == 0
    path = _last_segment(store, "worker-1")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    for told in (segment.SYNCED, segment.RECORDED):
        os.unlink(path.parent / told)  # noqa: PTH108 - as whoever restores would

    refused = store.cli("serve")

    assert refused.returncode == 3
    assert "old copy of the state folder" in (refused.stderr + store_log(store))
    assert '"ready"' not in refused.stdout


def store_log(store: Daemon) -> str:
    """What the daemon said before, if it ran."""
    log = store.folder / "log"
    return log.read_text() if log.exists() else ""


def test_retention_is_asked_for_and_planned_by_command(store: Daemon) -> None:
    """Nothing is due in a young store, with and without a daemon."""
    store.start()
    until(lambda: store.records(operation="checkpoint"), what="a checkpoint")
    assert store.told("audit", "retention", "--plan") == []
    assert store.told("audit", "retention", "--run") == {"asked": True}
    longer = store.told("contract", "change", "main", "--retention-days", "2560")
    held = store.told("contract", "hold", "main", "--reason", "case 12/2026")
    assert (longer["retention_days"], held["hold"]) == (2560, "case 12/2026")
    assert store.cli("contract", "hold", "main").returncode == 2
    assert store.told("contract", "hold", "main", "--release")["hold"] == ""
    assert store.cli("contract", "hold", "main", "--release").returncode == 1
    assert store.stop() == 0
    assert store.told("audit", "retention", "--run") == []
    assert store.cli("audit", "verify").returncode == 0
