"""Logging in over SSH: the authentication of one connection (RFC 4252).

The chain is line, key *proved by a signature*, password, code. An unsigned query
(section 7) proves nothing and changes nothing here. Until a key is proved every
password is refused, at the same cost, with the same words, for every name.
"""

from dataclasses import replace
from enum import Enum, auto, unique
from typing import Final

from server.access.first_login import FirstLogin, Step
from server.access.offered import OfferedKeys
from server.access.office import Arrival, Claim, Office
from server.auth.admission import Need, Proved, Refusal, needs_of, next_need
from server.auth.keys import KeyRefusedError, offered_key
from server.auth.snapshot import Login, LoginState
from server.model.operation import Stage
from server.model.session import Session

ALL_METHODS: Final = ("publickey", "password", "keyboard-interactive")


@unique
class Verdict(Enum):
    """What to answer."""

    ADMITTED = auto()
    """SSH_MSG_USERAUTH_SUCCESS; the session stands and is on record."""
    PARTIAL = auto()
    """SSH_MSG_USERAUTH_FAILURE with partial success; `methods` says what may follow."""
    REFUSED = auto()
    """SSH_MSG_USERAUTH_FAILURE; on record."""
    ENROLLING = auto()
    """Ask what `first_login` asks: a person is here for the first time."""


