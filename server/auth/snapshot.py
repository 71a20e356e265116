"""The accounts as one immutable value per revision.

Every decision (admission, rights) is taken over a snapshot, so that it needs no I/O
and can be replayed. `auth.accounts` loads it from the database.
"""

from dataclasses import dataclass, field
from enum import StrEnum, unique

from server.model.charset import Charset
from server.model.folder import USUAL, FolderRules
from server.model.identity import LoginKind
from server.model.operation import Right
from server.model.quota import NO_QUOTA, Quota


@unique
class LineState(StrEnum):
    """Whether a line may be used."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@unique
class LoginState(StrEnum):
    """Where a login stands."""

    INVITED = "invited"
    """Added; the person has not set a password yet."""
    ACTIVE = "active"
    DISABLED = "disabled"


@unique
class DeviceState(StrEnum):
    """Where a device stands; expiry follows from `valid_until_us`."""

    PENDING = "pending"
    ACTIVE = "active"
    LOCKED = "locked"


@unique
class Factors(StrEnum):
    """What a login must prove beside its line. Only `intake` may have less than all."""

    KEY_AND_PASSWORD = "key+password"  # noqa: S105 - a kind of factor, not a secret
    KEY = "key"
    PASSWORD = "password"  # noqa: S105 - a kind of factor, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A tenant."""

    id: str
    name: str
    device_ca: str = ""
    """PEM of the authority that signs its devices' certificates."""
    authorities: tuple[str, ...] = ()
    """PEM of authorities of its own that do so too."""
    quota: Quota = NO_QUOTA
    """Of all that it keeps, trash and staged files too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where a contract may come from."""

    id: str
    contract_id: str
    name: str
    networks: tuple[str, ...]
    """CIDR texts, IPv6 or IPv4."""
    ports: tuple[tuple[int, int], ...] = ()
    """Source-port ranges, both ends included; empty means any port."""
    valid_from_us: int | None = None
    valid_until_us: int | None = None
    state: LineState = LineState.ACTIVE
    crypto: str = "modern"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One person or one machine of a contract."""

    id: str
    contract_id: str
    name: str
    kind: LoginKind
    state: LoginState
    factors: Factors = Factors.KEY_AND_PASSWORD
    password_hash: str | None = field(default=None, repr=False)
    totp_required: bool = False
    credentials_us: int = 0
    """When password or TOTP last changed: sessions that began before are cut."""
    enrolment_hash: str | None = field(default=None, repr=False)
    enrolment_until_us: int | None = None
    quota: Quota = NO_QUOTA
    """Of what stands in its own folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A registered client key of a login."""

    id: str
    contract_id: str
    login_id: str
    name: str
    state: DeviceState
    key_sha256: str = ""
    """SHA-256 of the SubjectPublicKeyInfo (DER), hexadecimal; empty for a device that
    has a secret only."""
    certificate: str = ""
    """PEM of a pinned certificate; empty when the contract's device CA issued it."""
    secret_hash: str | None = field(default=None, repr=False)
    valid_until_us: int | None = None
    weak_key: bool = False
    """RSA below 2048 bits: for an intake login on a line with old algorithms."""
    charset: Charset = Charset.UTF8
    """How it writes names over SFTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Logins that share grants."""

    id: str
    contract_id: str
    name: str
    members: frozenset[str]
    """Ids of logins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A shared folder of a contract, `/shared/<name>`."""

    id: str
    contract_id: str
    name: str
    rules: FolderRules = USUAL
    quota: Quota = NO_QUOTA
    """Of what stands in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Rights of a login or group on a folder, or on a part of it and all below."""

    folder_id: str
    below: tuple[str, ...]
    """Path inside the folder; empty for all of it."""
    subject_id: str
    """Id of a login or of a group."""
    rights: Right


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlockWindow:
    """TOTP was proved: login, device and line may go on with the password alone."""

    login_id: str
    device_id: str
    line_id: str
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All accounts at one revision."""

    revision: int
    contracts: tuple[Contract, ...] = ()
    lines: tuple[Line, ...] = ()
    logins: tuple[Login, ...] = ()
    devices: tuple[Device, ...] = ()
    groups: tuple[Group, ...] = ()
    folders: tuple[Folder, ...] = ()
    grants: tuple[Grant, ...] = ()
    unlock_windows: tuple[UnlockWindow, ...] = ()
    cut_sessions: frozenset[str] = frozenset()
    """Ids of sessions that an admin cut."""

    _logins: dict[str, Login] = field(init=False, repr=False, compare=False)
    _devices: dict[str, Device] = field(init=False, repr=False, compare=False)
    _lines: dict[str, Line] = field(init=False, repr=False, compare=False)
    _subjects: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    _grants: dict[str, tuple[Grant, ...]] = field(init=False, repr=False, compare=False)
    _folders: dict[str, tuple[Folder, ...]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Build the indexes that the paths of a request use."""
        put = object.__setattr__
        put(self, "_logins", {login.id: login for login in self.logins})
        put(self, "_devices", {device.id: device for device in self.devices})
        put(self, "_lines", {line.id: line for line in self.lines})
        subjects = {
            login.id: frozenset([
                login.id,
                *(g.id for g in self.groups if login.id in g.members),
            ])
            for login in self.logins
        }
        put(self, "_subjects", subjects)
        grants: dict[str, list[Grant]] = {}
        for grant in self.grants:
            grants.setdefault(grant.folder_id, []).append(grant)
        put(self, "_grants", {key: tuple(found) for key, found in grants.items()})
        folders: dict[str, list[Folder]] = {}
        for folder in self.folders:
            folders.setdefault(folder.contract_id, []).append(folder)
        put(self, "_folders", {key: tuple(found) for key, found in folders.items()})

    def contract(self, contract_id: str) -> Contract | None:
        """The contract with this id."""
        return next((c for c in self.contracts if c.id == contract_id), None)

    def login(self, login_id: str) -> Login | None:
        """The login with this id."""
        return self._logins.get(login_id)

    def device(self, device_id: str) -> Device | None:
        """The device with this id."""
        return self._devices.get(device_id)

    def line(self, line_id: str) -> Line | None:
        """The line with this id."""
        return self._lines.get(line_id)

    def subjects(self, login_id: str) -> frozenset[str]:
        """The login's own id and those of its groups; empty for an unknown login."""
        return self._subjects.get(login_id, frozenset())

    def folders_of(self, contract_id: str) -> tuple[Folder, ...]:
        """A contract's shared folders."""
        return self._folders.get(contract_id, ())

    def grants_on(self, folder_id: str) -> tuple[Grant, ...]:
        """The grants that were given on a shared folder."""
        return self._grants.get(folder_id, ())
