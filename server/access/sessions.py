"""The live sessions of this process: found again, re-checked, cut.

Front ends open and close sessions here; a thread mirrors them to the accounts database
so that the CLI can list them and see a cut, and never stands in a login's way.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.access.accounts_watch import AccountsWatch
from server.auth import live
from server.auth.admission import Admission
from server.auth.live import Ending, SessionRow, WorkerRow
from server.db.engine import DatabaseError, Engine, writing
from server.model.clock import Clock
from server.model.session import Session

log = logging.getLogger(__name__)

_BATCH_S: Final = 0.1
_CHECK_S: Final = 1.0
HEARTBEAT_S: Final = 5.0
_KEEP_ENDED_US: Final = 24 * 3600 * 1_000_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Which process of which machine this is."""

    node: str
    slot: str
    pid: int


class Sessions:
    """The registry of one process. Thread-safe."""

    def __init__(
        self, engine: Engine, watch: AccountsWatch, *, process: Process, clock: Clock
    ) -> None:
        """Keep sessions by the accounts of `watch`, mirrored through `engine`."""
        self._engine = engine
        self._watch = watch
        self._process = process
        self._clock = clock
        self._live: dict[str, tuple[Session, int]] = {}
        self._began: dict[str, SessionRow] = {}
        self._ended: dict[str, Ending] = {}
        self._complied = -1
        self._told_revision = -1
        self._told_ns = 0
        self._answers = True
        self._chores: list[Callable[[], None]] = []
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # Guards _live, _began, _ended, _complied. Not held while a session is cut.
        self._thread = threading.Thread(
            target=self._run, name="session-mirror", daemon=True
        )
        watch.on_change(self._recheck)

    def start(self) -> None:
        """Announce this process and begin to mirror.

        Raises:
            DatabaseError: The accounts database does not answer.
        """
        self._complied = self._watch.snapshot().revision
        with writing(self._engine) as connection:
            live.begin_process(connection, self._worker_row(self._complied))
        self._told_revision = self._complied
        self._told_ns = self._clock.mono_ns()
        self._thread.start()

    def stop(self) -> None:
        """Mirror what is left and sign off."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        self._fence(self._flush)
        self._fence(self._sign_off)

    def every_second(self, chore: Callable[[], None]) -> None:
        """Have the thread do something small about once a second."""
        self._chores.append(chore)

    def open(self, session: Session, credentials_us: int) -> None:
        """Take a session in; it is cut at once if the accounts moved meanwhile.

        Args:
            session: As admitted.
            credentials_us: The login's when it was admitted.
        """
        with self._lock:
            self._live[session.actor.session] = (session, credentials_us)
            self._began[session.actor.session] = self._row(session)
        self._wake.set()
        # After it is in: either this check or the next `_recheck` sees the change.
        rule = self._watch.admission().cut_rule(
            session.actor, credentials_us, self._clock.time_us()
        )
        if rule:
            self._cut(session, rule)

    def close(self, session: Session) -> bool:
        """Let a session go; false when it was gone already."""
        session_id = session.actor.session
        with self._lock:
            if self._live.pop(session_id, None) is None:
                return False
            self._ended.setdefault(
                session_id,
                Ending(ended_us=self._clock.time_us(), rule=session.cut_rule or ""),
            )
        self._wake.set()
        return True

    def _recheck(self, admission: Admission) -> None:
        """Cut what the accounts no longer allow."""
        now_us = self._clock.time_us()
        with self._lock:
            held = list(self._live.values())
        for session, credentials_us in held:
            rule = admission.cut_rule(session.actor, credentials_us, now_us)
            if rule:
                self._cut(session, rule)
        with self._lock:
            self._complied = max(self._complied, admission.snapshot.revision)
        self._wake.set()

    def _cut(self, session: Session, rule: str) -> None:
        if session.cut_rule is not None:
            return
        self._fence(lambda: session.cut(rule))
        ending = Ending(ended_us=self._clock.time_us(), rule=rule)
        with self._lock:
            self._ended.setdefault(session.actor.session, ending)

    def _run(self) -> None:
        checked_ns = self._clock.mono_ns()
        while not self._stopping.is_set():
            if self._wake.wait(_CHECK_S):
                self._stopping.wait(_BATCH_S)
            self._wake.clear()
            if self._clock.mono_ns() - checked_ns >= _CHECK_S * _NS:
                checked_ns = self._clock.mono_ns()
                # Time alone ends devices and lines too.
                self._fence(lambda: self._recheck(self._watch.admission()))
                self._wake.clear()
                for chore in self._chores:
                    self._fence(chore)
            self._fence(self._flush)

    def _flush(self) -> None:
        with self._lock:
            began, ended = dict(self._began), dict(self._ended)
            complied = self._complied
        now_ns = self._clock.mono_ns()
        stale = now_ns - self._told_ns >= HEARTBEAT_S * _NS
        if not (began or ended or stale or complied != self._told_revision):
            return
        with writing(self._engine) as connection:
            live.mirror(connection, began.values(), ended)
            live.heartbeat(connection, self._worker_row(complied))
            if stale:
                live.forget_ended(connection, self._clock.time_us() - _KEEP_ENDED_US)
        self._told_revision, self._told_ns = complied, now_ns
        self._answers = True
        with self._lock:
            for session_id in began:
                del self._began[session_id]
            for session_id in ended:
                del self._ended[session_id]

    def _worker_row(self, revision: int) -> WorkerRow:
        return WorkerRow(
            node=self._process.node,
            slot=self._process.slot,
            pid=self._process.pid,
            revision=revision,
            heartbeat_us=self._clock.time_us(),
        )

    def _sign_off(self) -> None:
        with writing(self._engine) as connection:
            live.end_process(connection, self._process.node, self._process.slot)

    def _row(self, session: Session) -> SessionRow:
        actor = session.actor
        return SessionRow(
            id=actor.session,
            contract_id=actor.contract_id,
            login_id=actor.login_id,
            device_id=actor.device,
            line_id=actor.line_id,
            contract=actor.contract,
            login=actor.login,
            device=actor.device_name,
            line=actor.line,
            protocol=str(actor.protocol),
            source_ip=actor.source.ip if actor.source else "",
            source_port=actor.source.port if actor.source else 0,
            client=actor.client,
            node=self._process.node,
            slot=self._process.slot,
            started_us=session.started_us,
        )

    def _fence(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseError as error:
            if self._answers:
                log.warning("sessions not mirrored", extra={"error": str(error)})
            self._answers = False
        except Exception:
            log.exception("session registry failed")
