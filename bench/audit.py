"""The audit index at size: its size on disk, how fast it is made, how fast it answers.

    python bench/audit.py --rows 10000000 --verify --export --retention
    python bench/audit.py --lag 2000

A made-up office (bench/office.py) writes two journals, the recorder brings them into a
SQLite file, or the empty PostgreSQL database of `--url`, and each question is asked
cold (a SQLite file's pages dropped from the page cache by posix_fadvise, a new
connection) and warm (the best of five). Times are those of the first page, 100
records, whole. Then all is verified and exported, and the oldest tenth deleted while
searches go on. The table goes to stdout, progress to stderr.
"""

import argparse
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from exporting import measure_exports
from lag import measure_lag
from office import write_stream

from server.audit import evidence, find
from server.audit.checkpoint import CheckpointFolder
from server.audit.query import Query
from server.audit.recorder import Recorder
from server.audit.released import RowDropper
from server.audit.statements import Head
from server.audit.tables import PATHS, RECORDS, STREAMS
from server.db.engine import Connection, Engine, Role, open_engine, reading

NODE = "bench"
WARM_ROUNDS = 5
SYNC_ROUNDS = 50


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleaning up after itself
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="audit-") as folder:
        if options.lag:
            measure_lag(Path(folder), acts_per_s=options.lag, seconds=options.seconds)
        else:
            _run(Path(folder), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--scratch", type=Path, help="folder; 3 KiB a row are needed")
    parser.add_argument(
        "--url", help="an empty PostgreSQL database, in place of SQLite"
    )
    parser.add_argument("--verify", action="store_true", help="verify all, timed")
    parser.add_argument("--export", action="store_true", help="export all, timed")
    parser.add_argument(
        "--retention", action="store_true", help="delete the oldest tenth, timed"
    )
    parser.add_argument(
        "--lag",
        type=int,
        metavar="ACTS",
        help="so many acts a second, and nothing else",
    )
    parser.add_argument("--seconds", type=int, default=60, help="of --lag")
    return parser.parse_args()


def _run(folder: Path, options: argparse.Namespace) -> None:
    journal = folder / "journal"
    url = options.url or f"sqlite:///{folder / 'audit.db'}"
    say(f"one fdatasync of an append here: {_sync_ms(folder):.2f} ms (median)")
    begin = time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        made = [
            pool.submit(
                write_stream,
                journal,
                NODE,
                f"worker-{seed}",
                rows=options.rows // 2,
                seed=seed,
            )
            for seed in (1, 2)
        ]
        rows = sum(one.result() for one in made)
    say(f"{rows} records written in {time.monotonic() - begin:.0f} s")
    load = os.getloadavg()[0]
    seconds, busy = _record(journal, url, rows)
    size = _size(url)
    journals = sum(one.stat().st_size for one in journal.rglob("*.jsonl"))
    print(f"{rows:,} records; {os.cpu_count()} cores, load before {load:.1f}")
    print(
        f"journals {_mib(journals)}, database {_mib(size)}, {size // rows} bytes a row"
    )
    print(
        f"recorded at {rows / seconds:,.0f} rows/s ({rows / busy:,.0f} per CPU second)"
    )
    print()
    _ask_all(url)
    print()
    if options.verify:
        _verify(journal, url)
    if options.export:
        measure_exports(folder, url)
    if options.retention:
        _drop_a_tenth(journal, url)


def _size(url: str) -> int:
    engine = open_engine(url, Role.AUDIT_READER)
    with reading(engine) as connection:
        if connection.dialect.name == "sqlite":
            asked = (
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )
        else:
            asked = "SELECT pg_database_size(current_database())"
        found = connection.exec_driver_sql(asked).scalar_one()
    engine.dispose()
    return int(found)


def _record(journal: Path, url: str, rows: int) -> tuple[float, float]:
    """Seconds and CPU seconds that the recorder takes for all of it."""
    recorder = Recorder(journal, url, node=NODE)
    done, told = 0, 0
    begin, busy = time.monotonic(), time.process_time()
    while copied := recorder.step():
        done += copied
        if done - told >= rows // 20:
            told = done
            say(f"{done} recorded, {done / (time.monotonic() - begin):.0f} rows/s")
    taken = time.monotonic() - begin, time.process_time() - busy
    recorder.drain(10)
    return taken


def _verify(journal: Path, url: str) -> None:
    """How fast every link is computed again, and every row held against its record."""
    for name, check in (
        (
            "journals",
            lambda: evidence.verify_journals(journal, [], node=NODE, root=None),
        ),
        (
            "database",
            lambda: evidence.verify_database(url, [], root=None, strict=False),
        ),
    ):
        say(f"verifying the {name}")
        begin = time.monotonic()
        report = check()
        seconds = time.monotonic() - begin
        chained = [one for one in report.findings if one.fault != "key"]  # unsigned
        print(
            f"verify, {name}: {report.records / seconds:,.0f} records/s, "
            f"{len(chained)} findings"
        )


class _Tenth(RowDropper):
    """Lets go of the beginning of each stream."""

    def __init__(self, folder: Path, heads: dict[str, Head]) -> None:
        super().__init__(CheckpointFolder(folder))
        self._heads = heads

    def heads(self) -> dict[str, Head]:
        return self._heads


def _drop_a_tenth(journal: Path, url: str) -> None:
    """Delete as the recorder does, while somebody searches without a pause."""
    engine = open_engine(url, Role.AUDIT_READER)
    with reading(engine) as connection:
        known = connection.execute(sa.select(STREAMS.c.stream, STREAMS.c.seq)).all()
    heads = {stream: Head(seq // 10, "") for stream, seq in known}
    gone = sum(head.seq for head in heads.values())
    before, stop = _size(url), threading.Event()
    waits: list[float] = []
    searching = threading.Thread(target=_search_on, args=(engine, stop, waits))
    searching.start()
    released = _Tenth(journal, heads)
    released.look()
    recorder = Recorder(journal, url, node=NODE, released=released)
    steps: list[float] = []
    while not steps or released.pending:
        begin = time.monotonic()
        recorder.step()
        steps.append(time.monotonic() - begin)
        if len(steps) % 100 == 0:
            say(f"{len(steps)} transactions of deletion")
    stop.set()
    searching.join()
    recorder.drain(1)
    engine.dispose()
    print(
        f"retention: {gone:,} rows in {sum(steps):.0f} s, {len(steps)} transactions, "
        f"median {statistics.median(steps) * 1000:.0f} ms, "
        f"longest {max(steps) * 1000:.0f} ms; searches meanwhile: {len(waits)}, median "
        f"{statistics.median(waits):.1f} ms, longest {max(waits):.0f} ms; "
        f"{_mib(before)} before, {_mib(_size(url))} after"
    )


def _search_on(engine: Engine, stop: threading.Event, waits: list[float]) -> None:
    while not stop.is_set():
        waits.append(_timed(engine, Query(login="saito11", operation="mkdir"))[0])


def _ask_all(url: str) -> None:
    engine = open_engine(url, Role.AUDIT_READER)
    with reading(engine) as connection:
        questions = _questions(connection)
    print("| question | records | warm ms | cold ms | along |")
    print("|---|---|---|---|---|")
    for name, query in questions.items():
        cold = _cold(engine, query)
        warm = min(_timed(engine, query)[0] for _ in range(WARM_ROUNDS))
        count = _timed(engine, query)[1]
        plan = ", ".join(_indexes(engine, query))
        print(f"| {name} | {count} | {warm:.1f} | {cold} | {plan} |", flush=True)
    engine.dispose()


def _questions(connection: Connection) -> dict[str, Query]:
    """Each filter alone, common and rare, and the pairs that are asked for most."""
    first, last, rows = connection.execute(
        sa.select(
            sa.func.min(RECORDS.c.time_us),
            sa.func.max(RECORDS.c.time_us),
            sa.func.max(RECORDS.c.row),
        )
    ).one()
    middle = (first + last) // 2
    some = _example(connection, rows // 2, RECORDS.c.sha256.is_not(None))
    path = connection.execute(
        sa.select(PATHS.c.path).where(PATHS.c.id == some.path_id)
    ).scalar_one()
    folder = path.rpartition("/")[0]
    hot, rare = "sato", "saito11"
    alone = {
        "newest": Query(),
        "time range": Query(since_us=first, until_us=middle),
        "login, busy": Query(login=hot),
        "login, rare": Query(login=rare),
        "device": Query(device=some.device_name),
        "line": Query(line="vpn"),
        "address": Query(source=some.source_ip),
        "network /24": Query(source="10.3.0.0/24"),
        "protocol": Query(protocol="webdav"),
        "operation, common": Query(operation="list"),
        "operation, rare": Query(operation="mkdir"),
        "outcome": Query(outcome="refused"),
        "contract": Query(contract="branch"),
        "session": Query(session=some.session),
        "act": Query(act=some.act),
        "sha256": Query(sha256=some.sha256),
        "path, a file": Query(path=path),
        "path, a busy folder": Query(path="/shared"),
        "prefix, everything": Query(under="/shared"),
        "prefix, a department": Query(under="/shared/役員室"),
        "prefix, one folder": Query(under=folder),
        "substring 請求": Query(contains="請求"),
        "substring 請求書": Query(contains="請求書"),
        "substring acme": Query(contains="acme"),
        "substring 4321.pdf": Query(contains="4321.pdf"),
        "substring, absent": Query(contains="zzzzq"),
    }
    return {**alone, **_pairs(middle, path)}


def _pairs(middle: int, path: str) -> dict[str, Query]:
    """The pairs of filters that people ask for most."""
    hot, rare = "sato", "saito11"
    return {
        "time + login": Query(until_us=middle, login=hot),
        "time + operation": Query(until_us=middle, operation="mkdir"),
        "time + outcome": Query(until_us=middle, outcome="refused"),
        "time + path": Query(until_us=middle, path="/shared"),
        "time + prefix": Query(until_us=middle, under="/shared/役員室"),
        "time + substring": Query(until_us=middle, contains="請求"),
        "time + network": Query(until_us=middle, source="10.3.0.0/24"),
        "login + operation": Query(login=rare, operation="mkdir"),
        "login + path": Query(login=rare, path="/shared"),
        "login + prefix": Query(login=rare, under="/shared/役員室"),
        "login + substring": Query(login=rare, contains="請求"),
        "path + operation": Query(path=path, operation="delete"),
        "prefix + operation": Query(under="/shared/役員室", operation="copy"),
        "outcome + login": Query(outcome="aborted", login=rare),
    }


def _example(
    connection: Connection, row: int, condition: sa.ColumnElement[bool]
) -> sa.Row[*tuple[object, ...]]:
    asked = (
        sa
        .select(RECORDS)
        .where(RECORDS.c.row > row, condition)
        .order_by(RECORDS.c.row)
        .limit(1)
    )
    return connection.execute(asked).one()


def _timed(engine: Engine, query: Query) -> tuple[float, int]:
    """Milliseconds and how many records."""
    begin = time.perf_counter()
    with reading(engine) as connection:
        found = find.records(connection, query)
    return (time.perf_counter() - begin) * 1000, len(found)


def _cold(engine: Engine, query: Query) -> str:
    if engine.dialect.name != "sqlite":
        return "-"  # the server's own memory cannot be emptied from here
    engine.dispose()
    path = Path(str(engine.url.database).removeprefix("file:"))
    for name in (path, path.with_name(path.name + "-wal")):
        if name.exists():
            fd = os.open(name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    return f"{_timed(engine, query)[0]:.1f}"


def _indexes(engine: Engine, query: Query) -> list[str]:
    """The indexes that the statements of a search go along, in order."""
    found: dict[str, None] = {}
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with _overhearing(engine) as told, reading(engine) as connection:
        find.page(connection, query)
        for text, values in [one for one in told if one[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"{explain} {text}", values)
            for row in plan:
                found.update(dict.fromkeys(re.findall(r"ix_\w+|path_\w+s\b", row[-1])))
    return [name.removeprefix("ix_records_") for name in found]


@contextmanager
def _overhearing(engine: Engine) -> Iterator[list[tuple[str, object]]]:
    told: list[tuple[str, object]] = []

    def hear(*given: object) -> None:
        told.append((str(given[2]), given[3]))

    sa.event.listen(engine, "before_cursor_execute", hear)
    try:
        yield told
    finally:
        sa.event.remove(engine, "before_cursor_execute", hear)


def _sync_ms(folder: Path) -> float:
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNC_ROUNDS):
            file.write(bytes(800))
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
