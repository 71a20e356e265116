"""Unlock windows: who may go on without a code just now, and ending that."""

from server.access.bureau import Bureau, Facts, login_named, moment
from server.auth import live
from server.auth.live import WindowRow
from server.model.errors import NotFoundError
from server.model.operation import Operation


class Windows:
    """`kagikura login windows` and `kagikura login revoke-window`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def list(self, account: str | None = None) -> list[Facts]:
        """The windows that stand, of one login or of all.

        Raises:
            NotFoundError: No such login.
        """
        with self._bureau.read() as connection:
            login_id = login_named(connection, account)[1]["id"] if account else ""
            rows = live.windows(connection, self._bureau.clock.time_us(), login_id)
        return [_shown(row) for row in rows]

    def revoke(self, account: str, device: str = "", line: str = "") -> Facts:
        """Close windows of a login and cut the sessions that rest on them.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            device: Only those of this device; empty: of all.
            line: Only those of this line; empty: of all.

        Raises:
            NotFoundError: No such login, or no such window.
        """
        with self._bureau.change(Operation.ADMIN_LOGIN_REVOKE_WINDOW) as change:
            change.about(account)
            contract, login = login_named(change.connection, account)
            change.about(f"{login['name']}@{contract['name']}", contract["name"])
            found = [
                row
                for row in live.windows(change.connection, change.now_us, login["id"])
                if device in {"", row.device} and line in {"", row.line}
            ]
            if not found:
                raise NotFoundError(f"{login['name']!r} has no such unlock window.")
            change.begin(before=[_shown(row) for row in found])
            for row in found:
                live.close_window(change.connection, row, change.now_us)
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, login_id=login["id"]
        )
        return {
            "login": login["name"],
            "contract": contract["name"],
            "windows": len(found),
            **cut,
        }


def _shown(row: WindowRow) -> Facts:
    return {
        "login": row.login,
        "contract": row.contract,
        "device": row.device,
        "line": row.line,
        "protocol": row.protocol,
        "opened": moment(row.opened_us) if row.opened_us else None,
        "until": moment(row.until_us),
    }
