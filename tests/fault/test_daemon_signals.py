"""What the daemon does when it is told to stop, to reload, or loses its head."""

import signal
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.fault.test_kill import check, demo_root
from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.ledger import Ledger
from tests.support.people import Dav, sftp
from tests.support.waiting import until

CLIENTS = 4
QUICK_S = 5


def configure(daemon: Daemon, before: str, after: str) -> None:
    config = daemon.folder / "kagikura.toml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def ended(pid: int) -> bool:
    """Whether a process has ended; its parent may not have asked for it yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def listens(daemon: Daemon) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", daemon.sftp_port), 1).close()
        return True
    return False


def until_worked(ledger: Ledger) -> None:
    worked = ledger.count("ok")
    until(lambda: ledger.count("ok") > worked + 20, what="the clients work")


def until_reloaded(daemon: Daemon, times: int) -> None:
    until(
        lambda: daemon.log.count("settings reloaded") == times,
        what="the settings are taken",
    )


def require_all_indexed(daemon: Daemon) -> None:
    wanted = Counter(record["id"] for record in daemon.records())
    assert Counter(row["id"] for row in daemon.rows()) == wanted


def test_sigterm_under_load_lets_all_end_and_tells_all(
    daemon: Daemon, tmp_path: Path
) -> None:
    """No act stays open, and the DB holds every record, the stops included."""
    ledger = Ledger(tmp_path / "ledger")
    with Crowd(daemon, ledger, clients=CLIENTS, seed=1):
        until_worked(ledger)
        assert daemon.stop() == 0
    ledger.close()

    assert check(daemon, ledger) == []
    assert not [r for r in daemon.records() if r.get("recovered")]
    assert len(daemon.records(operation="system.stop")) == 2
    require_all_indexed(daemon)


def test_a_transfer_ends_well_while_the_daemon_stops(daemon: Daemon) -> None:
    """What was open may be finished, for as long as `drain_s` says."""
    assert daemon.process is not None
    with sftp(daemon) as client:
        file = client.open("/private/slow", "wb")
        file.write(b"first")
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(daemon), what="nobody new is let in")
        file.write(b"second")
        file.close()
    assert daemon.stop() == 0

    (outcome,) = daemon.records(path="/private/slow", phase="outcome")
    assert (outcome["outcome"], outcome["bytes"]) == ("done", 11)
    assert (demo_root(daemon) / "slow").read_bytes() == b"firstsecond"


def test_a_second_sigterm_is_quick(store: Daemon) -> None:
    """Whoever asks twice does not want to wait; what breaks is told as it is."""
    configure(store, "drain_s = 5", "drain_s = 120")
    store.start()
    assert store.process is not None
    with sftp(store) as client:
        file = client.open("/private/slow", "wb")
        file.write(b"first")
        store.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(store), what="nobody new is let in")
        began_s = time.monotonic()
        assert store.stop() == 0
        assert time.monotonic() - began_s < QUICK_S

    (outcome,) = store.records(path="/private/slow", phase="outcome")
    assert (outcome["outcome"], outcome["bytes"]) == ("aborted", 5)
    require_all_indexed(store)


def test_bad_settings_change_nothing(daemon: Daemon) -> None:
    """A slip in the file must not end the service; the log says what is wrong."""
    children = daemon.children()
    configure(daemon, "workers = 1", "wrokers = 1")
    with sftp(daemon) as client:
        daemon.reload()
        until(lambda: "settings not reloaded" in daemon.log, what="the log tells")
        client.mkdir("/private/still-here")
    with Dav(daemon) as dav:
        dav.ask("PUT", "/private/still-here/a", b"a")

    assert daemon.children() == children
    assert "wrokers" in daemon.log


def made_by(daemon: Daemon, folder: str) -> str:
    """The worker that serves a client who comes now."""
    with sftp(daemon) as client:
        client.mkdir(folder)
    (made,) = daemon.records(path=folder, phase="outcome")
    return str(made["id"]).partition("/")[2].partition(":")[0]


def test_new_settings_leave_open_sessions_alone(daemon: Daemon) -> None:
    """Old sessions go on in the old worker, which leaves with the last of them."""
    before = daemon.children()
    with sftp(daemon) as old:
        file = old.open("/private/slow", "wb")
        file.write(b"first")
        configure(daemon, "[webdav]\n", "handles_max = 2\n[webdav]\n")
        daemon.reload()
        until_reloaded(daemon, 1)
        names = (f"/private/new-{number}" for number in range(100))
        until(lambda: made_by(daemon, next(names)) == "worker-2", what="a new worker")
        file.write(b"second")
        file.close()
        assert old.stat("/private/slow").st_size == len(b"firstsecond")
        assert daemon.children()["worker-1"] == before["worker-1"]
    until(lambda: ended(before["worker-1"]), what="the old worker leaves")

    def workers() -> set[str]:
        return {slot for slot in daemon.children() if slot != "keeper"}

    until(lambda: workers() == {"worker-2"}, what="one worker is left")
    (written,) = daemon.records(path="/private/slow", phase="outcome")
    assert (written["outcome"], written["bytes"]) == ("done", 11)
    assert daemon.stop() == 0
    require_all_indexed(daemon)


def test_clients_notice_nothing_of_reloads(daemon: Daemon, tmp_path: Path) -> None:
    """New settings under load: no request is dropped, refused or left unanswered."""
    ledger = Ledger(tmp_path / "ledger")
    with Crowd(daemon, ledger, clients=CLIENTS, seed=1):
        for reloads in (1, 2):
            until_worked(ledger)
            daemon.reload()
            until_reloaded(daemon, reloads)
        until_worked(ledger)
    assert daemon.stop() == 0
    ledger.close()

    assert {entry.answer for entry in ledger.entries} == {"ok"}
    assert check(daemon, ledger) == []
    require_all_indexed(daemon)


def test_a_second_daemon_on_the_same_store_is_refused(daemon: Daemon) -> None:
    """Two would write the same streams; the second says so and leaves at once."""
    second = daemon.cli("serve")

    assert second.returncode != 0
    assert "running" in second.stderr
    assert "Traceback" not in second.stderr
    with sftp(daemon) as client:
        client.mkdir("/private/first-goes-on")


def test_children_do_not_outlive_the_supervisor(daemon: Daemon, tmp_path: Path) -> None:
    """An orphaned worker would serve beside the next daemon's."""
    children = daemon.children().values()
    ledger = Ledger(tmp_path / "ledger")
    with Crowd(daemon, ledger, clients=CLIENTS, seed=1):
        until_worked(ledger)
        daemon.lose_supervisor()
        until(lambda: all(map(ended, children)), what="they end", deadline_s=20)
    daemon.start()
    assert daemon.stop() == 0
    ledger.close()

    assert check(daemon, ledger) == []
    require_all_indexed(daemon)
