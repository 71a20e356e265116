"""The ordered chain line -> login -> device -> password -> code, as pure decisions.

No I/O and no clock: the accounts are a snapshot, the time is an argument, and what was
proved (a signature, a password, a code) is told by the caller. So a decision can be
replayed, and the true stage and rule go to the trail while the wire learns neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from server.auth.line import LineIndex
from server.auth.snapshot import (
    Device,
    DeviceState,
    Factors,
    Line,
    Login,
    LoginState,
    Snapshot,
)
from server.model.algorithms import LineCrypto, Profile, old_algorithms
from server.model.identity import Actor, LoginKind, Source
from server.model.operation import Stage

_FAR_FUTURE_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who says no, and by which rule; for the trail only."""

    stage: Stage
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who the source claims to be; nothing is proved yet."""

    login: Login
    line: Line
    contract: str
    """The contract's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What a connection has proved so far."""

    device: Device | None = None
    password: bool = False
    code: bool = False


class Need(Enum):
    """What comes next in the chain."""

    KEY = auto()
    PASSWORD = auto()
    CODE = auto()
    NOTHING = auto()


_INTAKE_NEEDS: Final[dict[Factors, tuple[Need, ...]]] = {
    Factors.KEY: (Need.KEY,),
    Factors.PASSWORD: (Need.PASSWORD,),
    Factors.KEY_AND_PASSWORD: (Need.KEY, Need.PASSWORD),
}


def needs_of(login: Login) -> tuple[Need, ...]:
    """All that `login` must prove, in order; only intake may have less than people."""
    if login.kind is LoginKind.INTAKE:
        return _INTAKE_NEEDS[login.factors]
    if login.totp_required:
        return (Need.KEY, Need.PASSWORD, Need.CODE)
    return (Need.KEY, Need.PASSWORD)


def next_need(login: Login, proved: Proved) -> Need:
    """The first thing of the chain that is not proved yet."""
    missing = {
        Need.KEY: proved.device is None,
        Need.PASSWORD: not proved.password,
        Need.CODE: not proved.code,
    }
    return next((need for need in needs_of(login) if missing[need]), Need.NOTHING)


