"""Checking passwords and codes against the store.

A password check costs the same whoever is meant; a code is used up by the database, so
that no other process accepts it again.
"""

from typing import Final

from server.access.accounts_watch import AccountsWatch
from server.access.ledger import Ledger
from server.auth import live, totp
from server.auth.admission import Refusal
from server.auth.password import BusyError, Hasher
from server.auth.totp import SecretBox
from server.db.engine import Connection, DatabaseError, Engine, reading, writing
from server.model.clock import Clock, rfc3339
from server.model.errors import (
    AuditUnavailableError,
    LoginRefusedError,
    UnavailableError,
)
from server.model.event import actor_fields
from server.model.identity import Actor
from server.model.operation import Operation, Stage
from server.settings.schema import AuthSettings

_BUSY: Final = Refusal(Stage.LIMIT, "password_checks")
_NO_ACCOUNTS: Final = Refusal(Stage.LOGIN, "accounts_unavailable")
_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _US


class Credentials:
    """Passwords, one-time codes and unlock windows of this store. Thread-safe."""

    def __init__(  # noqa: PLR0913 - composed once, by keyword
        self,
        engine: Engine,
        *,
        hasher: Hasher,
        box: SecretBox,
        watch: AccountsWatch,
        ledger: Ledger,
        clock: Clock,
        settings: AuthSettings,
    ) -> None:
        """Check with `hasher`; TOTP secrets are sealed in `box`."""
        self._engine = engine
        self._hasher = hasher
        self._box = box
        self._watch = watch
        self._ledger = ledger
        self._clock = clock
        self._drift_steps = settings.totp_drift_steps_max
        self._window_us = settings.unlock_hours * _HOUR_US

    def password(self, stored: str | None, password: str | bytes) -> Refusal | None:
        """Check a password; None when it is right.

        Args:
            stored: The login's hash, or None to spend the same effort in vain.
            password: As it came.
        """
        try:
            right = self._hasher.verify(stored, password)
        except BusyError:
            return _BUSY
        return None if right else Refusal(Stage.PASSWORD, "wrong_password")

    def use_code(self, login_id: str, code: str) -> Refusal | None:
        """Accept a one-time code once; None when it was accepted."""
        step = self._step(login_id, code)
        if isinstance(step, Refusal):
            return step
        try:
            with writing(self._engine) as connection:
                return _use(connection, login_id, step)
        except DatabaseError:
            return _NO_ACCOUNTS

    def unlock(self, actor: Actor, code: str) -> int | Refusal:
        """Spend a code on an unlock window for the actor's login, device and line.

        Returns:
            Until when the window stands, microseconds.

        Raises:
            AuditUnavailableError: It is not recorded; the code is not spent.
        """
        step = self._step(actor.login_id, code)
        if isinstance(step, Refusal):
            return step
        until_us = self._clock.time_us() + self._window_us
        operation = Operation.ADMIN_LOGIN_UNLOCK_WINDOW
        try:
            with self._ledger.change(actor_fields(actor), operation) as change:
                change.about(actor.login)
                change.begin(after={"until": rfc3339(until_us)})
                refusal = _use(change.connection, actor.login_id, step)
                if refusal is not None:
                    change.refuse(
                        LoginRefusedError(stage=refusal.stage, rule=refusal.rule)
                    )
                live.open_window(
                    change.connection,
                    (actor.login_id, actor.device, actor.line_id),
                    until_us=until_us,
                    now_us=change.now_us,
                )
            self._watch.refresh()
        except LoginRefusedError as error:
            return Refusal(error.stage, error.rule)
        except (DatabaseError, UnavailableError) as error:
            if isinstance(error, AuditUnavailableError):
                raise
            return _NO_ACCOUNTS
        return until_us

    def window_us(self, actor: Actor) -> int:
        """Until when a window stands now, whichever process opened it; 0: none."""
        try:
            with reading(self._engine) as connection:
                until_us = live.window_until_us(
                    connection, actor.login_id, actor.device, actor.line_id
                )
        except DatabaseError:
            return 0
        return until_us if until_us > self._clock.time_us() else 0

    def _step(self, login_id: str, code: str) -> int | Refusal:
        try:
            with reading(self._engine) as connection:
                secret = totp.read_secret(connection, self._box, login_id)
        except DatabaseError:
            return _NO_ACCOUNTS
        except ValueError:
            return Refusal(Stage.TOTP, "wrong_totp_key_file")
        if secret is None:
            return Refusal(Stage.TOTP, "no_totp_secret")
        step = totp.step_of(
            secret,
            code,
            now_s=self._clock.time_us() // _US,
            drift_steps=self._drift_steps,
        )
        return Refusal(Stage.TOTP, "wrong_code") if step is None else step


def _use(connection: Connection, login_id: str, step: int) -> Refusal | None:
    if totp.use_step(connection, login_id, step):
        return None
    return Refusal(Stage.TOTP, "replayed_code")
