"""Logging in over SSH: the authentication of one connection (RFC 4252).

The chain is line, key *proved by a signature*, password, code. An unsigned query
(section 7) proves nothing and changes nothing here. Until a key is proved every
password is refused, at the same cost, with the same words, for every name.
"""

from dataclasses import replace
from enum import Enum, auto, unique
from typing import Final

from server.access.office import Arrival, Claim, Office
from server.auth.admission import Need, Proved, Refusal, needs_of, next_need
from server.auth.keys import KeyRefusedError, offered_key
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


class SshLogin:
    """What one connection has proved. For one thread."""

    session: Session | None
    """The session, once admitted."""

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
        self.session = None

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
        claim = self._claim_of_key(login, algorithm, blob)
        self._reset(claim)
        if claim.refusal is not None or claim.device is None:
            return self._refuse(claim, claim.refusal or _NO_KEY)
        self._proved = Proved(device=claim.device)
        self._proved_arrival = self._with(algorithm)
        return self._go_on("key")

    def key_unproved(self, login: str, algorithm: str, blob: bytes) -> None:
        """Record that a signature was wrong; nothing that was proved counts any more.

        Raises:
            AuditUnavailableError: It is not recorded.
        """
        claim = self._claim_of_key(login, algorithm, blob)
        self._reset(claim)
        self._refuse(claim, claim.refusal or Refusal(Stage.DEVICE, "wrong_signature"))

    def password(self, login: str, password: str | bytes) -> Verdict:
        """Check a password; without a proved key it is refused, at the same cost.

        Raises:
            AuditUnavailableError: The answer is not recorded, so there is none.
        """
        self._follow(login)
        claim, candidate = self._claim, self._claim.candidate
        soon = self._office.too_soon(self._arrival, claim)
        if soon is not None:
            return self._refuse(claim, soon)
        due = self._due(Need.PASSWORD)
        stored = candidate.login.password_hash if candidate and not due else None
        wrong = self._office.credentials.password(stored, password)
        refusal = due or wrong
        if refusal is not None:
            return self._refuse(claim, refusal)
        self._proved = replace(self._proved, password=True)
        return self._go_on("password")

    def code(self, login: str, code: str) -> Verdict:
        """Check a one-time code; a wrong one makes the password due again.

        Raises:
            AuditUnavailableError: The answer is not recorded, so there is none.
        """
        self._follow(login)
        claim, candidate = self._claim, self._claim.candidate
        soon = self._office.too_soon(self._arrival, claim)
        refusal = soon or self._due(Need.CODE)
        if refusal is None and candidate is not None:
            refusal = self._office.credentials.use_code(candidate.login.id, code)
        if refusal is not None:
            self._proved = replace(self._proved, password=False)
            return self._refuse(claim, refusal)
        self._proved = replace(self._proved, code=True)
        return self._go_on("code")

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

    def _claim_of_key(self, login: str, algorithm: str, blob: bytes) -> Claim:
        claim = self._office.claim(login, self._with(algorithm))
        try:
            offered = offered_key(algorithm, blob)
        except KeyRefusedError:
            refusal = claim.refusal or Refusal(Stage.DEVICE, "unsuitable_key")
            return replace(claim, refusal=refusal)
        return self._office.with_key(claim, offered.sha256)

    def _follow(self, login: str) -> None:
        """Look again who is meant: factors of another name do not count (5)."""
        claim = self._office.claim(login, self._proved_arrival)
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

    def _go_on(self, factor: str) -> Verdict:
        candidate = self._claim.candidate
        if candidate is None:
            return self._refuse(self._claim, _NO_KEY)
        if next_need(candidate.login, self._proved) is not Need.NOTHING:
            return Verdict.PARTIAL
        proved = {
            "key": self._proved.device is not None,
            "password": self._proved.password,
            "code": self._proved.code,
        }
        factors = [name for name, done in proved.items() if done or name == factor]
        claim = replace(self._claim, device=self._proved.device)
        self.session = self._office.admit(self._proved_arrival, claim, factors)
        return Verdict.ADMITTED

    def _reset(self, claim: Claim) -> None:
        self._claim = claim
        self._proved = Proved()
        self._proved_arrival = self._arrival

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


_NO_KEY: Final = Refusal(Stage.DEVICE, "no_key_proved")
