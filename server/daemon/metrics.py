"""What monitoring reads: Prometheus' text format over HTTP, on loopback alone.

Numbers of the whole store and no names: neither who is in nor whose quota is full. It
is no look at a record, so scraping leaves none.
"""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from socketserver import ThreadingMixIn
from typing import Any, ClassVar, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from server.audit.space import Level
from server.auth import live
from server.daemon.parts import opened_accounts
from server.daemon.reading import trail_status
from server.db.engine import DatabaseError, reading
from server.model.clock import parse_rfc3339
from server.model.event import Json
from server.model.operation import Protocol
from server.settings.schema import Settings

log = logging.getLogger(__name__)

_Facts = dict[str, Json]


def serve(bound: Iterable[socket.socket], settings: Settings) -> None:
    """Answer on these sockets, in threads of its own, as long as the process lives."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(settings))
    app = make_wsgi_app(registry, disable_compression=True)
    for sock in bound:
        sock.listen()
        server = _Server(sock)
        server.set_app(app)
        threading.Thread(
            target=server.serve_forever, name="metrics", daemon=True
        ).start()


class StoreCollector(Collector):
    """Asks the store anew at each scrape."""

    def __init__(self, settings: Settings) -> None:
        """Tell of the store that these settings name."""
        self._settings = settings

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics; what cannot be known now is left out, and an `_up` says so."""
        info = {"version": version("kagikura"), "node": self._settings.node}
        yield _gauge("kagikura_build_info", "What runs.", {tuple(info.items()): 1})
        yield from self._accounts()
        yield from _trail(trail_status(self._settings, counted=False))

    def _accounts(self) -> Iterator[GaugeMetricFamily]:
        name, text = "kagikura_accounts_up", "Whether the accounts DB answers."
        try:
            with opened_accounts(self._settings) as engine, reading(engine) as open_db:
                found = Counter(row["protocol"] for row in live.live_sessions(open_db))
        except DatabaseError:
            yield GaugeMetricFamily(name, text, value=0)
            return
        yield GaugeMetricFamily(name, text, value=1)
        yield _gauge(
            "kagikura_sessions",
            "Live sessions of all nodes.",
            {(("protocol", p),): found[p] for p in (Protocol.SFTP, Protocol.WEBDAV)},
        )


def _trail(facts: _Facts) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "kagikura_trail_room_ratio",
        "Part of the room for journals that is left; uploads stop before it ends.",
        value=cast("float", facts["left_percent"]) / 100,
    )
    yield GaugeMetricFamily(
        "kagikura_trail_level",
        "0 ok, 1 warning, 2 uploads are refused, 3 nothing is done any more.",
        value=Level[str(facts["level"]).upper()],
    )
    yield GaugeMetricFamily(
        "kagikura_trail_spool_bytes",
        "Bytes of the journals that the audit DB does not hold yet.",
        value=cast("float", facts["spool_bytes"]),
    )
    yield GaugeMetricFamily(
        "kagikura_recorder_up",
        "0 while the recorder cannot bring records to the audit DB.",
        value="recorder" not in facts,
    )
    yield GaugeMetricFamily(
        "kagikura_index_up", "Whether the audit DB answers.", value="audit" not in facts
    )
    yield from _index(facts)
    yield from _checkpoint(cast("_Facts", facts["checkpoint"]))


def _index(facts: _Facts) -> Iterator[GaugeMetricFamily]:
    if "indexed" not in facts:
        return
    yield GaugeMetricFamily(
        "kagikura_index_lag_seconds",
        "How old the oldest record is that the audit DB does not hold.",
        value=cast("float", facts["lag_s"]),
    )
    yield _gauge(
        "kagikura_index_waiting_records",
        "Records of a stream that the audit DB does not hold yet.",
        {
            (("stream", str(stream["stream"])),): cast("float", stream["behind"])
            for stream in cast("list[_Facts]", facts["indexed"])
        },
    )


def _checkpoint(last: _Facts) -> Iterator[GaugeMetricFamily]:
    """What the last signature covers; nothing before the first, or if it is broken."""
    if "number" not in last:
        return
    yield GaugeMetricFamily(
        "kagikura_checkpoint_number",
        "Number of the last signed checkpoint.",
        value=cast("float", last["number"]),
    )
    yield GaugeMetricFamily(
        "kagikura_checkpoint_records",
        "Records that it covers.",
        value=cast("float", last["records"]),
    )
    yield GaugeMetricFamily(
        "kagikura_checkpoint_timestamp_seconds",
        "When it was signed.",
        value=parse_rfc3339(str(last["time"])) / 1_000_000,
    )


def _gauge(
    name: str, text: str, values: dict[tuple[tuple[str, str], ...], float]
) -> GaugeMetricFamily:
    """A metric with labels; its values by them."""
    labels = next(iter(values), ())
    gauge = GaugeMetricFamily(name, text, labels=[label for label, _ in labels])
    for pairs, value in values.items():
        gauge.add_metric([shown for _, shown in pairs], value)
    return gauge


class _Handler(WSGIRequestHandler):
    timeout: ClassVar[float | None] = 10
    """Seconds: who is silent holds a thread no longer."""

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""
        log.debug(format, *args)


class _Server(ThreadingMixIn, WSGIServer):
    """Serves a socket that is bound and listens already."""

    daemon_threads = True

    def __init__(self, sock: socket.socket) -> None:
        address = sock.getsockname()[:2]
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.server_name, self.server_port = address
        self.setup_environ()
