"""The accounts as a snapshot, and the revision that tells when they changed."""

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Row, Select, select, update

from server.auth.port_set import MapE, Ranges
from server.auth.snapshot import (
    Contract,
    Device,
    DeviceState,
    Factors,
    Folder,
    Grant,
    Group,
    Line,
    LineState,
    Login,
    LoginState,
    Snapshot,
    UnlockWindow,
)
from server.auth.tables import (
    CONTRACT,
    DEVICE,
    DEVICE_CA,
    FOLDER,
    GRANT,
    GROUP,
    LINE,
    LOGIN,
    MEMBERSHIP,
    REVISION,
    SESSION,
    UNLOCK_WINDOW,
)
from server.db.engine import Connection
from server.model.charset import Charset
from server.model.folder import CaseRule, FolderRules, MacFiles
from server.model.identity import LoginKind
from server.model.operation import parse_rights
from server.model.quota import Quota

_LIVING_CONTRACT: Final = CONTRACT.c.removed_us.is_(None)


def read_revision(connection: Connection) -> int:
    """The number that every change of the accounts raises by one."""
    return int(connection.execute(select(REVISION.c.number)).scalar_one())


def bump_revision(connection: Connection) -> int:
    """Raise the revision; its row's lock puts concurrent changes in order."""
    raised = update(REVISION).values(number=REVISION.c.number + 1)
    return int(connection.execute(raised.returning(REVISION.c.number)).scalar_one())


def load_snapshot(connection: Connection) -> Snapshot:
    """Read everything a decision needs; removed rows are left out.

    The caller's transaction must see one state of the database (`db.engine.reading`).
    """
    authorities: dict[str, tuple[str, ...]] = {}
    for row in connection.execute(_living(select(DEVICE_CA))):
        found = authorities.get(row.contract_id, ())
        authorities[row.contract_id] = (*found, row.certificate)
    return Snapshot(
        revision=read_revision(connection),
        contracts=tuple(
            Contract(
                id=row.id,
                name=row.name,
                device_ca=row.device_ca,
                authorities=authorities.get(row.id, ()),
                quota=_quota(row),
            )
            for row in connection.execute(select(CONTRACT).where(_LIVING_CONTRACT))
        ),
        lines=tuple(map(_line, connection.execute(_living(select(LINE))))),
        logins=tuple(map(_login, connection.execute(_living(select(LOGIN))))),
        devices=tuple(map(_device, connection.execute(_living(select(DEVICE))))),
        groups=_groups(connection),
        folders=tuple(map(_folder, connection.execute(_living(select(FOLDER))))),
        grants=tuple(
            Grant(
                folder_id=row.folder_id,
                below=parts(row.below),
                subject_id=row.subject_id,
                rights=parse_rights(row.rights),
            )
            for row in connection.execute(select(GRANT))
        ),
        unlock_windows=tuple(
            UnlockWindow(
                login_id=row.login_id,
                device_id=row.device_id,
                line_id=row.line_id,
                until_us=row.until_us,
            )
            for row in connection.execute(select(UNLOCK_WINDOW))
        ),
        cut_sessions=frozenset(
            connection.execute(
                select(SESSION.c.id).where(
                    SESSION.c.ended_us.is_(None), SESSION.c.cut_asked_us.is_not(None)
                )
            ).scalars()
        ),
    )


def parts(below: str) -> tuple[str, ...]:
    """A grant's path inside its folder as names; empty for all of the folder."""
    return tuple(below.split("/")) if below else ()


def write_networks(networks: Iterable[str]) -> str:
    """Networks as the `line` table keeps them."""
    return json.dumps(list(networks))


def write_ports(ports: Iterable[tuple[int, int]]) -> str:
    """Port ranges as the `line` table keeps them."""
    return json.dumps([list(span) for span in ports])


def read_networks(text: str) -> tuple[str, ...]:
    """Networks from the `line` table."""
    return tuple(json.loads(text))


def read_ports(text: str) -> tuple[tuple[int, int], ...]:
    """Port ranges from the `line` table."""
    return tuple((first, last) for first, last in json.loads(text))


def read_port_set(ports: str, map_e: str) -> Ranges:
    """The source ports of a `line` row: its ranges, or those of its MAP-E values."""
    return MapE.parse(map_e).ranges() if map_e else read_ports(ports)


def _living(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    table = query.get_final_froms()[0]
    return query.join(CONTRACT, table.c.contract_id == CONTRACT.c.id).where(
        table.c.removed_us.is_(None), _LIVING_CONTRACT
    )


def _line(row: Row[*tuple[Any, ...]]) -> Line:
    return Line(
        id=row.id,
        contract_id=row.contract_id,
        name=row.name,
        networks=read_networks(row.networks),
        ports=read_port_set(row.ports, row.map_e),
        valid_from_us=row.valid_from_us,
        valid_until_us=row.valid_until_us,
        state=LineState(row.state),
        crypto=row.crypto,
    )


def _login(row: Row[*tuple[Any, ...]]) -> Login:
    return Login(
        id=row.id,
        contract_id=row.contract_id,
        name=row.name,
        kind=LoginKind(row.kind),
        state=LoginState(row.state),
        factors=Factors(row.factors),
        password_hash=row.password_hash,
        totp_required=row.totp_required,
        credentials_us=row.credentials_us,
        enrolment_hash=row.enrolment_hash,
        enrolment_until_us=row.enrolment_until_us,
        quota=_quota(row),
    )


def _quota(row: Row[*tuple[Any, ...]]) -> Quota:
    return Quota(bytes=row.quota_bytes, files=row.quota_files)


def _device(row: Row[*tuple[Any, ...]]) -> Device:
    return Device(
        id=row.id,
        contract_id=row.contract_id,
        login_id=row.login_id,
        name=row.name,
        state=DeviceState(row.state),
        key_sha256=row.key_sha256,
        certificate=row.certificate,
        secret_hash=row.secret_hash,
        valid_until_us=row.valid_until_us,
        weak_key=row.weak_key,
        charset=Charset(row.charset),
    )


def _folder(row: Row[*tuple[Any, ...]]) -> Folder:
    return Folder(
        id=row.id,
        contract_id=row.contract_id,
        name=row.name,
        rules=FolderRules(
            case=CaseRule(row.case_rule), mac_files=MacFiles(row.mac_files)
        ),
        quota=_quota(row),
    )


def _groups(connection: Connection) -> tuple[Group, ...]:
    members: dict[str, set[str]] = {}
    for row in connection.execute(select(MEMBERSHIP)):
        members.setdefault(row.group_id, set()).add(row.login_id)
    return tuple(
        Group(
            id=row.id,
            contract_id=row.contract_id,
            name=row.name,
            members=frozenset(members.get(row.id, ())),
        )
        for row in connection.execute(_living(select(GROUP)))
    )
