"""What the trail tells of handshakes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audit.handshakes import agreed, recent
from server.audit.query import Query
from server.model.event import Fields
from tests.support.library import Library
from tests.support.trail import event

MODERN = "kex=curve25519-sha256 hostkey=ssh-ed25519 cipher=aes128-gcm@openssh.com"
OLD = "kex=diffie-hellman-group14-sha1 hostkey=ssh-rsa cipher=aes128-cbc mac=hmac-sha1"


def login(number: int, algorithms: str) -> Fields:
    return event(number, operation="login", algorithms=algorithms)


def failed(number: int, hint: str = "") -> Fields:
    found = event(number, operation="login", outcome="refused", stage="handshake")
    return {**found, "detail": {"hint": hint}} if hint else found


RECORDS: list[Fields] = [
    login(0, MODERN),
    failed(1, "the first"),
    login(2, OLD),
    failed(3),
    failed(4, "the second"),
    login(5, MODERN),
    event(6, operation="login", outcome="refused", detail={"ended": "disconnected"}),
]


@pytest.fixture
def library(tmp_path: Path, database_url: str) -> Iterator[Library]:
    opened = Library(tmp_path, database_url)
    opened.write(RECORDS)
    opened.record()
    yield opened
    opened.close()


def test_the_last_failures_come_first_and_only_those(library: Library) -> None:
    """A wrong password is no handshake, a count of repeats no news."""
    rows = recent(library.reader, since_us=0, count=5)
    (newest,) = recent(library.reader, since_us=0, count=1)

    assert [row["detail"] for row in rows] == [
        {"hint": "the second"},
        {"hint": "the first"},
    ]
    assert newest == rows[0]


def test_agreements_are_counted_by_device_and_line(library: Library) -> None:
    """Who would be left outside when the line is made modern?"""
    modern, old = agreed(library.reader, Query(contract="main"))

    assert (modern["logins"], modern["old"]) == (2, [])
    assert (old["logins"], old["device"], old["line"]) == (1, "laptop", "lan")
    assert old["old"] == [
        "diffie-hellman-group14-sha1",
        "ssh-rsa",
        "aes128-cbc",
        "hmac-sha1",
    ]
