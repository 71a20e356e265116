"""A person's first step: a password of one's own, and the secret of one-time codes.

One transaction, whether the command line or the first login over SFTP leads to it.
"""

from dataclasses import dataclass
from typing import Final

from server.access.bureau import login_named
from server.access.ledger import Change, Ledger
from server.auth import totp
from server.auth.password import Hasher
from server.auth.policy import weakness
from server.auth.records import RowMap, change, erase
from server.auth.recovery_codes import new_codes
from server.auth.secret import secret_matches
from server.auth.snapshot import LoginState
from server.auth.tables import LOGIN, UNLOCK_WINDOW
from server.auth.totp import SecretBox
from server.model.errors import RefusedError
from server.model.event import Fields, Json
from server.model.operation import Operation, Stage

_WRONG_CODE: Final = (
    "The enrolment code is wrong, used or expired; the administrator makes a new one "
    "with `login reset`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a person enrols with."""

    code: str
    """The enrolment code."""
    password: str
    secret: str = ""
    """A TOTP secret that was shown already; empty: make one."""
    step: int | None = None
    """Of the code that the authenticator showed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The login after it, and what is shown this once."""

    contract: RowMap
    login: RowMap
    totp_secret: str = ""
    recovery_codes: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        """`alice@contract`."""
        return f"{self.login['name']}@{self.contract['name']}"

    @property
    def totp_uri(self) -> str:
        """For the authenticator; empty when no code is required."""
        return self.totp_secret and totp.enrolment_uri(self.totp_secret, self.account)


class Enrolment:
    """Carries enrolments out. Thread-safe."""

    def __init__(self, ledger: Ledger, hasher: Hasher, *, characters_min: int) -> None:
        """Change the accounts through `ledger`."""
        self._ledger = ledger
        self._hasher = hasher
        self._characters_min = characters_min

    def weakness(self, account: str, password: str) -> str:
        """Why a password is not acceptable for `alice@contract`; empty when it is."""
        name, _, contract = account.partition("@")
        names = (name, contract, account) if name else ()
        return weakness(password, characters_min=self._characters_min, names=names)

    def enrol(
        self, who: Fields, account: str, proof: Proof, box: SecretBox
    ) -> Enrolled:
        """Set the person's password; with TOTP required, keep its secret.

        Args:
            who: As records name the actor.
            account: `alice@contract`, or `alice` where there is one contract.
            proof: What the person has and wants.
            box: Seals the TOTP secret.

        Raises:
            ValueError: The password is too short or too simple.
            RefusedError: The code is wrong, used or expired; recorded.
            NotFoundError: There is no such login.
        """
        weak = self.weakness(account, proof.password)
        if weak:
            raise ValueError(weak)
        with self._ledger.change(who, Operation.ADMIN_LOGIN_ENROL) as change_:
            change_.about(account)
            contract, login = login_named(change_.connection, account)
            full_name = f"{login['name']}@{contract['name']}"
            change_.about(full_name, contract["name"])
            weak = self.weakness(full_name, proof.password)
            if weak:
                raise RefusedError(weak, stage=Stage.PASSWORD, rule="weak_password")
            _require_code(login, proof.code, change_.now_us)
            after: RowMap = {
                **login,
                "state": str(LoginState.ACTIVE),
                "password_hash": self._hasher.hash(proof.password),
                "credentials_us": change_.now_us,
                "enrolment_hash": None,
                "enrolment_until_us": None,
            }
            change_.begin(before=_told(login), after=_told(after))
            change(change_.connection, LOGIN, login["id"], **after)
            erase(change_.connection, UNLOCK_WINDOW, login_id=login["id"])
            enrolled = Enrolled(contract=contract, login=after)
            if not login["totp_required"]:
                return enrolled
            return _with_codes(change_, enrolled, proof, box)


def _with_codes(
    change_: Change, enrolled: Enrolled, proof: Proof, box: SecretBox
) -> Enrolled:
    login_id = enrolled.login["id"]
    secret = proof.secret or totp.fresh_secret()
    confirmed = None if proof.step is None else (proof.step, change_.now_us)
    totp.keep_secret(change_.connection, box, login_id, secret, confirmed)
    codes = new_codes(change_.connection, login_id)
    return Enrolled(
        contract=enrolled.contract,
        login=enrolled.login,
        totp_secret=secret,
        recovery_codes=tuple(codes),
    )


def _require_code(login: RowMap, code: str, now_us: int) -> None:
    right = secret_matches(login["enrolment_hash"], code)
    until_us = login["enrolment_until_us"]
    if login["state"] != LoginState.INVITED or not right or (until_us or 0) <= now_us:
        raise RefusedError(_WRONG_CODE, stage=Stage.LOGIN, rule="enrolment_code")


def _told(row: RowMap) -> dict[str, Json]:
    return {
        "state": row["state"],
        "password": "set" if row["password_hash"] else "none",
        "totp": "required" if row["totp_required"] else "off",
    }
