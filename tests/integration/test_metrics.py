"""What a monitoring system reads of a running store."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import Daemon, copy_store
from tests.support.people import Dav, sftp
from tests.support.waiting import until

ENVIRON = {"KAGIKURA_METRICS__ENABLED": "true", "KAGIKURA_METRICS__PORT": "0"}
Labels = tuple[tuple[str, str], ...]


@pytest.fixture
def watched(store_template: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A store with its numbers switched on."""
    daemon = copy_store(store_template, tmp_path / "store", ENVIRON)
    daemon.start()
    yield daemon
    daemon.stop()


def scraped(daemon: Daemon, method: str = "GET") -> tuple[int, str]:
    """Status and body."""
    url = urlsplit(daemon.ready["metrics"])
    assert url.port is not None
    client = http.client.HTTPConnection("127.0.0.1", url.port, timeout=10)
    client.request(method, "/metrics")
    answer = client.getresponse()
    told = answer.status, answer.read().decode()
    client.close()
    return told


def metrics(daemon: Daemon) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and labels."""
    status, text = scraped(daemon)
    assert status == 200
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_sessions_index_and_checkpoint_are_numbers(watched: Daemon) -> None:
    """As `kagikura status` tells them; whoever watches the store needs no login."""
    with sftp(watched) as client, Dav(watched) as dav:
        client.listdir("/private")
        dav.ask("PUT", "/private/a", b"a")
        until(
            lambda: metrics(watched)["kagikura_sessions", (("protocol", "sftp"),)] == 1,
            what="the session is mirrored",
        )
    watched.wait_indexed()
    waiting = "kagikura_index_waiting_records"
    until(
        lambda: (
            sum(n for (name, _), n in metrics(watched).items() if name == waiting) == 0
        ),
        what="nothing waits",
    )
    until(
        lambda: ("kagikura_checkpoint_number", ()) in metrics(watched),
        what="the first checkpoint is signed",
    )

    found = metrics(watched)

    names = {name for name, _ in found}
    assert found["kagikura_accounts_up", ()] == 1
    assert found["kagikura_index_up", ()] == found["kagikura_recorder_up", ()] == 1
    assert found["kagikura_trail_level", ()] == 0
    assert 0 < found["kagikura_trail_room_ratio", ()] <= 1
    assert {"kagikura_trail_spool_bytes", "kagikura_checkpoint_number"} <= names
    assert any(name == waiting and "worker-1" in str(labels) for name, labels in found)
    assert {"kagikura_build_info", "kagikura_index_lag_seconds"} <= names
    assert not watched.records(operation="audit.search")


def test_what_cannot_be_known_is_left_out_and_said(watched: Daemon) -> None:
    """An alarm needs the number that tells why the others are missing."""
    (watched.state / "audit.db").unlink()
    (watched.state / "audit.db").write_bytes(b"no database")

    until(lambda: metrics(watched)["kagikura_index_up", ()] == 0, what="it is seen")

    assert ("kagikura_trail_spool_bytes", ()) in metrics(watched)


def test_nothing_can_be_changed_there(watched: Daemon) -> None:
    """It is a page to read."""
    for method in ("POST", "PUT", "DELETE"):
        assert scraped(watched, method)[0] == 405
