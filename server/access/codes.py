"""A login's one-time codes: is the authenticator there, how many spares are left."""

from server.access.bureau import Bureau, Facts, Listing, login_named, moment
from server.access.ledger import Change
from server.auth import records, totp
from server.auth.records import RowMap
from server.auth.recovery_codes import codes_left, new_codes
from server.auth.tables import TOTP
from server.model.errors import NotFoundError, RefusedError
from server.model.operation import Operation, Stage

_US = 1_000_000


class Codes:
    """`kagikura login confirm-code` and `kagikura login recovery-codes`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def confirm(self, account: str, code: str) -> Facts:
        """Take the first code, and so know that the authenticator has the secret.

        Raises:
            NotFoundError: No such login, or it has no TOTP secret.
            RefusedError: The code is wrong or was used; recorded.
        """
        with self._bureau.change(Operation.ADMIN_LOGIN_CONFIRM_CODE) as change:
            contract, login = self._with_secret(change, account)
            step = self._step(change, login, code)
            change.begin()
            self._use(change, login, step)
        return {
            "login": login["name"],
            "contract": contract["name"],
            "confirmed": moment(change.now_us),
        }

    def show(self, account: str) -> Facts:
        """When the authenticator was confirmed, and how many spare codes are left.

        Raises:
            NotFoundError: No such login.
        """
        with self._bureau.read() as connection:
            contract, login = login_named(connection, account)
            row = records.find(connection, TOTP, login_id=login["id"])
            left = codes_left(connection, login["id"])
        return {
            "login": login["name"],
            "contract": contract["name"],
            "confirmed": moment(row["confirmed_us"]) if row else None,
            "recovery_codes_left": left,
        }

    def renew(self, account: str, code: str) -> Facts:
        """Make new recovery codes; a one-time code shows that the person asks.

        Raises:
            NotFoundError: No such login, or it has no TOTP secret.
            RefusedError: The code is wrong or was used; recorded.
        """
        with self._bureau.change(Operation.ADMIN_LOGIN_RECOVERY_CODES) as change:
            contract, login = self._with_secret(change, account)
            step = self._step(change, login, code)
            change.begin(before={"left": codes_left(change.connection, login["id"])})
            self._use(change, login, step)
            codes: Listing = [*new_codes(change.connection, login["id"])]
        return {
            "login": login["name"],
            "contract": contract["name"],
            "recovery_codes": codes,
        }

    @staticmethod
    def _with_secret(change: Change, account: str) -> tuple[RowMap, RowMap]:
        change.about(account)
        contract, login = login_named(change.connection, account)
        change.about(f"{login['name']}@{contract['name']}", contract["name"])
        if records.find(change.connection, TOTP, login_id=login["id"]) is None:
            raise NotFoundError(f"{login['name']!r} has no one-time codes.")
        return contract, login

    def _step(self, change: Change, login: RowMap, code: str) -> int:
        secret = totp.read_secret(
            change.connection, self._bureau.keys.box(), login["id"]
        )
        step = secret and totp.step_of(
            secret,
            code,
            now_s=change.now_us // _US,
            drift_steps=self._bureau.settings.totp_drift_steps_max,
        )
        if not isinstance(step, int):
            raise RefusedError(
                "This code is wrong: is the authenticator's clock right?",
                stage=Stage.TOTP,
                rule="wrong_code",
            )
        return step

    @staticmethod
    def _use(change: Change, login: RowMap, step: int) -> None:
        if not totp.use_step(change.connection, login["id"], step, change.now_us):
            change.refuse(
                RefusedError(
                    "This code was used already: wait for the next one.",
                    stage=Stage.TOTP,
                    rule="replayed_code",
                )
            )
