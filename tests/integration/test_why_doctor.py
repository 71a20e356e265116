"""`kagikura why` and `kagikura doctor` on the store that `init --demo` makes."""

import json
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.ssh_probe import read_all
from tests.support.waiting import until
from tests.support.webdav import curl

BASE = ("why", "demo", "--device", "laptop", "--from", "127.0.0.1:5000")


def asked(store: Daemon, *arguments: str) -> tuple[bool, str, str]:
    told = store.told(*arguments)
    return told["allowed"], told["stage"], told["rule"]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ((*BASE, "read", "/private/a"), (True, "rights", "may_read")),
        ((*BASE, "write", "/shared/office/a"), (True, "rights", "may_write")),
        ((*BASE, "write", "/shared"), (False, "rights", "no_write")),
        ((*BASE, "write", "/shared/none/a"), (False, "rights", "no_folder")),
        ((*BASE, "read", "/private/../a"), (False, "path", "dots")),
        ((*BASE, "read", "/etc/passwd"), (False, "path", "outside_the_tree")),
        ((*BASE, "rename", "/private/a", "--to", "/private/b"),
         (True, "rights", "may_rename")),
        ((*BASE, "rename", "/private/a", "--to", "/shared/b"),
         (False, "rights", "no_folder")),
        (("why", "demo", "--from", "192.0.2.1", "read", "/private/a"),
         (False, "line", "no_line")),
        (("why", "nobody", "--from", "::1", "read", "/private/a"),
         (False, "login", "unknown_login")),
        (("why", "demo@other", "--from", "[::1]:7", "read", "/private/a"),
         (False, "login", "unknown_contract")),
        (("why", "demo", "--from", "::1", "read", "/private/a"),
         (False, "device", "no_key_proved")),
        (("why", "demo", "--device", "phone", "--from", "::1", "read", "/private/a"),
         (False, "device", "unknown_device")),
    ],
)  # fmt: skip
def test_why_names_the_stage_and_the_rule(
    store: Daemon, arguments: tuple[str, ...], answer: tuple[bool, str, str]
) -> None:
    """What a real connection would meet, one stage after the other."""
    assert asked(store, *arguments) == answer


Change = tuple[str, ...]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (("device", "lock", "demo", "laptop"), (False, "device", "device_locked")),
        (("login", "disable", "demo"), (False, "login", "login_disabled")),
        (("login", "reset", "demo"), (False, "login", "not_enrolled")),
        (("line", "suspend", "main", "loopback"), (False, "line", "line_suspended")),
        (("line", "change", "main", "loopback", "--ports", "1-4"),
         (False, "line", "port")),
        (("folder", "grant", "main", "office", "demo", "none"),
         (False, "rights", "no_grant")),
        (("folder", "grant", "main", "office", "demo", "viewer"),
         (False, "rights", "no_write")),
    ],
)  # fmt: skip
def test_why_follows_each_change(
    store: Daemon, change: Change, answer: tuple[bool, str, str]
) -> None:
    """The same question before and after."""
    question = (*BASE, "write", "/shared/office/a")
    assert asked(store, *question)[0]

    store.told(*change)

    assert asked(store, *question) == answer


def test_why_tells_what_is_asked_for_and_is_on_record(store: Daemon) -> None:
    """Proofs cannot be replayed; the question itself is an act."""
    told = store.told(*BASE, "read", "/private/a")
    shown = store.cli(*BASE, "--protocol", "webdav", "read", "/private/a")

    assert told["asked"] == ["device", "password"]
    assert [step["stage"] for step in told["stages"]] == [
        "line", "login", "device", "password", "path", "rights",
    ]  # fmt: skip
    assert "Allowed: read /private/a by demo" in shown.stderr
    rows = store.records(operation="admin.login.why")
    assert [row["target"] for row in rows] == ["demo", "demo"]
    assert rows[0]["detail"]["rule"] == "may_read"


@pytest.mark.parametrize(
    "arguments",
    [
        (*BASE, "fly", "/private/a"),
        (*BASE, "rename", "/private/a"),
        (*BASE, "read", "/private/a", "--to", "/private/b"),
        (*BASE, "--protocol", "smtp", "read", "/private/a"),
        ("why", "demo", "--from", "office", "read", "/private/a"),
        ("why", "demo", "--from", "127.0.0.1:x", "read", "/private/a"),
    ],
)
def test_a_wrong_question_is_wrong_usage(
    store: Daemon, arguments: tuple[str, ...]
) -> None:
    """And leaves no record."""
    assert store.cli(*arguments).returncode == 2
    assert not store.records(operation="admin.login.why")


def told_by(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def texts(told: dict[str, Any], health: str) -> str:
    return "\n".join(f["text"] for f in told["findings"] if f["health"] == health)


def test_a_healthy_store_has_no_problem(daemon: Daemon) -> None:
    """The demo as it is served: warnings at most."""
    done = daemon.cli("doctor", "--json")

    assert texts(told_by(done), "problem") == ""
    assert done.returncode == 0
    checks = {finding["check"] for finding in told_by(done)["findings"]}
    assert checks >= {"certificate", "clock", "daemon", "database", "disk", "keys"}
    assert daemon.records(operation="admin.store.doctor")


def _open_key(store: Daemon) -> None:
    (store.state / "keys" / "totp.key").chmod(0o644)


def _break_certificate(store: Daemon) -> None:
    (store.state / "keys" / "server.pem").write_text("none")


def _suspend(store: Daemon) -> None:
    store.told("line", "suspend", "main", "loopback")


def _lose_accounts(store: Daemon) -> None:
    (store.state / "accounts.db").write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_open_key, "totp.key can be read by others"),
        (_break_certificate, "The server's certificate cannot be read"),
        (_suspend, "none of its logins can come in"),
        (_lose_accounts, "The accounts database does not answer"),
    ],
)
def test_doctor_finds_what_keeps_clients_out(
    store: Daemon, harm: Callable[[Daemon], None], words: str
) -> None:
    """In plain words, with exit code 1; that it is not running is told as well."""
    harm(store)

    done = store.cli("doctor", "--json")

    assert done.returncode == 1
    assert words in texts(told_by(done), "problem")
    assert "The daemon does not run." in texts(told_by(done), "problem")


def test_a_port_taken_by_another_program_is_told(store: Daemon) -> None:
    """Before the daemon fails to start for it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        store.environ["KAGIKURA_SFTP__PORT"] = str(port)
        told = told_by(store.cli("doctor", "--json"))

    assert f"another program listens on port {port}" in texts(told, "problem")


def test_recent_handshakes_are_read_out_with_a_hint(daemon: Daemon) -> None:
    """A browser without a certificate, and HTTP at the SFTP port."""
    ca = str(daemon.demo / "server-ca.pem")
    assert curl("GET", daemon.ready["webdav"], "--cacert", ca)[0] == 0
    with socket.create_connection(("127.0.0.1", daemon.sftp_port), 10) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_all(sock)

    def rules() -> set[str]:
        told = told_by(daemon.cli("doctor", "--recent", "--json"))
        return {row["rule"] for row in told["recent"] if row["hint"]}

    until(lambda: len(rules()) >= 2, what="both are in the index", deadline_s=30)
    assert "no_certificate" in rules()
