"""What the commands tell of handshakes, beside a running daemon."""

from tests.support.daemon import Daemon
from tests.support.people import sftp


def test_line_report_says_who_uses_what(daemon: Daemon) -> None:
    """Before a line is made modern again, its admin wants to know whom it hurts."""
    for _ in range(2):
        with sftp(daemon):
            pass
    daemon.wait_indexed()

    (row,) = daemon.told("line", "report", "main")
    none = daemon.told("line", "report", "--old")

    assert (row["line"], row["login"]) == ("loopback", "demo")
    assert row["logins"] == 2
    assert row["algorithms"].startswith("kex=mlkem768x25519-sha256 ")
    assert row["old"] == none == []
