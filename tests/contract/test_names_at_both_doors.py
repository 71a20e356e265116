"""The same name, the same verdict: over SFTP and WebDAV, for people and for scanners.

Where two doors read a name differently, one of them lets through what the other
refuses (CVE-2026-30914, CVE-2026-48099).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Record, copy_store
from tests.support.ledger import RefusedByServerError
from tests.support.names import names
from tests.support.people import Credentials, Dav, demo, sftp

PASSWORD = "correct horse battery staple"
NAMES = names()


@pytest.fixture(scope="module")
def daemon(
    store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """One daemon with a scanner."""
    daemon = copy_store(store_template, tmp_path_factory.mktemp("names") / "store")
    # The names are what counts here, not the disk.
    config = daemon.folder / "kagikura.toml"
    config.write_text(config.read_text() + '[storage]\nsync = "never"\n')
    daemon.told(
        "login", "add", "scan", "--kind", "intake", "--password-stdin", text=PASSWORD
    )
    daemon.told("device", "add", "scan", "panel", "--issue-certificate", "scan.pem",
                "--issue-ssh-key", "scan.key")  # fmt: skip
    daemon.start()
    yield daemon
    daemon.stop()


def scanner(daemon: Daemon) -> Credentials:
    folder = daemon.folder
    return Credentials("scan", PASSWORD, folder / "scan.key", folder / "scan.pem")


def verdict(record: Record, folder: str) -> tuple[object, ...]:
    """What the trail says of one name, and under which name it is kept."""
    path = str(record.get("path", ""))
    name = path.removeprefix(f"{folder}/") if record["outcome"] == "done" else ""
    return record["outcome"], record.get("rule"), name, "path_raw" in record


def verdicts(daemon: Daemon, who: Credentials, folder: str) -> list[tuple[object, ...]]:
    """Put every name through one door; what became of each, in order."""

    def put_all(put: Callable[[bytes], object]) -> None:
        for name in NAMES:
            with suppress(OSError, RefusedByServerError):
                put(folder.encode() + b"/" + name)

    before = {record["id"] for record in daemon.records()}
    if folder.endswith("sftp"):
        with sftp(daemon, who=who) as client:
            client.mkdir(folder)
            put_all(lambda path: client.open(path, "wb").close())
    else:
        with Dav(daemon, who) as dav:
            dav.ask("MKCOL", folder)
            put_all(lambda path: dav.ask("PUT", path, b""))
    return [
        verdict(record, folder)
        for record in daemon.records(login=who.login)
        if record["id"] not in before
        and record["operation"] in {"write", "deposit"}
        and record.get("outcome")
    ]


@pytest.mark.parametrize("kind", ["people", "scans"])
def test_both_doors_give_the_same_verdict_on_every_name(
    daemon: Daemon, kind: str
) -> None:
    """Outcome, rule and stored name; and no name is answered without a record."""
    who = demo(daemon) if kind == "people" else scanner(daemon)

    by_sftp = verdicts(daemon, who, "/private/sftp")
    by_webdav = verdicts(daemon, who, "/private/webdav")

    assert len(NAMES) > 400
    assert len(by_sftp) == len(by_webdav) == len(NAMES)
    differing = [
        (name, *both)
        for name, *both in zip(NAMES, by_sftp, by_webdav, strict=True)
        if both[0] != both[1]
    ]
    assert differing == []
    rules = {rule for _, rule, _, _ in by_sftp}
    if kind == "people":
        assert rules == {
            None,
            "windows_device",
            "windows_character",
            "windows_ending",
            "utf8",
            "control_character",
            "direction_character",
            "no_character",
            "name_length",
        }
    else:
        assert rules == {None}  # not one scan is lost over its name
