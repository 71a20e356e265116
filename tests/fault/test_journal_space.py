"""A full disk: no act without its record, and service back by itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit import segment
from server.audit.gate import Gate
from server.audit.journal import Journal
from server.audit.space import Level
from server.model.clock import SystemClock
from server.model.errors import (
    AuditSpaceError,
    AuditUnavailableError,
    RightsRefusedError,
)
from server.model.operation import Operation, Outcome
from tests.support.trail import (
    WHO,
    acts,
    audit_settings,
    event,
    open_journal,
    read_stream,
)
from tests.support.waiting import until

MIB = 1048576


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def _gate(journal: Journal) -> Gate:
    return Gate(journal, clock=SystemClock(), settings=audit_settings())


def _fill(mount: Path, leave: int = 0) -> Path:
    """Take the disk's free space but for `leave` bytes."""
    ballast = mount / "ballast"
    disk = os.statvfs(mount)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave)
    return ballast


def _begin_acts(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.append(event(number, phase="intent"))


def _refuse(gate: Gate, count: int) -> None:
    """As the VFS refuses: the error of the rights goes through the act."""
    for _ in range(count):
        act = gate.act(WHO, Operation.READ, raw="/private/a")
        error = RightsRefusedError("No.", rule="read")
        act.__exit__(RightsRefusedError, error, None)


def test_on_a_full_disk_refusals_are_recorded_and_nothing_begins(
    small_disk: Path,
) -> None:
    """Fail closed: the client is refused, and the trail says so."""
    journal = open_journal(small_disk, reserve_bytes=MIB)
    gate = _gate(journal)
    _fill(small_disk)
    until(lambda: journal.level is Level.RESERVE, deadline_s=6)

    for _ in range(50):
        with (
            pytest.raises(AuditUnavailableError),
            gate.act(WHO, Operation.DELETE, raw="/private/a") as act,
        ):
            act.begin()

    gate.close()
    journal.close()
    refused = [r for r in acts(read_stream(small_disk)) if r["outcome"] == "refused"]
    assert len(refused) == 50
    assert {record["reason"] for record in refused} == {"audit_unavailable"}
    assert not any(r["phase"] == "intent" for r in read_stream(small_disk))


def test_an_intent_that_meets_the_full_disk_first_is_refused(small_disk: Path) -> None:
    """Between two measurements the disk itself says no."""
    journal = open_journal(small_disk, reserve_bytes=MIB)
    _fill(small_disk)

    with pytest.raises(AuditUnavailableError):
        _begin_acts(journal, 1000)

    assert not journal.failed
    assert journal.level is Level.RESERVE
    journal.close()
    read_stream(small_disk)


def test_an_outcome_is_recorded_on_a_full_disk(small_disk: Path) -> None:
    """What was begun with room must be told without."""
    journal = open_journal(small_disk, reserve_bytes=MIB)
    gate = _gate(journal)
    with gate.act(WHO, Operation.DELETE, raw="/private/a") as act:
        act.begin()
        _fill(small_disk)

    gate.close()
    journal.close()
    last = acts(read_stream(small_disk))[-1]
    assert (last["phase"], last["outcome"]) == ("outcome", "done")


def test_service_comes_back_when_there_is_room_again(small_disk: Path) -> None:
    """Nobody has to restart anything, and the reserve is whole again."""
    journal = open_journal(small_disk, reserve_bytes=MIB)
    gate = _gate(journal)
    ballast = _fill(small_disk)
    until(lambda: journal.level is Level.RESERVE, deadline_s=6)
    for _ in range(200):
        gate.event(WHO, Operation.LOGIN, Outcome.REFUSED, reason="login_refused")
    assert (journal.folder / segment.RESERVE).stat().st_size < MIB

    ballast.unlink()

    until(lambda: journal.level < Level.NO_UPLOADS, deadline_s=5)
    assert (journal.folder / segment.RESERVE).stat().st_size == MIB
    with gate.act(WHO, Operation.WRITE, raw="/private/a") as act:
        act.begin()
    gate.close()
    journal.close()
    told = [
        r for r in read_stream(small_disk) if r["operation"] == "system.trail_space"
    ]
    assert len(told) >= 2


def test_when_the_reserve_is_used_up_a_refusal_is_not_answered_as_one(
    small_disk: Path,
) -> None:
    """An answer that is not on record would be an act without a record."""
    journal = open_journal(small_disk, reserve_bytes=65536)
    gate = _gate(journal)
    _fill(small_disk)

    with pytest.raises(AuditUnavailableError):
        _refuse(gate, 2000)

    assert not journal.failed
    gate.close()
    journal.close()
    read_stream(small_disk)


def test_uploads_are_refused_first(small_disk: Path) -> None:
    """A short trail still lets people read, delete and log in."""
    journal = open_journal(small_disk, reserve_bytes=MIB)
    gate = _gate(journal)
    _fill(small_disk, leave=150_000)
    until(lambda: journal.level is Level.NO_UPLOADS, deadline_s=6)

    with (
        pytest.raises(AuditSpaceError),
        gate.act(WHO, Operation.WRITE, raw="/private/a") as act,
    ):
        act.begin()
    with gate.act(WHO, Operation.DELETE, raw="/private/a") as act:
        act.begin()
    gate.event(WHO, Operation.LOGIN, Outcome.DONE)

    gate.close()
    journal.close()
    told = [
        (r["operation"], r["outcome"])
        for r in acts(read_stream(small_disk))
        if "outcome" in r
    ]
    assert told == [("write", "refused"), ("delete", "done"), ("login", "done")]


def test_the_spool_budget_stops_acts_until_the_db_has_caught_up(tmp_path: Path) -> None:
    """A DB that is down for days must not fill the disk; catching up frees it."""
    journal = open_journal(tmp_path, spool_bytes_max=MIB, segment_bytes_max=65536)
    number = 0
    while segment.spool_bytes(journal.folder) <= MIB:
        journal.append(event(number))
        number += 1
    until(lambda: journal.level is Level.RESERVE, deadline_s=6)

    journal.settle()
    segment.write_recorded(journal.folder, segment.read_synced(journal.folder))

    until(lambda: journal.level is Level.OK, deadline_s=6)
    journal.close()
