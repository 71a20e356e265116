"""The rows that processes share about what lives now: sessions, workers, windows."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, insert, select, update

from server.auth.accounts import bump_revision
from server.auth.pending import note_use
from server.auth.tables import (
    APPLIED_ACT,
    CONTRACT,
    DEVICE,
    LINE,
    LOGIN,
    SESSION,
    UNLOCK_WINDOW,
    WORKER,
)
from server.db.engine import Connection
from server.model.operation import Protocol


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
    fresh = list(began)
    for row in fresh:
        if row.device_id:
            note_use(
                connection,
                row.device_id,
                row.started_us,
                line=row.line,
                source=row.source_ip,
                protocol=row.protocol,
                client=row.client,
            )
    rows = {row.id: asdict(row) for row in fresh}
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


def ask_cut_of_device(connection: Connection, device_id: str, now_us: int) -> None:
    """Mark a device's WebDAV sessions for cutting: they may rest on an old secret."""
    connection.execute(
        update(SESSION)
        .where(
            SESSION.c.device_id == device_id,
            SESSION.c.protocol == Protocol.WEBDAV,
            SESSION.c.ended_us.is_(None),
        )
        .values(cut_asked_us=now_us)
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """An unlock window with the names of what it is for."""

    login_id: str
    device_id: str
    line_id: str
    login: str
    contract: str
    device: str
    line: str
    protocol: str
    """Through which door the code came."""
    opened_us: int
    until_us: int


def windows(connection: Connection, now_us: int, login_id: str = "") -> list[WindowRow]:
    """The windows that stand, of one login or of all."""
    window = UNLOCK_WINDOW.c
    query = (
        select(
            window.login_id,
            window.device_id,
            window.line_id,
            LOGIN.c.name.label("login"),
            CONTRACT.c.name.label("contract"),
            DEVICE.c.name.label("device"),
            LINE.c.name.label("line"),
            window.protocol,
            window.opened_us,
            window.until_us,
        )
        .select_from(UNLOCK_WINDOW)
        .join(LOGIN, window.login_id == LOGIN.c.id)
        .join(CONTRACT, LOGIN.c.contract_id == CONTRACT.c.id)
        .join(DEVICE, window.device_id == DEVICE.c.id)
        .join(LINE, window.line_id == LINE.c.id)
        .where(window.until_us > now_us)
        .order_by(CONTRACT.c.name, LOGIN.c.name, DEVICE.c.name, LINE.c.name)
    )
    if login_id:
        query = query.where(window.login_id == login_id)
    return [WindowRow(**row) for row in connection.execute(query).mappings()]


def close_window(connection: Connection, row: WindowRow, now_us: int) -> None:
    """Close a window, and ask that the sessions of its three end."""
    connection.execute(
        delete(UNLOCK_WINDOW).where(
            UNLOCK_WINDOW.c.login_id == row.login_id,
            UNLOCK_WINDOW.c.device_id == row.device_id,
            UNLOCK_WINDOW.c.line_id == row.line_id,
        )
    )
    connection.execute(
        update(SESSION)
        .where(
            SESSION.c.login_id == row.login_id,
            SESSION.c.device_id == row.device_id,
            SESSION.c.line_id == row.line_id,
            SESSION.c.ended_us.is_(None),
        )
        .values(cut_asked_us=now_us)
    )


def open_window(
    connection: Connection,
    key: tuple[str, str, str],
    *,
    until_us: int,
    now_us: int,
    protocol: str = "",
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
            login_id=login_id,
            device_id=device_id,
            line_id=line_id,
            until_us=until_us,
            opened_us=now_us,
            protocol=protocol,
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
