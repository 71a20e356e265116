"""WebDAV of the real daemon, over the store that `init --demo` makes."""

import os
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.waiting import until
from tests.support.webdav import curl


def _demo(daemon: Daemon, *more: str) -> list[str]:
    """What a newcomer copies from the screen."""
    return [
        *("--cacert", str(daemon.demo / "server-ca.pem")),
        *("--cert", str(daemon.demo / "demo.pem")),
        *("-u", f"demo:{daemon.password}", *more),
    ]


def test_the_demo_answers_with_certificate_and_password(
    daemon: Daemon, tmp_path: Path
) -> None:
    """And the row is found in the audit DB with who, what and from where."""
    url = daemon.ready["webdav"]
    source = tmp_path / "見積.pdf"
    source.write_bytes(os.urandom(2_000_000))
    name = f"{url}shared/office/%E8%A6%8B%E7%A9%8D.pdf"

    assert curl("PUT", name, *_demo(daemon, "-T", str(source)))[0] == 201
    fetched = tmp_path / "fetched"
    assert curl("GET", name, *_demo(daemon, "-o", str(fetched)))[0] == 200
    assert fetched.read_bytes() == source.read_bytes()
    assert curl("GET", url, "--cacert", str(daemon.demo / "server-ca.pem"))[0] == 0

    daemon.wait_indexed()
    (row,) = [r for r in daemon.rows() if r["operation"] == "write" and "bytes" in r]
    assert row["path"] == "/shared/office/見積.pdf"
    assert row["login"] == "demo"
    assert row["device_name"] == "laptop"
    assert row["protocol"] == "webdav"
    assert row["source_ip"] == "127.0.0.1"
    assert row["outcome"] == "done"


def test_a_device_secret_opens_the_other_listener_until_it_is_locked(
    daemon: Daemon,
) -> None:
    """Added, used and locked without a restart."""
    url = daemon.ready["webdav_secret"] + "private/"
    added = daemon.told("device", "add", "demo", "explorer", "--secret")
    login = ("-u", f"demo+explorer:{added['secret']}", "-H", "Depth: 0")

    until(lambda: curl("PROPFIND", url, *login)[0] == 207, what="the device is known")
    wrong = ("-u", f"demo+laptop:{added['secret']}")
    assert curl("PROPFIND", url, *wrong)[0] == 401
    daemon.told("device", "lock", "demo", "explorer")
    assert curl("PROPFIND", url, *login)[0] == 401


def test_a_device_registered_later_passes_the_handshake(
    daemon: Daemon, tmp_path: Path
) -> None:
    """The TLS context follows the accounts; nobody restarts a server for a laptop."""
    pem = tmp_path / "second.pem"
    daemon.told("device", "add", "demo", "second", "--issue-certificate", str(pem))
    login = _demo(daemon, "--cert", str(pem))

    until(
        lambda: curl("OPTIONS", daemon.ready["webdav"], *login)[0] == 200,
        what="the new device is let in",
    )


def test_a_stopped_daemon_has_told_every_act_and_the_end_of_every_session(
    daemon: Daemon,
) -> None:
    """SIGTERM: nothing is left for the recovery of the next start."""
    url = daemon.ready["webdav_secret"]
    added = daemon.told("device", "add", "demo", "explorer", "--secret")
    login = ("-u", f"demo+explorer:{added['secret']}")
    until(lambda: curl("OPTIONS", url, *login)[0] == 200, what="the device is known")
    assert curl("PUT", f"{url}private/a", *login, "-d", "abc")[0] == 201

    assert daemon.stop() == 0

    written = daemon.records(operation="write")
    assert [record["phase"] for record in written] == ["intent", "outcome"]
    assert daemon.records(operation="logout", login="demo")
