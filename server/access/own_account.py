"""What a logged-in person may see and do about their own login.

The smallest possible console: to see one's devices and sessions, and to lock a device
that was lost, at once and without an administrator. Letting it in again is the
administrator's. Each look is a record too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NoReturn

from server.access.bureau import Clerk, Facts, moment
from server.access.device_state import lock_device
from server.audit.gate import Gate
from server.auth import live, records
from server.auth.records import RowMap
from server.auth.snapshot import DeviceState
from server.auth.tables import DEVICE, DEVICE_USE
from server.db.engine import Connection, DatabaseError
from server.model.errors import NotFoundError, RefusedError, UnavailableError
from server.model.identity import LoginKind
from server.model.operation import Operation, Stage
from server.model.session import Session

CUT_WAIT_S_MAX: Final = 0.9
"""How long the answer to a lock waits; who locks the device in use is cut after it."""
_UNAVAILABLE: Final = "The accounts database does not answer; try again later."


class OwnAccount:
    """One session's view of its own login."""

    def __init__(self, clerk: Clerk, gate: Gate, session: Session) -> None:
        """Act as `session`, on the accounts of `clerk`, recorded through `gate`."""
        self._clerk = replace(clerk, who=session.fields)
        self._gate = gate
        self._session = session
        self._actor = session.actor

    def in_use(self, device: str) -> bool:
        """Whether this is the device that the session itself came with."""
        return device == self._actor.device_name

    def devices(self) -> list[Facts]:
        """The login's devices; `this` marks the one in use.

        Raises:
            RefusedError: An intake login's session, or a cut one; recorded.
            UnavailableError: The accounts or the trail do not answer.
        """
        with self._look("devices") as connection:
            uses = records.by(connection, DEVICE_USE, "device_id")
            rows = records.listed(connection, DEVICE, login_id=self._actor.login_id)
        now_us = self._clerk.clock.time_us()
        return [
            {
                "device": row["name"],
                "state": _state(row, now_us),
                "this": self.in_use(row["name"]),
                "valid_until": moment(row["valid_until_us"]),
                "last_used": moment(uses.get(row["id"], _NEVER)["last_us"]),
            }
            for row in rows
        ]

    def sessions(self) -> list[Facts]:
        """The login's live sessions, oldest first; `this` marks the one that asks.

        Raises:
            RefusedError: An intake login's session, or a cut one; recorded.
            UnavailableError: The accounts or the trail do not answer.
        """
        with self._look("sessions") as connection:
            rows = live.live_sessions(connection)
        return [
            {
                "device": str(row["device"]),
                "line": str(row["line"]),
                "protocol": str(row["protocol"]),
                "source": str(row["source_ip"]),
                "this": row["id"] == self._actor.session,
                "started": moment(_number(row["started_us"])),
                "client": str(row["client"]),
            }
            for row in rows
            if row["login_id"] == self._actor.login_id
        ]

    def lock(self, device: str) -> Facts:
        """Lock one of the login's devices and cut its sessions.

        One that is locked already is let be: each device can be locked once, so nobody
        keeps the accounts busy by asking again and again.

        Returns:
            `device`, `state`, `sessions_cut`, `cut_ms` and `workers_pending`.

        Raises:
            NotFoundError: The login has no such device; recorded.
            RefusedError: An intake login's session, or a cut one; recorded.
            UnavailableError: The accounts or the trail cannot be written.
        """
        state = self._state_of(device)
        if state in {None, DeviceState.LOCKED}:
            with self._act("lock"):
                if state is None:
                    raise NotFoundError(f"You have no device {device!r}.")
                nothing = {"sessions_cut": 0, "cut_ms": 0, "workers_pending": 0}
                return {"device": device, "state": state, **nothing}
        account = f"{self._actor.login}@{self._actor.contract}"
        facts = lock_device(
            self._clerk, account, device, permit=self._permit, wait_s=CUT_WAIT_S_MAX
        )
        told = ("device", "state", "sessions_cut", "cut_ms", "workers_pending")
        return {name: facts[name] for name in told}

    def asked(self, command: str) -> None:
        """Record that a person asked for something that tells nothing of the store.

        Raises:
            RefusedError: An intake login's session, or a cut one; recorded.
            UnavailableError: It is not recorded.
        """
        with self._act(command):
            return

    def refuse(self, command: str, message: str, rule: str) -> NoReturn:
        """Record that something was asked for that there is not.

        Args:
            command: What, without its arguments: people type secrets into those.
            message: For the person.
            rule: For the trail.

        Raises:
            RefusedError: Always, with `message`.
            UnavailableError: It is not recorded.
        """
        with self._act(command):
            raise RefusedError(message, stage=Stage.REQUEST, rule=rule)

    def _state_of(self, device: str) -> str | None:
        """A device's state; None: the login has none of this name."""
        with self._reading() as connection:
            row = records.find(
                connection, DEVICE, login_id=self._actor.login_id, name=device
            )
        return None if row is None else str(row["state"])

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._clerk.read() as connection:
                yield connection
        except DatabaseError as error:
            raise UnavailableError(_UNAVAILABLE) from error

    @contextmanager
    def _look(self, command: str) -> Iterator[Connection]:
        with self._act(command):
            self._gate.require_room(Operation.COMMAND)
            with self._reading() as connection:
                yield connection

    @contextmanager
    def _act(self, command: str) -> Iterator[None]:
        with self._gate.act(self._session.fields, Operation.COMMAND) as act:
            act.note(detail={"command": command})
            self._require_person()
            yield

    def _require_person(self) -> None:
        self._session.require_live()
        if self._actor.kind is LoginKind.INTAKE:
            raise RefusedError(
                "A login for machines has no commands.",
                stage=Stage.RIGHTS,
                rule="intake_has_no_commands",
            )

    def _permit(self, login: RowMap) -> None:
        """A name may be somebody else's by now; ids are never used again."""
        self._require_person()
        if login["id"] != self._actor.login_id:
            raise RefusedError(
                "These are another login's devices.",
                stage=Stage.RIGHTS,
                rule="device_of_another_login",
            )


def _state(row: RowMap, now_us: int) -> str:
    end_us = row["valid_until_us"]
    if row["state"] == "active" and end_us is not None and end_us <= now_us:
        return "expired"
    return str(row["state"])


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


_NEVER: Final[RowMap] = {"last_us": None}
