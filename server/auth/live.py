"""The rows that processes share about what lives now: sessions, workers, windows."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, insert, select, update

from server.auth.accounts import bump_revision
from server.auth.tables import APPLIED_ACT, SESSION, UNLOCK_WINDOW, WORKER
from server.db.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session as the `sessions` table tells it; names are copies."""

    id: str
    contract_id: str
    login_id: str
    device_id: str
    line_id: str
    contract: str
    login: str
    device: str
    line: str
    protocol: str
    source_ip: str
    source_port: int
    client: str
    node: str
    slot: str
    started_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a session ended; `rule` is empty for a plain logout."""

    ended_us: int
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A process that serves clients, and the revision its sessions comply with."""

    node: str
    slot: str
    pid: int
    revision: int
    heartbeat_us: int


def begin_process(connection: Connection, worker: WorkerRow) -> None:
    """Announce a process; sessions that its dead forerunner left are ended."""
    connection.execute(
        update(SESSION)
        .where(
            SESSION.c.node == worker.node,
            SESSION.c.slot == worker.slot,
            SESSION.c.ended_us.is_(None),
        )
        .values(ended_us=worker.heartbeat_us, ended_rule="process_lost")
    )
    heartbeat(connection, worker)


def end_process(connection: Connection, node: str, slot: str) -> None:
    """A process stops: nobody needs to wait for it any more."""
    connection.execute(
        delete(WORKER).where(WORKER.c.node == node, WORKER.c.slot == slot)
    )


def heartbeat(connection: Connection, worker: WorkerRow) -> None:
    """Say that the process lives and which revision it has carried out."""
    mine = (WORKER.c.node == worker.node) & (WORKER.c.slot == worker.slot)
    values = asdict(worker)
    if connection.execute(update(WORKER).where(mine).values(values)).rowcount == 0:
        connection.execute(insert(WORKER).values(values))


def mirror(
    connection: Connection,
    began: Iterable[SessionRow],
    ended: Mapping[str, Ending],
) -> None:
    """Write what changed among a process's sessions; writing it twice is harmless."""
    rows = {row.id: asdict(row) for row in began}
    if rows:
        connection.execute(delete(SESSION).where(SESSION.c.id.in_(list(rows))))
        connection.execute(insert(SESSION), list(rows.values()))
    for session_id, ending in ended.items():
        connection.execute(
            update(SESSION)
            .where(SESSION.c.id == session_id)
            .values(ended_us=ending.ended_us, ended_rule=ending.rule)
        )


def forget_ended(connection: Connection, before_us: int) -> None:
    """Drop sessions that ended long ago: the trail has them."""
    connection.execute(delete(SESSION).where(SESSION.c.ended_us < before_us))


def live_sessions(connection: Connection) -> list[dict[str, object]]:
    """The sessions of all processes that have not ended, oldest first."""
    query = (
        select(SESSION)
        .where(SESSION.c.ended_us.is_(None))
        .order_by(SESSION.c.started_us, SESSION.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def ask_cut(connection: Connection, session_id: str, now_us: int) -> bool:
    """Mark a live session for cutting; false when there is none of this id."""
    asked = connection.execute(
        update(SESSION)
        .where(SESSION.c.id == session_id, SESSION.c.ended_us.is_(None))
        .values(cut_asked_us=now_us)
    )
    return asked.rowcount == 1


def workers_behind(connection: Connection, revision: int, alive_since_us: int) -> int:
    """How many living processes have not carried out `revision` yet."""
    query = (
        select(func.count())
        .select_from(WORKER)
        .where(WORKER.c.heartbeat_us >= alive_since_us, WORKER.c.revision < revision)
    )
    return int(connection.execute(query).scalar_one())


def count_cut(connection: Connection, since_us: int, **which: str) -> int:
    """How many sessions with these values were cut since then."""
    query = (
        select(func.count())
        .select_from(SESSION)
        .where(SESSION.c.ended_us >= since_us, SESSION.c.ended_rule != "")
        .where(*(SESSION.c[column] == value for column, value in which.items()))
    )
    return int(connection.execute(query).scalar_one())


def window_until_us(
    connection: Connection, login_id: str, device_id: str, line_id: str
) -> int:
    """Until when an unlock window stands, in microseconds; 0 when there is none."""
    query = select(UNLOCK_WINDOW.c.until_us).where(
        UNLOCK_WINDOW.c.login_id == login_id,
        UNLOCK_WINDOW.c.device_id == device_id,
        UNLOCK_WINDOW.c.line_id == line_id,
    )
    return int(connection.execute(query).scalar_one_or_none() or 0)


def open_window(
    connection: Connection,
    key: tuple[str, str, str],
    *,
    until_us: int,
    now_us: int,
) -> None:
    """Open (or prolong) a window for login, device and line; drop expired ones."""
    login_id, device_id, line_id = key
    connection.execute(
        delete(UNLOCK_WINDOW).where(
            (UNLOCK_WINDOW.c.until_us <= now_us)
            | (
                (UNLOCK_WINDOW.c.login_id == login_id)
                & (UNLOCK_WINDOW.c.device_id == device_id)
                & (UNLOCK_WINDOW.c.line_id == line_id)
            )
        )
    )
    connection.execute(
        insert(UNLOCK_WINDOW).values(
            login_id=login_id, device_id=device_id, line_id=line_id, until_us=until_us
        )
    )


def mark_applied(connection: Connection, act: str, now_us: int) -> int:
    """Say in the same transaction that an act took effect; returns the revision."""
    connection.execute(insert(APPLIED_ACT).values(act=act, applied_us=now_us))
    return bump_revision(connection)


def is_applied(connection: Connection, act: str) -> bool:
    """Whether an act's transaction was committed."""
    query = select(APPLIED_ACT.c.act).where(APPLIED_ACT.c.act == act)
    return connection.execute(query).first() is not None
