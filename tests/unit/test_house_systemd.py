"""The units keep what they promise: little exposure, and the schema's ports."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from server.settings.schema import Settings

UNITS = Path(__file__).parents[2] / "systemd"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
def test_the_service_is_exposed_to_two_of_ten_at_most() -> None:
    """A hole in a protocol library must lead nowhere on the machine."""
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=20",
            UNITS / "kagikura.service",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@needs_systemd
def test_systemd_understands_every_line_of_every_unit(tmp_path: Path) -> None:
    """A misspelt directive is only a warning in the log: the guard would be missing."""
    text = (UNITS / "kagikura.service").read_text("utf-8")
    service = tmp_path / "kagikura.service"
    service.write_text(text.replace("/opt/kagikura/bin/kagikura", "/bin/true"), "utf-8")
    sockets = [shutil.copy(unit, tmp_path) for unit in UNITS.glob("*.socket")]

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", service, *sockets],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "kagikura" not in done.stderr


def test_sockets_hold_the_ports_and_names_of_the_schema() -> None:
    """The daemon knows a handed-in socket by its name alone."""
    settings = Settings()
    ports = {
        "sftp": settings.sftp.port,
        "webdav": settings.webdav.port,
        "webdav_secret": settings.webdav.secret.port,
    }

    found = {}
    for unit in UNITS.glob("*.socket"):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(unit, "utf-8")
        socket = parser["Socket"]
        found[socket["FileDescriptorName"]] = int(
            socket["ListenStream"].rpartition(":")[2]
        )

    assert found == ports
