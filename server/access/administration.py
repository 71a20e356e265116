"""Every administration verb, as the CLI (and later the console) calls it.

One object a noun. Each verb is one recorded act and one transaction; what it answers is
plain data, without secrets except those made for this answer alone.
"""

from typing import Final

from server.access.approval import Approval
from server.access.authorities import Authorities
from server.access.bureau import Bureau, Facts
from server.access.codes import Codes
from server.access.contracts import Contracts
from server.access.devices import Devices
from server.access.folders import Folders, Groups
from server.access.lines import Lines
from server.access.logins import Logins
from server.access.quotas import Quotas
from server.access.windows import Windows
from server.auth import live
from server.auth.accounts import read_revision
from server.auth.attempt import source_key
from server.auth.bans import lift_bans, named_bans
from server.auth.snapshot import Factors
from server.model.clock import rfc3339
from server.model.errors import NotFoundError
from server.model.identity import Source
from server.model.operation import Operation

__all__ = ["Administration", "Factors", "LiveSessions"]


class LiveSessions:
    """`kagikura session …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def list(self) -> list[Facts]:
        """The live sessions of all processes and nodes, oldest first."""
        with self._bureau.read() as connection:
            rows = live.live_sessions(connection)
        return [_shown(row) for row in rows]

    def cut(self, session_id: str) -> Facts:
        """Cut one session and wait for it.

        Raises:
            NotFoundError: No live session has this id.
        """
        with self._bureau.change(Operation.ADMIN_SESSION_CUT) as change:
            change.about(session_id)
            rows = live.live_sessions(change.connection)
            row = next((row for row in rows if row["id"] == session_id), None)
            if row is None:
                raise NotFoundError(f"There is no live session {session_id!r}.")
            change.about(session_id, str(row["contract"]))
            change.begin(before=_shown(row))
            live.ask_cut(change.connection, session_id, change.now_us)
        cut = self._bureau.wait_for_cut(change.revision, change.now_us, id=session_id)
        return {"session": session_id, **cut}


class SourceBans:
    """`kagikura session ban …`: sources that are not let in for a while."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def list(self) -> list[Facts]:
        """The bans that hold now, of all processes and nodes."""
        with self._bureau.read() as connection:
            rows = named_bans(connection, self._bureau.clock.time_us())
        return [
            {
                "source": str(row["source"]),
                "contract": str(row["contract"]),
                "line": str(row["line"]),
                "rule": str(row["rule"]),
                "since": _moment(row["since_us"]),
                "until": _moment(row["until_us"]),
            }
            for row in rows
        ]

    def lift(self, source: str) -> Facts:
        """Let a source in again; every process follows within about a second.

        Args:
            source: An address, or as `list` shows it.

        Raises:
            ValueError: Not an address.
            NotFoundError: It is not banned.
        """
        key = source_key(Source(ip=source.partition("/")[0], port=0))
        with self._bureau.change(Operation.ADMIN_SESSION_LIFT_BAN) as change:
            change.about(key)
            held = [
                row
                for row in named_bans(change.connection, change.now_us)
                if row["source"] == key
            ]
            if not held:
                raise NotFoundError(f"{key} is not banned.")
            change.begin(before=[f"{row['contract']}/{row['line']}" for row in held])
            lift_bans(change.connection, key)
        return {"source": key, "lines": [str(row["line"]) for row in held]}


class Administration:
    """The verbs by noun."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau
        self.contracts: Final = Contracts(bureau)
        self.lines: Final = Lines(bureau)
        self.logins: Final = Logins(bureau)
        self.codes: Final = Codes(bureau)
        self.windows: Final = Windows(bureau)
        self.devices: Final = Devices(bureau)
        self.approval: Final = Approval(bureau)
        self.authorities: Final = Authorities(bureau)
        self.folders: Final = Folders(bureau)
        self.groups: Final = Groups(bureau)
        self.quotas: Final = Quotas(bureau)
        self.sessions: Final = LiveSessions(bureau)
        self.bans: Final = SourceBans(bureau)

    def revision(self) -> int:
        """The accounts' revision.

        Raises:
            UnavailableError: The database does not answer.
        """
        with self._bureau.read() as connection:
            return read_revision(connection)


def _moment(time_us: object) -> str:
    return rfc3339(time_us) if isinstance(time_us, int) else ""


def _shown(row: dict[str, object]) -> Facts:
    kept = (
        "contract",
        "login",
        "device",
        "line",
        "protocol",
        "source_ip",
        "client",
        "node",
    )
    started_us = row["started_us"]
    port = row["source_port"]
    return {
        "session": str(row["id"]),
        **{name: str(row[name]) for name in kept},
        "source_port": port if isinstance(port, int) else 0,
        "started": _moment(started_us),
    }
