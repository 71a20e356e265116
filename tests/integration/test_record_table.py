"""What is on record when (audit.md's table), by the real daemon and real clients."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.support.daemon import Daemon, Record, copy_store
from tests.support.ledger import RefusedByServerError
from tests.support.people import Dav, sftp
from tests.support.waiting import until

CONTENT = b"0123456789abcdef" * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def served(
    store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """One daemon for all tests here; downloads are hashed too."""
    folder = tmp_path_factory.mktemp("table") / "store"
    environ = {"KAGIKURA_AUDIT__CONTENT_HASH": "all"}
    daemon = copy_store(store_template, folder, environ)
    daemon.start()
    yield daemon
    daemon.stop()


def _acts(daemon: Daemon, **wanted: str) -> list[list[Record]]:
    """Records that have these fields, act by act, in their order."""
    acts: dict[str, list[Record]] = {}
    for record in daemon.records(**wanted):
        acts.setdefault(record["act"], []).append(record)
    return list(acts.values())


def _phases(act: list[Record]) -> list[str]:
    return [record["phase"] for record in act]


def test_a_login_is_one_record_and_so_is_its_end(served: Daemon) -> None:
    """Who, from where, by which device, with which algorithms."""
    with sftp(served) as client:
        client.stat("/private")
    session = served.records(operation="login", protocol="sftp")[-1]["session"]
    until(lambda: served.records(operation="logout", session=session))

    (login,) = served.records(operation="login", session=session)
    (logout,) = served.records(operation="logout", session=session)

    assert (login["phase"], login["outcome"]) == ("event", "done")
    for name in ("contract", "login", "device", "device_key", "line", "source_ip"):
        assert login[name], name
    assert login["algorithms"]
    assert logout["outcome"] == "done"


def test_a_refused_login_names_stage_and_rule_and_no_password(served: Daemon) -> None:
    """The trail says why; the client is told nothing, and no secret is kept."""
    transport = paramiko.Transport(("127.0.0.1", served.sftp_port))
    try:
        transport.start_client(timeout=20)
        key = paramiko.PKey.from_path(served.demo / "demo_key")
        transport.auth_publickey("demo", key)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_password("demo", "a-wrong-password")
    finally:
        transport.close()
    until(lambda: served.records(operation="login", outcome="refused"))

    refused = served.records(operation="login", outcome="refused")[-1]

    assert (refused["stage"], refused["phase"]) == ("password", "event")
    assert refused["rule"]
    assert "a-wrong-password" not in str(served.records())


@pytest.mark.parametrize("door", ["sftp", "webdav"])
def test_content_that_goes_by_whole_has_its_hash(served: Daemon, door: str) -> None:
    """Uploads by default, downloads where it is asked for; the intent comes first."""
    path = f"/private/hash-{door}"
    if door == "sftp":
        with sftp(served) as client:
            with client.open(path, "wb") as file:
                file.write(CONTENT)
            with client.open(path, "rb") as file:
                assert file.read() == CONTENT
    else:
        with Dav(served) as dav:
            dav.ask("PUT", path, CONTENT)
            assert dav.ask("GET", path) == CONTENT
    until(lambda: served.records(operation="read", path=path, phase="outcome"))

    for operation in ("write", "read"):
        (act,) = _acts(served, operation=operation, path=path)
        intent, *_, outcome = act
        assert (intent["phase"], outcome["phase"]) == ("intent", "outcome")
        assert outcome["outcome"] == "done"
        assert outcome["sha256"] == DIGEST
        assert outcome["bytes"] == outcome["size"] == len(CONTENT)
        assert outcome["ranges"] == [[0, len(CONTENT)]]


def test_a_long_transfer_tells_how_far_it_is(served: Daemon) -> None:
    """After a crash that is the bound of what had left; every 64 MiB at least."""
    size = 70 * 1024 * 1024
    with Dav(served) as dav:
        dav.ask("PUT", "/private/long", bytes(size))
        assert len(dav.ask("GET", "/private/long")) == size
    until(
        lambda: served.records(path="/private/long", operation="read", outcome="done")
    )

    for operation in ("write", "read"):
        (act,) = _acts(served, path="/private/long", operation=operation)
        told = [record["bytes"] for record in act if record["phase"] == "progress"]
        assert told
        assert told == sorted(told)
        assert 64 * 1024 * 1024 <= told[-1] <= size


def test_listings_are_told_once_and_counted(served: Daemon) -> None:
    """A client that browses does not flood the trail; the sum is whole."""
    with sftp(served) as client:
        client.mkdir("/private/look")
        for _ in range(6):
            client.listdir("/private/look")
    until(
        lambda: (
            sum(
                record.get("detail", {}).get("count", 1)
                for record in served.records(operation="list", path="/private/look")
            )
            == 6
        ),
        what="all six are told",
        deadline_s=20,
    )

    first, *counted = served.records(operation="list", path="/private/look")

    assert "count" not in first.get("detail", {})
    assert all(record["detail"]["since"] for record in counted)
    assert len(counted) <= 2


def test_a_tree_has_a_record_for_each_file(served: Daemon) -> None:
    """What was in a folder that is gone, or went elsewhere, can still be told."""
    names = {f"/private/tree/{name}" for name in ("a", "b", "deep/c")}
    with Dav(served) as dav:
        for folder in ("tree", "tree/deep"):
            dav.ask("MKCOL", f"/private/{folder}")
        for path in names:
            dav.ask("PUT", path, b"x" * 10)
        dav.ask("COPY", "/private/tree", headers={"Destination": "/private/copied"})
        dav.ask("MOVE", "/private/tree", headers={"Destination": "/private/moved"})
        dav.ask("DELETE", "/private/moved")

    for operation, path, to in (
        ("copy", "tree", "copied"),
        ("rename", "tree", "moved"),
        ("delete", "moved", None),
    ):
        ((intent, *children, outcome),) = [
            act
            for act in _acts(served, operation=operation)
            if act[0].get("path") == f"/private/{path}"
        ]
        assert _phases([intent, outcome]) == ["intent", "outcome"]
        assert outcome["outcome"] == "done"
        under = {name.replace("/tree/", f"/{path}/") for name in names}
        assert {child["path"] for child in children} == under
        assert {child["size"] for child in children} == {10}
        if to:
            assert {child["target"] for child in children} == {
                name.replace("/tree/", f"/{to}/") for name in names
            }


def test_a_refused_act_is_one_record_with_stage_and_rule(served: Daemon) -> None:
    """Durable before the answer: it is there when the client has it."""
    with Dav(served) as dav, pytest.raises(RefusedByServerError):
        dav.ask("MKCOL", "/shared/nobodys/x")

    (refused,) = served.records(operation="mkdir", path="/shared/nobodys/x")

    assert (refused["phase"], refused["outcome"]) == ("event", "refused")
    assert (refused["stage"], refused["rule"]) == ("rights", "no_folder")


def test_an_admin_act_tells_before_and_after_and_no_secret(served: Daemon) -> None:
    """What was changed to what, by whom; a secret that was made is nowhere."""
    served.told("line", "add", "main", "office", "--network", "203.0.113.0/24")
    served.told("line", "suspend", "main", "office")
    made = served.told("device", "add", "demo", "pc", "--secret")

    intent, outcome = served.records(operation="admin.line.suspend")
    assert (intent["phase"], outcome["phase"]) == ("intent", "outcome")
    assert outcome["login"].startswith("os:")
    assert outcome["detail"]["before"]["state"] == "active"
    assert outcome["detail"]["after"]["state"] == "suspended"
    secret = str(made["secret"])
    assert len(secret) > 10
    assert secret not in str(served.records())


def test_reading_the_trail_is_on_record(served: Daemon, tmp_path: Path) -> None:
    """One record for a look, two with the file's hash for an export."""
    target = tmp_path / "trail.jsonl"
    served.told("audit", "search", "--operation", "mkdir")
    told = served.told("audit", "export", "--jsonl", "-o", str(target))
    assert served.cli("audit", "tail", "-n", "1").returncode == 0
    served.told("audit", "stats")

    views = [record["detail"] for record in served.records(operation="audit_search")]
    assert {"operation": "mkdir"} in [view["query"] for view in views]
    assert "stats" in [view.get("view") for view in views]
    assert len(served.records(operation="audit_tail")) == 1
    exported = served.records(operation="audit_export", outcome="done")
    assert exported[-1]["sha256"] == told["sha256"]


def test_the_house_tells_of_itself(store: Daemon) -> None:
    """Starts, stops, a child that died, and what was closed after it."""
    store.start()
    with sftp(store) as client:
        file = client.open("/private/open", "wb")
        file.write(b"begun")
        worker = store.children()["worker-1"]
        os.kill(worker, signal.SIGKILL)
        until(lambda: store.records(operation="system.recovery"), deadline_s=30)
        client.close()
    store.stop()

    (exit_,) = store.records(operation="system.child_exit")
    assert exit_["detail"]["slot"] == "worker-1"
    assert exit_["detail"]["status"] == -signal.SIGKILL
    (closed,) = [
        record
        for record in store.records(operation="write", path="/private/open")
        if record["phase"] == "outcome"
    ]
    assert (closed["outcome"], closed["recovered"]) == ("aborted", True)
    streams = [record["id"] for record in store.records(operation="system.start")]
    assert sum("/worker-1:" in record_id for record_id in streams) == 2
    stops = [record["id"] for record in store.records(operation="system.stop")]
    assert any("/worker-1:" in record_id for record_id in stops)
    assert any("/keeper:" in record_id for record_id in stops)
    start = store.records(operation="system.start")[-1]
    assert start["detail"]["version"]