class Admission:
    """The rules over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Index `snapshot` by what a connection names."""
        self.snapshot: Final = snapshot
        self._lines = LineIndex(snapshot.lines)
        self._contracts = {c.name: c.id for c in snapshot.contracts}
        self._contract_names = {c.id: c.name for c in snapshot.contracts}
        self._logins = {(x.contract_id, x.name): x for x in snapshot.logins}
        self._by_key = {
            (device.contract_id, device.key_sha256): device
            for device in snapshot.devices
            if device.key_sha256
        }
        self._by_name = {(d.login_id, d.name): d for d in snapshot.devices}
        self._windows = {
            (w.login_id, w.device_id, w.line_id): w.until_us
            for w in snapshot.unlock_windows
        }

    def lines(self, source: Source, now_us: int) -> tuple[Line, ...] | Refusal:
        """The lines that a source lies in, at most one of each contract."""
        found = self._lines.find(source, now_us)
        return found.lines or Refusal(Stage.LINE, found.rule)

    @staticmethod
    def profile(lines: Iterable[Line], now_us: int) -> Profile:
        """The algorithms that a connection from these lines is offered."""
        return max(
            (LineCrypto.parse(line.crypto).now(now_us) for line in lines),
            key=list(Profile).index,
            default=Profile.MODERN,
        )

    @staticmethod
    def crypto(candidate: Candidate, agreed: str, now_us: int) -> Refusal | None:
        """Whether a login may finish over the algorithms that were agreed on."""
        if not old_algorithms(agreed):
            return None
        legacy = LineCrypto.parse(candidate.line.crypto).now(now_us)
        if candidate.login.kind is LoginKind.INTAKE and legacy is not Profile.MODERN:
            return None
        return Refusal(Stage.LINE, "legacy_crypto")

    @staticmethod
    def strength(candidate: Candidate, device: Device, now_us: int) -> Refusal | None:
        """Whether the device's key is good enough for this login on this line."""
        legacy = LineCrypto.parse(candidate.line.crypto).now(now_us)
        intake = candidate.login.kind is LoginKind.INTAKE
        if not device.weak_key or (intake and legacy is not Profile.MODERN):
            return None
        return Refusal(Stage.DEVICE, "weak_key")

    def candidate(self, name: str, source: Source, now_us: int) -> Candidate | Refusal:
        """Who is meant by `alice` or `alice@contract` on this source.

        A name without a contract counts among the contracts whose lines hold the
        source; where two have it, neither is meant.
        """
        lines = self.lines(source, now_us)
        if isinstance(lines, Refusal):
            return lines
        login_name, at, contract = name.rpartition("@")
        if not at:
            login_name = name
        else:
            contract_id = self._contracts.get(contract)
            if contract_id is None:
                return Refusal(Stage.LOGIN, "unknown_contract")
            lines = tuple(line for line in lines if line.contract_id == contract_id)
            if not lines:
                return Refusal(Stage.LINE, "line_of_another_contract")
        return self._choose(login_name, lines)

    def _choose(self, name: str, lines: tuple[Line, ...]) -> Candidate | Refusal:
        found = [
            Candidate(
                login=login,
                line=line,
                contract=self._contract_names.get(line.contract_id, ""),
            )
            for line in lines
            if (login := self._logins.get((line.contract_id, name))) is not None
        ]
        if len(found) != 1:
            rule = "ambiguous_login" if found else "unknown_login"
            return Refusal(Stage.LOGIN, rule)
        return found[0]

    @staticmethod
    def standing(login: Login) -> Refusal | None:
        """Whether a login may reach files at all."""
        if login.kind is LoginKind.AUDITOR:
            return Refusal(Stage.LOGIN, "auditor_has_no_files")
        match login.state:
            case LoginState.ACTIVE:
                return None
            case LoginState.INVITED:
                return Refusal(Stage.LOGIN, "not_enrolled")
            case LoginState.DISABLED:
                return Refusal(Stage.LOGIN, "login_disabled")

    def device_by_key(
        self, login: Login, key_sha256: str, now_us: int
    ) -> Device | Refusal:
        """The login's own device that has this key, if it may be used."""
        device = self._by_key.get((login.contract_id, key_sha256))
        if device is None:
            return Refusal(Stage.DEVICE, "unknown_key")
        if device.login_id != login.id:
            return Refusal(Stage.DEVICE, "device_of_another_login")
        return _usable(device, now_us)

    def device_by_name(self, login: Login, name: str, now_us: int) -> Device | Refusal:
        """The login's own device of this name, if it may be used and has a secret."""
        device = self._by_name.get((login.id, name))
        if device is None:
            return Refusal(Stage.DEVICE, "unknown_device")
        if device.secret_hash is None:
            return Refusal(Stage.DEVICE, "no_secret")
        return _usable(device, now_us)

    def window_us(self, login: Login, device: Device | None, line: Line) -> int:
        """Until when an unlock window stands; 0 when there is none."""
        device_id = device.id if device else ""
        return self._windows.get((login.id, device_id, line.id), 0)

    def cut_rule(self, actor: Actor, credentials_us: int, now_us: int) -> str:
        """Why a live session may not go on; empty while it may.

        Args:
            actor: The session's.
            credentials_us: The login's `credentials_us` when it was admitted.
            now_us: Wall clock.
        """
        if actor.session in self.snapshot.cut_sessions:
            return "session_cut"
        if actor.contract_id not in self._contract_names:
            return "contract_removed"
        return (
            self._login_rule(actor, credentials_us)
            or self._device_rule(actor, now_us)
            or self._line_rule(actor, now_us)
        )

    def _login_rule(self, actor: Actor, credentials_us: int) -> str:
        login = self.snapshot.login(actor.login_id)
        if login is None:
            return "login_removed"
        if login.credentials_us != credentials_us:
            return "credentials_changed"
        refusal = self.standing(login)
        return refusal.rule if refusal else ""

    def _device_rule(self, actor: Actor, now_us: int) -> str:
        if not actor.device:
            return ""
        device = self.snapshot.device(actor.device)
        if device is None:
            return "device_removed"
        found = _usable(device, now_us)
        return found.rule if isinstance(found, Refusal) else ""

    def _line_rule(self, actor: Actor, now_us: int) -> str:
        line = self.snapshot.line(actor.line_id)
        if line is None:
            return "line_removed"
        if actor.source is None:
            return "line_narrowed"
        found = self._lines.find(actor.source, now_us)
        if any(other.id == line.id for other in found.lines):
            over = LineCrypto.parse(line.crypto).now(now_us) is Profile.MODERN
            return "legacy_crypto" if over and old_algorithms(actor.algorithms) else ""
        alone = LineIndex([line]).find(actor.source, now_us)
        return alone.rule if alone.rule.startswith("line_") else "line_narrowed"


def _usable(device: Device, now_us: int) -> Device | Refusal:
    match device.state:
        case DeviceState.LOCKED:
            return Refusal(Stage.DEVICE, "device_locked")
        case DeviceState.PENDING:
            return Refusal(Stage.DEVICE, "device_pending")
        case DeviceState.ACTIVE:
            pass
    end_us = device.valid_until_us
    if (_FAR_FUTURE_US if end_us is None else end_us) <= now_us:
        return Refusal(Stage.DEVICE, "device_expired")
    return device
