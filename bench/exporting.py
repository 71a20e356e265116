"""What the export of a whole index takes: the command itself, its time and memory.

Used by `bench/audit.py --export`.
"""

import subprocess
import time
from pathlib import Path
from typing import Final

import store

_LOOK_S: Final = 0.02
FORMS: Final = {"CSV": "--csv", "JSON Lines": "--jsonl"}


def measure_exports(folder: Path, url: str) -> None:
    """Print seconds, MiB and peak memory of an export in each form.

    Args:
        folder: Scratch; a store is made in it.
        url: The index that is exported.
    """
    config = folder / "kagikura.toml"
    config.write_text('state_dir = "state"\ndata_dir = "data"\n')
    store.kagikura(config, "init", "--demo")
    with config.open("a") as file:
        file.write(f'[audit]\nurl = "{url}"\n')
    for name, form in FORMS.items():
        target = folder / f"trail{form}"
        command = ("--config", str(config), "audit", "export", form, "-o", str(target))
        begin, peak_mib = time.monotonic(), 0
        with subprocess.Popen(
            [*store.KAGIKURA, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=store.environ(),
        ) as process:
            while process.poll() is None:
                peak_mib = max(peak_mib, _peak_mib(process.pid))
                time.sleep(_LOOK_S)
        seconds = time.monotonic() - begin
        if process.returncode:
            raise RuntimeError(f"the export failed: exit status {process.returncode}")
        print(
            f"export, {name}: {seconds:.0f} s, {target.stat().st_size >> 20:,} MiB, "
            f"peak memory {peak_mib} MiB"
        )
        target.unlink()


def _peak_mib(pid: int) -> int:
    """VmHWM; what wait4 tells begins with the memory of the process that forked."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0
