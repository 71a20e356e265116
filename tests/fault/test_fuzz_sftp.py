"""The SFTP packet path under coverage-guided bytes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SECONDS = 120


@pytest.mark.soak
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_no_bytes_crash_or_hang_the_packet_path(tmp_path: Path) -> None:
    """Stock paramiko kept a core busy for ever by one packet."""
    fuzzed = subprocess.run(
        [sys.executable, "-m", "tests.fault.fuzz_sftp", str(tmp_path), str(SECONDS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 60,
    )

    assert fuzzed.returncode == 0, fuzzed.stdout[-2000:] + fuzzed.stderr[-2000:]
    assert "Internal error" not in fuzzed.stderr
    assert "sftp request failed" not in fuzzed.stderr
