"""kill -9 at any moment loses nothing that was acknowledged."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.trail import acts, open_journal, read_stream

ROOT = Path(__file__).parents[2]

CHILD = """
import sys, threading
from pathlib import Path
from tests.support.trail import event, open_journal

journal = open_journal(Path(sys.argv[1]), durability=sys.argv[2])
told = threading.Lock()

def save(first):
    for number in range(first, 10**9, 4):
        journal.wait(journal.append(event(number)))
        with told:
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()

for first in range(4):
    threading.Thread(target=save, args=(first,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("durability", ["disk", "process"])
@pytest.mark.parametrize("acknowledged", [1, 57, 400])
def test_every_acknowledged_record_survives_a_kill(
    tmp_path: Path, durability: str, acknowledged: int
) -> None:
    """What a client was told is done must be in the trail."""
    told = _killed_after(tmp_path, durability, acknowledged)

    journal = open_journal(tmp_path)
    journal.close()

    kept = {record["path"] for record in acts(read_stream(tmp_path))}
    assert {f"/private/{number}" for number in told} <= kept


def _killed_after(folder: Path, durability: str, lines: int) -> list[int]:
    """Kill a writer after so many acknowledgements; all that it had told."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, folder, durability],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().rpartition("\n")[0]
    return told + [int(line) for line in rest.splitlines()]
