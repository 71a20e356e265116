"""Checking passwords and codes against the store.

A password check costs the same whoever is meant; a code is used up by the database, so
that no other process accepts it again.
"""

import logging
from dataclasses import dataclass
from typing import ClassVar, Final

from server.access.accounts_watch import AccountsWatch
from server.access.enrolment import Enrolled, Enrolment, Proof
from server.access.ledger import Ledger
from server.access.pending import PendingKeys
from server.auth import live, records, totp
from server.auth.admission import Refusal
from server.auth.password import BusyError, Hasher
from server.auth.recovery_codes import looks_like_one, use_recovery_code
from server.auth.secret import secret_matches
from server.auth.snapshot import Login, LoginState
from server.auth.tables import LOGIN
from server.auth.totp import SecretBox
from server.db.engine import Connection, DatabaseError, Engine, reading, writing
from server.model.clock import Clock, rfc3339
from server.model.errors import (
    AuditUnavailableError,
    LoginRefusedError,
    ServerError,
    UnavailableError,
)
from server.model.event import actor_fields
from server.model.identity import Actor
from server.model.operation import Operation, Stage
from server.settings.schema import AuthSettings

log = logging.getLogger(__name__)

_BUSY: Final = Refusal(Stage.LIMIT, "password_checks")
_NO_ACCOUNTS: Final = Refusal(Stage.LOGIN, "accounts_unavailable")
_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _US


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An unlock window that a code has opened."""

    until_us: int
    factor: str
    """`code` or `recovery_code`."""


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
        self.unlocks_sftp: Final = settings.unlock_sftp
        self.pending: Final = PendingKeys(
            engine, clock=clock, days=settings.pending_days
        )
        self.enrolment: Final = Enrolment(
            ledger, hasher, characters_min=settings.password_length_min
        )

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

    def fits_enrolment(self, login: Login, code: str | bytes) -> bool:
        """Whether an invited person's code is right and still good; it is not used."""
        text = code if isinstance(code, str) else code.decode("utf-8", "replace")
        fits = secret_matches(login.enrolment_hash, text)
        invited = login.state is LoginState.INVITED
        in_time = (login.enrolment_until_us or 0) > self._clock.time_us()
        return fits and invited and in_time

    def enrol(self, actor: Actor, proof: Proof) -> Enrolled:
        """Carry out a person's first step; see `Enrolment.enrol`.

        Raises:
            ValueError: The password is not acceptable.
            RefusedError: The code is not good any more; recorded.
            UnavailableError: The accounts database does not answer.
        """
        enrolled = self.enrolment.enrol(
            actor_fields(actor), f"{actor.login}@{actor.contract}", proof, self._box
        )
        self._watch.refresh()
        return enrolled

    def renew_hash(self, actor: Actor, login: Login, password: str | bytes) -> None:
        """Hash a password that was just right at today's cost, if its hash is older.

        What goes wrong here keeps nobody out: the old hash stays.
        """
        old = login.password_hash
        if old is None or not self._hasher.outdated(old):
            return
        try:
            with reading(self._engine) as connection:
                row = records.find(connection, LOGIN, id=login.id)
            if row is None or row["password_hash"] != old:
                return  # another process was first
            new = self._hasher.hash(password)
            operation = Operation.ADMIN_LOGIN_REHASH
            with self._ledger.change(actor_fields(actor), operation) as change:
                change.about(actor.login, actor.contract)
                change.begin()
                records.replace_hash(change.connection, login.id, old, new)
        except (DatabaseError, ServerError, BusyError) as error:
            log.warning("password not hashed anew", extra={"error": str(error)})

    def use_code(self, login_id: str, code: str) -> str | Refusal:
        """Accept a one-time or recovery code once; which of the two it was."""
        proof = self._proof(login_id, code)
        if isinstance(proof, Refusal):
            return proof
        try:
            with writing(self._engine) as connection:
                refusal = proof.use(connection, self._clock.time_us())
        except DatabaseError:
            return _NO_ACCOUNTS
        return refusal or proof.factor

    def unlock(self, actor: Actor, code: str) -> Unlocked | Refusal:
        """Spend a code on an unlock window for the actor's login, device and line.

        Raises:
            AuditUnavailableError: It is not recorded; the code is not spent.
        """
        proof = self._proof(actor.login_id, code)
        if isinstance(proof, Refusal):
            return proof
        until_us = self._clock.time_us() + self._window_us
        operation = Operation.ADMIN_LOGIN_UNLOCK_WINDOW
        try:
            with self._ledger.change(actor_fields(actor), operation) as change:
                change.about(actor.login)
                change.begin(after={"until": rfc3339(until_us), "factor": proof.factor})
                refusal = proof.use(change.connection, change.now_us)
                if refusal is not None:
                    change.refuse(
                        LoginRefusedError(stage=refusal.stage, rule=refusal.rule)
                    )
                live.open_window(
                    change.connection,
                    (actor.login_id, actor.device, actor.line_id),
                    until_us=until_us,
                    now_us=change.now_us,
                    protocol=str(actor.protocol),
                )
            self._watch.refresh()
        except LoginRefusedError as error:
            return Refusal(error.stage, error.rule)
        except (DatabaseError, UnavailableError) as error:
            if isinstance(error, AuditUnavailableError):
                raise
            return _NO_ACCOUNTS
        return Unlocked(until_us, proof.factor)

    def code_step(self, secret: str, code: str) -> int | None:
        """The step of a code for a secret that is nobody's yet; None: it is wrong."""
        return totp.step_of(
            secret,
            code,
            now_s=self._clock.time_us() // _US,
            drift_steps=self._drift_steps,
        )

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

    def _proof(self, login_id: str, code: str) -> "_Proof | Refusal":
        """What a code proves, if it is used in time."""
        try:
            with reading(self._engine) as connection:
                secret = totp.read_secret(connection, self._box, login_id)
        except DatabaseError:
            return _NO_ACCOUNTS
        except ValueError:
            return Refusal(Stage.TOTP, "wrong_totp_key_file")
        if secret is None:
            return Refusal(Stage.TOTP, "no_totp_secret")
        if looks_like_one(code):
            return _Recovery(login_id, code)
        step = self.code_step(secret, code)
        return (
            Refusal(Stage.TOTP, "wrong_code") if step is None else _Step(login_id, step)
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """A one-time code's step."""

    login_id: str
    step: int
    factor: ClassVar[str] = "code"

    def use(self, connection: Connection, now_us: int) -> Refusal | None:
        if totp.use_step(connection, self.login_id, self.step, now_us):
            return None
        return Refusal(Stage.TOTP, "replayed_code")


@dataclass(frozen=True, slots=True)
class _Recovery:
    """A recovery code."""

    login_id: str
    code: str
    factor: ClassVar[str] = "recovery_code"

    def use(self, connection: Connection, now_us: int) -> Refusal | None:
        if use_recovery_code(connection, self.login_id, self.code, now_us):
            return None
        return Refusal(Stage.TOTP, "wrong_code")


_Proof = _Step | _Recovery
