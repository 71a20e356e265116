"""What a run ran on: machine, programs, libraries."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

from peers import program

_ROOT: Final = Path(__file__).parents[1]
_PROGRAMS: Final = [
    ("sshd", ["ssh", "-V"]),
    ("apache2", ["apache2", "-v"]),
    ("nginx", ["nginx", "-v"]),
    ("rclone", ["rclone", "version"]),
    ("curl", ["curl", "--version"]),
]
_WORDS_MAX: Final = 40
"""curl names all its libraries."""
_LIBRARIES: Final = ("paramiko", "cryptography", "wsgidav", "cheroot")


def machine(scratch: Path) -> str:
    """Cores, Python and how fast the scratch folder syncs, in a sentence."""
    return (
        f"{os.cpu_count()} cores, {_cpu()}, Linux {platform.release()}, Python "
        f"{platform.python_version()}, load average before {os.getloadavg()[0]:.1f}, "
        f"`fdatasync` of an append {fdatasync_ms(scratch):.2f} ms (median)"
    )


def programs() -> str:
    """Ours and the peers' versions, in a line."""
    found = [f"kagikura {_revision()}"]
    for name, command in _PROGRAMS:
        if program(name):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            told = (done.stdout + done.stderr).splitlines()[0].strip()
            found.append(told[:_WORDS_MAX])
    return " · ".join([*found, *(f"{name} {version(name)}" for name in _LIBRARIES)])


def command() -> str:
    """How this run was started."""
    return " ".join(["python", os.path.relpath(sys.argv[0], _ROOT), *sys.argv[1:]])


def fdatasync_ms(folder: Path) -> float:
    """The median of 50 appends brought to the disk."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            began_s = time.perf_counter()
            file.write(b"x" * 500)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began_s)
    return sorted(times)[25] * 1000


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or version("kagikura")