class SshLogin:
    """What one connection has proved. For one thread."""

    session: Session | None
    """The session, once admitted."""
    first_login: FirstLogin | None
    """The conversation that an enrolment code has opened."""

    def __init__(
        self, office: Office, arrival: Arrival, *, key_queries_max: int
    ) -> None:
        """Begin with nothing proved."""
        self._office = office
        self._arrival = arrival
        self._proved_arrival = arrival
        self._queries_left = key_queries_max
        self._claim = Claim(name="")
        self._proved = Proved()
        self._offered_key = ""
        self._offered_login = ""
        self._refusals = 0
        self._offered = OfferedKeys(office.credentials.pending)
        self._code_factor = ""
        self.session = None
        self.first_login = None

    @property
    def needs_code(self) -> bool:
        """Whether this connection will have to give a one-time code.

        False until a key is proved, for every name.
        """
        candidate = self._claim.candidate
        return (
            candidate is not None
            and self._proved.device is not None
            and Need.CODE in needs_of(candidate.login)
            and not self._proved.code
        )

    @property
    def needs_password(self) -> bool:
        """Whether a password is still to come; false once one was accepted."""
        return not self._proved.password

    def methods(self, login: str) -> list[str]:
        """What may go on; all three, for every name, until a key is proved."""
        candidate = self._claim.candidate
        if candidate is None or login != self._claim.name:
            return list(ALL_METHODS)
        if self._proved.device is None:
            return list(ALL_METHODS)
        if next_need(candidate.login, self._proved) is Need.CODE:
            return ["keyboard-interactive"]
        return ["password", "keyboard-interactive"]

    def key_known(self, login: str, algorithm: str, blob: bytes) -> bool:
        """Answer an unsigned query: PK_OK or not. It is no factor.

        True only for an active device of that login on this line, and not more often
        than the connection's budget.

        Raises:
            AuditUnavailableError: The budget's end is not recorded.
        """
        claim = self._claim_of_key(login, algorithm, blob)
        self._offered_login, self._offered_key = login, claim.device_key
        self._queries_left -= 1
        if self._queries_left < 0:
            if self._queries_left == -1:
                self._refuse(claim, Refusal(Stage.LIMIT, "key_queries_max"))
            return False
        return claim.refusal is None

    def key_proved(self, login: str, algorithm: str, blob: bytes) -> Verdict:
        """Take a key whose signature the caller has verified.

        Raises:
            AuditUnavailableError: The answer is not recorded, so there is none.
        """
        claim = self._claim_of_key(login, algorithm, blob, proved=True)
        self._reset(claim)
        if claim.refusal is not None or claim.device is None:
            return self._refuse(claim, claim.refusal or _NO_KEY)
        self._proved = Proved(device=claim.device)
        self._proved_arrival = self._with(algorithm)
        self._arrival.place.proved = True
        return self._go_on()

    def key_unproved(self, login: str, algorithm: str, blob: bytes) -> None:
        """Record that a signature was wrong; nothing that was proved counts any more.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        claim = self._claim_of_key(login, algorithm, blob)
        self._reset(claim)
        self._refuse(claim, claim.refusal or Refusal(Stage.DEVICE, "wrong_signature"))

    def password(
        self, login: str, password: str | bytes, *, asked: bool = False
    ) -> Verdict:
        """Check a password; without a proved key it is refused, at the same cost.

        Args:
            login: The name.
            password: As it came.
            asked: Whether this connection can ask on (keyboard-interactive): only then
                an enrolment code begins a first login.

        Raises:
            AuditUnavailableError: The answer is not recorded, so there is none.
        """
        self._follow(login)
        claim, candidate = self._claim, self._claim.candidate
        soon = self._office.too_soon(self._arrival, claim)
        if soon is not None:
            self._office.credentials.password(None, password)  # as long as any other
            return self._refuse(claim, soon)
        due = self._due(Need.PASSWORD)
        waits = due == _NO_KEY and self._offered.wait(claim)
        usable = candidate.login if candidate and (due is None or waits) else None
        stored = usable.password_hash if usable else None
        wrong = self._office.credentials.password(stored, password)
        invited = _is_invited(usable)
        if usable and invited:
            fits = self._office.credentials.fits_enrolment(usable, password)
            wrong = None if fits and (asked or waits) else _NOT_ENROLLED
        if waits and wrong is None:
            self._offered.keep(self._arrival, claim)
            due = _KEY_PENDING
        refusal = due or wrong
        if refusal is not None or usable is None:
            return self._refuse(claim, refusal or _NO_KEY)
        if invited:
            return self._enrol(usable, password)
        self._proved = replace(self._proved, password=True)
        self._after_password(usable, password)
        return self._go_on()

    def enrol(self, answers: list[str]) -> Verdict:
        """Go on with the first login.

        Raises:
            RefusedError: The enrolment code is not good any more; recorded.
            UnavailableError: The accounts or the trail cannot be written.
        """
        conversation, login = self.first_login, self._claim.name
        if conversation is None:
            return self._refuse(self._claim, _NOT_ENROLLED)
        conversation.answer(answers)
        match conversation.step:
            case Step.FAILED:
                self.first_login = None
                return self._refuse(self._claim, _NOT_ENROLLED)
            case Step.DONE:
                self.first_login = None
            case _:
                return Verdict.ENROLLING
        # The accounts have changed: who is this now, and may the device still be used?
        claim, proved = self._ssh_claim(login, self._proved_arrival), self._proved
        if proved.device is not None and claim.refusal is None:
            claim = self._office.with_key(claim, proved.device.key_sha256)
        self._claim = claim
        if claim.refusal is not None or claim.device is None:
            return self._refuse(claim, claim.refusal or _NO_KEY)
        self._proved = Proved(device=claim.device, password=True, code=True)
        self._code_factor = "enrolment"
        return self._go_on()

    def code(self, login: str, code: str) -> Verdict:
        """Check a one-time code; a wrong one makes the password due again.

        Raises:
            AuditUnavailableError: The answer is not recorded, so there is none.
        """
        self._follow(login)
        claim = replace(self._claim, device=self._proved.device)
        soon = self._office.too_soon(self._arrival, self._claim)
        found: str | Refusal | None = soon or self._due(Need.CODE)
        if found is None:
            found = self._office.spend_code(self._proved_arrival, claim, code)
        if isinstance(found, Refusal):
            self._proved = replace(self._proved, password=False)
            return self._refuse(claim, found)
        self._proved = replace(self._proved, code=True)
        self._code_factor = found
        return self._go_on()

    def give_up(self, reason: str) -> None:
        """The connection ended without a login: one row, if none was written yet.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        if self.session is not None or self._refusals:
            return
        claim = self._claim
        if not claim.name:
            claim = Claim(name=self._offered_login, device_key=self._offered_key)
        if self._proved.device is not None:
            refusal = Refusal(Stage.PASSWORD, "gave_up")
        else:
            refusal = Refusal(Stage.DEVICE, "no_key_proved")
        self._refusals += 1
        self._office.refused(self._arrival, claim, refusal, {"ended": reason})

    def _ssh_claim(self, login: str, arrival: Arrival) -> Claim:
        """Who is meant; an invited person may show a key, and then the code."""
        claim = self._office.claim(login, arrival)
        if claim.refusal == _NOT_ENROLLED:
            return replace(claim, refusal=None)
        return claim

    def _claim_of_key(
        self, login: str, algorithm: str, blob: bytes, *, proved: bool = False
    ) -> Claim:
        claim = self._ssh_claim(login, self._with(algorithm))
        try:
            offered = offered_key(algorithm, blob)
        except KeyRefusedError:
            refusal = claim.refusal or Refusal(Stage.DEVICE, "unsuitable_key")
            return replace(claim, refusal=refusal)
        claim = self._office.with_key(claim, offered.sha256)
        self._offered.add(claim, offered, proved=proved)
        return claim

    def _follow(self, login: str) -> None:
        """Look again who is meant: factors of another name do not count (5)."""
        claim = self._ssh_claim(login, self._proved_arrival)
        if login != self._claim.name or _changed(claim, self._claim):
            self._reset(claim)
        elif self._proved.device is not None and claim.refusal is None:
            claim = self._office.with_key(claim, self._proved.device.key_sha256)
        if claim.refusal is not None:
            self._proved = Proved()
        self._claim = claim

    def _due(self, need: Need) -> Refusal | None:
        """None when `need` is what comes next; else why it is refused."""
        candidate = self._claim.candidate
        if self._claim.refusal is not None or candidate is None:
            return self._claim.refusal or _NO_KEY
        match next_need(candidate.login, self._proved):
            case found if found is need:
                return None
            case Need.KEY:
                return _NO_KEY
            case Need.PASSWORD:
                return Refusal(Stage.PASSWORD, "password_missing")
            case _:
                return Refusal(Stage.LOGIN, "not_asked_for")

    def _enrol(self, login: Login, code: str | bytes) -> Verdict:
        claim = replace(self._claim, device=self._proved.device)
        actor = self._office.actor(self._proved_arrival, claim)
        text = code if isinstance(code, str) else code.decode("utf-8", "replace")
        self.first_login = FirstLogin(self._office.credentials, actor, login, text)
        return Verdict.ENROLLING

    def _after_password(self, login: Login, password: str | bytes) -> None:
        """A right password may need a newer hash, and a window may spare the code."""
        claim = replace(self._claim, device=self._proved.device)
        actor = self._office.actor(self._proved_arrival, claim)
        self._office.credentials.renew_hash(actor, login, password)
        if (
            Need.CODE in needs_of(login)
            and self._office.credentials.unlocks_sftp
            and self._office.window_us(self._proved_arrival, claim)
        ):
            self._proved = replace(self._proved, code=True)
            self._code_factor = "window"

    def _go_on(self) -> Verdict:
        candidate = self._claim.candidate
        if candidate is None:
            return self._refuse(self._claim, _NO_KEY)
        if next_need(candidate.login, self._proved) is not Need.NOTHING:
            return Verdict.PARTIAL
        proved = {
            "key": self._proved.device is not None,
            "password": self._proved.password,
            self._code_factor: self._proved.code,
        }
        factors = [name for name, done in proved.items() if done and name]
        claim = replace(self._claim, device=self._proved.device)
        self.session = self._office.admit(self._proved_arrival, claim, factors)
        return Verdict.ADMITTED

    def _reset(self, claim: Claim) -> None:
        self._claim = claim
        self._proved = Proved()
        self._proved_arrival = self._arrival
        self._code_factor = ""
        self.first_login = None

    def _with(self, algorithm: str) -> Arrival:
        """The connection with the algorithm of the user's signatures as well."""
        agreed = f"{self._arrival.algorithms} userkey={algorithm}".strip()
        return replace(self._arrival, algorithms=agreed)

    def _refuse(self, claim: Claim, refusal: Refusal) -> Verdict:
        self._refusals += 1
        self._office.refused(self._arrival, claim, refusal)
        return Verdict.REFUSED


def _changed(claim: Claim, before: Claim) -> bool:
    """Whether the login got a new password or TOTP secret since."""
    if claim.candidate is None or before.candidate is None:
        return False
    former, login = before.candidate.login, claim.candidate.login
    return (former.id, former.credentials_us) != (login.id, login.credentials_us)


def _is_invited(login: Login | None) -> bool:
    return login is not None and login.state is LoginState.INVITED


_NO_KEY: Final = Refusal(Stage.DEVICE, "no_key_proved")
_KEY_PENDING: Final = Refusal(Stage.DEVICE, "key_pending")
_NOT_ENROLLED: Final = Refusal(Stage.LOGIN, "not_enrolled")
