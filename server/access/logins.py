"""Administration of logins, and the person's own first step: enrolling."""

from typing import Final, Literal

from server.access.bureau import (
    LOGIN_NAME,
    Bureau,
    Facts,
    Listing,
    contract_named,
    login_named,
    moment,
    require,
    split_account,
)
from server.access.enrolment import Enrolment, Proof
from server.access.ledger import Change
from server.auth import records
from server.auth.records import RowMap
from server.auth.recovery_codes import drop_codes
from server.auth.secret import hash_secret, new_enrolment_code
from server.auth.snapshot import Factors, LoginState
from server.auth.tables import (
    CONTRACT,
    DEVICE,
    GRANT,
    LOGIN,
    MEMBERSHIP,
    PENDING_KEY,
    TOTP,
    UNLOCK_WINDOW,
)
from server.model.errors import ExistsError, LimitError, RefusedError
from server.model.identity import LoginKind
from server.model.operation import Operation, Stage

LOGINS_MAX: Final = 999
"""Of a contract, as the reference service promises."""

_HOUR_US: Final = 3600 * 1_000_000
_PERSONS_OWN: Final = (
    "only an intake login is given its password or factors here; a person enrols with "
    "the code"
)


class Logins:
    """`kagikura login …` and `kagikura enrol`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau
        self._enrolment = Enrolment(
            bureau.ledger,
            bureau.hasher,
            characters_min=bureau.settings.password_length_min,
        )

    def add(
        self,
        account: str,
        *,
        kind: LoginKind = LoginKind.USER,
        totp_rule: Literal["required", "off"] | None = None,
        factors: Factors | None = None,
        password: str | None = None,
    ) -> Facts:
        """Add a login.

        Args:
            account: `alice@contract`, or `alice` where there is one contract.
            kind: What it is for.
            totp_rule: For people; None: the settings' default. Never for intake.
            factors: For intake: `key`, `password` or `key+password`; None: `password`
                when one is given, else `key`.
            password: For intake only: nobody stands behind it to enrol.

        Returns:
            The login; for people also `enrolment_code`, shown this once.

        Raises:
            ValueError: A name or combination that is not acceptable.
            NotFoundError: No such contract.
            ExistsError: There is such a login, or it is unclear in which contract.
            LimitError: The contract has 999 logins.
        """
        require(LOGIN_NAME, account.partition("@")[0], "login")
        values = self._credentials(kind, totp_rule, factors, password)
        with self._bureau.change(Operation.ADMIN_LOGIN_ADD) as change:
            change.about(account)
            contract, name = split_account(change.connection, account)
            change.about(f"{name}@{contract['name']}", contract=contract["name"])
            self._require_room(change, contract, name)
            row: RowMap = {
                "id": records.new_id(),
                "contract_id": contract["id"],
                "name": name,
                "credentials_us": change.now_us,
                "added_us": change.now_us,
                **values,
            }
            code = self._invite(row, change.now_us)
            facts = _shown(contract["name"], row)
            change.begin(after=facts)
            records.add(change.connection, LOGIN, **row)
        return {**facts, **code}

    def enrol(self, account: str, code: str, password: str) -> Facts:
        """Set the person's password; with TOTP required, make its secret.

        Args:
            account: As in `add`.
            code: The enrolment code.
            password: At least `auth.password_length_min` characters.

        Returns:
            The login; when a one-time code is required, `totp_uri` and
            `recovery_codes` too.

        Raises:
            ValueError: The password is too short or too simple.
            RefusedError: The code is wrong, used or expired; recorded.
        """
        bureau = self._bureau
        enrolled = self._enrolment.enrol(
            bureau.who,
            account,
            Proof(code=code, password=password),
            bureau.keys.box(),
        )
        facts = _shown(enrolled.contract["name"], enrolled.login)
        if not enrolled.totp_secret:
            return facts
        codes: Listing = [*enrolled.recovery_codes]
        return {**facts, "totp_uri": enrolled.totp_uri, "recovery_codes": codes}

    def list(self, contract: str | None = None) -> list[Facts]:
        """The logins of one contract, or of all.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owners = (
                [contract_named(connection, contract)]
                if contract
                else records.listed(connection, CONTRACT)
            )
            return [
                _shown(owner["name"], row)
                for owner in owners
                for row in records.listed(connection, LOGIN, contract_id=owner["id"])
            ]

    def show(self, account: str) -> Facts:
        """One login with the names of its devices.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.read() as connection:
            contract, login = login_named(connection, account)
            devices = records.listed(connection, DEVICE, login_id=login["id"])
        names: Listing = [device["name"] for device in devices]
        return {
            **_shown(contract["name"], login),
            "id": login["id"],
            "quota_bytes": login["quota_bytes"],
            "quota_files": login["quota_files"],
            "devices": names,
            "enrolment_until": moment(login["enrolment_until_us"]),
        }

    def disable(self, account: str) -> Facts:
        """Keep a login out and cut its sessions.

        Raises:
            NotFoundError: There is none.
        """
        return self._set_state(
            Operation.ADMIN_LOGIN_DISABLE, account, LoginState.DISABLED
        )

    def enable(self, account: str) -> Facts:
        """Let a disabled login in again; one without a password stays invited.

        Raises:
            NotFoundError: There is none.
        """
        return self._set_state(Operation.ADMIN_LOGIN_ENABLE, account, LoginState.ACTIVE)

    def reset(self, account: str, password: str | None = None) -> Facts:
        """Take password and TOTP away and cut the sessions; a new code is needed.

        Args:
            account: As in `add`.
            password: For intake only: its new one, for nobody enrols.

        Returns:
            The login, for people `enrolment_code`, and how many sessions were cut.

        Raises:
            ValueError: A person's password is nobody else's to set.
            NotFoundError: There is none.
            RefusedError: An intake login needs a password, or proves itself by key.
        """
        with self._bureau.change(Operation.ADMIN_LOGIN_RESET) as change:
            change.about(account)
            contract, login = login_named(change.connection, account)
            change.about(f"{login['name']}@{contract['name']}", contract["name"])
            after = {**login, "credentials_us": change.now_us}
            if login["kind"] == LoginKind.INTAKE:
                after["password_hash"] = self._machine_password(login, password)
            elif password is not None:
                raise ValueError(_PERSONS_OWN)
            else:
                after["state"] = str(LoginState.INVITED)
                after["password_hash"] = None
            code = self._invite(after, change.now_us)
            facts = _shown(contract["name"], after)
            change.begin(before=_shown(contract["name"], login), after=facts)
            records.change(change.connection, LOGIN, login["id"], **after)
            _forget_proofs(change, login["id"])
        return {**facts, **code, **self._cut(change, login["id"])}

    def _machine_password(self, login: RowMap, password: str | None) -> str:
        if password is None or login["factors"] == Factors.KEY:
            raise RefusedError(
                "An intake login has no person to enrol: give it a new password "
                "(--password-stdin), or lock its device if it proves itself by key.",
                stage=Stage.LOGIN,
                rule="intake_has_no_person",
            )
        self._require_password("", password)
        return self._bureau.hasher.hash(password)

    def remove(self, account: str) -> Facts:
        """Remove a login and its devices and cut its sessions; its files stay.

        Raises:
            NotFoundError: There is none.
        """
        with self._bureau.change(Operation.ADMIN_LOGIN_REMOVE) as change:
            change.about(account)
            contract, login = login_named(change.connection, account)
            change.about(f"{login['name']}@{contract['name']}", contract["name"])
            change.begin(before=_shown(contract["name"], login))
            _forget_proofs(change, login["id"])
            records.erase(change.connection, MEMBERSHIP, login_id=login["id"])
            records.erase(change.connection, GRANT, subject_id=login["id"])
            records.bury(change.connection, DEVICE, change.now_us, login_id=login["id"])
            records.bury(change.connection, LOGIN, change.now_us, id=login["id"])
        return {
            "login": login["name"],
            "contract": contract["name"],
            **self._cut(change, login["id"]),
        }

    def _credentials(
        self,
        kind: LoginKind,
        totp_rule: Literal["required", "off"] | None,
        factors: Factors | None,
        password: str | None,
    ) -> RowMap:
        """The columns that say how the login proves itself.

        Raises:
            ValueError: A combination that is not acceptable.
        """
        person = kind is not LoginKind.INTAKE
        if person and (password is not None or factors is not None):
            raise ValueError(_PERSONS_OWN)
        if person:
            required = (totp_rule or self._bureau.settings.totp_default) == "required"
            return {
                "kind": str(kind),
                "state": str(LoginState.INVITED),
                "factors": str(Factors.KEY_AND_PASSWORD),
                "totp_required": required,
                "password_hash": None,
            }
        if totp_rule == "required":
            raise ValueError("an intake login cannot type one-time codes")
        chosen = factors or (Factors.KEY if password is None else Factors.PASSWORD)
        if (chosen is Factors.KEY) is not (password is None):
            raise ValueError(
                f"the factors {chosen} do not fit: a password belongs to "
                "`password` and `key+password`"
            )
        if password is not None:
            self._require_password("", password)
        return {
            "kind": str(kind),
            "state": str(LoginState.ACTIVE),
            "factors": str(chosen),
            "totp_required": False,
            "password_hash": password and self._bureau.hasher.hash(password),
        }

    def _require_password(self, account: str, password: str) -> None:
        weak = self._enrolment.weakness(account, password)
        if weak:
            raise ValueError(weak)

    @staticmethod
    def _require_room(change: Change, contract: RowMap, name: str) -> None:
        where = {"contract_id": contract["id"]}
        if records.find(change.connection, LOGIN, name=name, **where):
            raise ExistsError(f"{contract['name']!r} has a login {name!r} already.")
        if records.count(change.connection, LOGIN, **where) >= LOGINS_MAX:
            raise LimitError(
                f"A contract has at most {LOGINS_MAX} logins.", rule="logins_max"
            )

    def _invite(self, row: RowMap, now_us: int) -> Facts:
        """Give a person's row a new enrolment code; nothing for others."""
        if row["state"] != LoginState.INVITED:
            return {}
        code = new_enrolment_code()
        until_us = now_us + self._bureau.settings.enrolment_hours * _HOUR_US
        row["enrolment_hash"] = hash_secret(code)
        row["enrolment_until_us"] = until_us
        return {"enrolment_code": code, "enrolment_until": moment(until_us)}

    def _set_state(
        self, operation: Operation, account: str, state: LoginState
    ) -> Facts:
        with self._bureau.change(operation) as change:
            change.about(account)
            contract, login = login_named(change.connection, account)
            change.about(f"{login['name']}@{contract['name']}", contract["name"])
            if state is LoginState.ACTIVE and _never_enrolled(login):
                state = LoginState.INVITED
            after: RowMap = {**login, "state": str(state)}
            facts = _shown(contract["name"], after)
            change.begin(before=_shown(contract["name"], login), after=facts)
            records.change(change.connection, LOGIN, login["id"], state=str(state))
            if state is LoginState.DISABLED:
                records.erase(change.connection, UNLOCK_WINDOW, login_id=login["id"])
        if state is LoginState.DISABLED:
            facts = {**facts, **self._cut(change, login["id"])}
        return facts

    def _cut(self, change: Change, login_id: str) -> Facts:
        return self._bureau.wait_for_cut(
            change.revision, change.now_us, login_id=login_id
        )


def _never_enrolled(login: RowMap) -> bool:
    return login["password_hash"] is None and login["kind"] != LoginKind.INTAKE


def _forget_proofs(change: Change, login_id: str) -> None:
    records.erase(change.connection, TOTP, login_id=login_id)
    records.erase(change.connection, UNLOCK_WINDOW, login_id=login_id)
    records.erase(change.connection, PENDING_KEY, login_id=login_id)
    drop_codes(change.connection, login_id)


def _shown(contract: str, row: RowMap) -> Facts:
    """A login without its secrets."""
    return {
        "login": row["name"],
        "contract": contract,
        "kind": row["kind"],
        "state": row["state"],
        "factors": row["factors"],
        "totp": "required" if row["totp_required"] else "off",
        "password": "set" if row["password_hash"] else "none",
        "credentials_changed": moment(row["credentials_us"]),
    }
