"""The chain as pure decisions: every combination of kind, proofs, states and line."""

from dataclasses import replace
from itertools import product

import pytest

from server.auth.admission import (
    Admission,
    Candidate,
    Need,
    Proved,
    Refusal,
    needs_of,
    next_need,
)
from server.auth.snapshot import (
    Contract,
    Device,
    DeviceState,
    Factors,
    Line,
    LineState,
    Login,
    LoginState,
    Snapshot,
)
from server.model.identity import Actor, LoginKind, Source
from server.model.operation import Protocol, Stage

NOW_US = 1_000_000
SOURCE = Source(ip="192.0.2.7", port=40000)

LINE = Line(id="l1", contract_id="c1", name="office", networks=("192.0.2.0/24",))
ALICE = Login(
    id="u1",
    contract_id="c1",
    name="alice",
    kind=LoginKind.USER,
    state=LoginState.ACTIVE,
    totp_required=True,
    credentials_us=5,
)
LAPTOP = Device(
    id="d1",
    contract_id="c1",
    login_id="u1",
    name="laptop",
    state=DeviceState.ACTIVE,
    key_sha256="aa",
)
ACTOR = Actor(
    protocol=Protocol.SFTP,
    contract_id="c1",
    login_id="u1",
    device="d1",
    line_id="l1",
    source=SOURCE,
    session="s1",
)


def accounts(
    *,
    lines: tuple[Line, ...] = (LINE,),
    logins: tuple[Login, ...] = (ALICE,),
    devices: tuple[Device, ...] = (LAPTOP,),
    cut: frozenset[str] = frozenset(),
) -> Admission:
    return Admission(
        Snapshot(
            revision=1,
            contracts=(Contract(id="c1", name="main"), Contract(id="c2", name="other")),
            lines=lines,
            logins=logins,
            devices=devices,
            cut_sessions=cut,
        )
    )


PEOPLE = [kind for kind in LoginKind if kind is not LoginKind.INTAKE]


@pytest.mark.parametrize(
    ("kind", "totp", "key", "password", "code"),
    list(product(PEOPLE, *[[False, True]] * 4)),
)
def test_people_are_admitted_only_with_everything(
    kind: LoginKind,
    *,
    totp: bool,
    key: bool,
    password: bool,
    code: bool,
) -> None:
    """No combination of fewer proofs may ever be enough."""
    login = replace(ALICE, kind=kind, totp_required=totp)
    proved = Proved(device=LAPTOP if key else None, password=password, code=code)

    admitted = next_need(login, proved) is Need.NOTHING

    assert admitted == (key and password and (code or not totp))


@pytest.mark.parametrize("factors", list(Factors))
def test_factors_of_a_person_are_ignored(factors: Factors) -> None:
    """A row changed by hand must not take a person's device away from the chain."""
    login = replace(ALICE, factors=factors)

    assert needs_of(login) == (Need.KEY, Need.PASSWORD, Need.CODE)


@pytest.mark.parametrize(
    ("factors", "key", "password"), list(product(Factors, [False, True], [False, True]))
)
def test_intake_is_admitted_with_its_factors(
    factors: Factors, *, key: bool, password: bool
) -> None:
    """A machine proves what its line in the accounts says, never a code."""
    login = replace(ALICE, kind=LoginKind.INTAKE, factors=factors)
    proved = Proved(device=LAPTOP if key else None, password=password)

    admitted = next_need(login, proved) is Need.NOTHING

    wanted = {"key": key, "password": password}
    assert admitted == all(wanted[word] for word in str(factors).split("+"))


@pytest.mark.parametrize(
    ("kind", "state", "rule"),
    [
        (kind, state, rule)
        for kind in LoginKind
        for state, rule in [
            (LoginState.ACTIVE, ""),
            (LoginState.INVITED, "not_enrolled"),
            (LoginState.DISABLED, "login_disabled"),
        ]
    ],
)
def test_only_active_logins_with_files_stand(
    kind: LoginKind, state: LoginState, rule: str
) -> None:
    """An auditor has no files, whatever the state of the login."""
    refusal = Admission.standing(replace(ALICE, kind=kind, state=state))

    expected = "auditor_has_no_files" if kind is LoginKind.AUDITOR else rule
    assert (refusal.rule if refusal else "") == expected


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, ""),
        ({"state": DeviceState.LOCKED}, "device_locked"),
        ({"state": DeviceState.PENDING}, "device_pending"),
        ({"valid_until_us": NOW_US}, "device_expired"),
        ({"valid_until_us": NOW_US + 1}, ""),
        ({"login_id": "u2"}, "device_of_another_login"),
        ({"contract_id": "c2"}, "unknown_key"),
        ({"key_sha256": "bb"}, "unknown_key"),
    ],
)
def test_only_the_logins_own_usable_device_counts(
    change: dict[str, object], rule: str
) -> None:
    """The key of another login or contract is no better than none."""
    device = replace(LAPTOP, **change)  # type: ignore[arg-type]  # values of its fields

    found = accounts(devices=(device,)).device_by_key(ALICE, "aa", NOW_US)

    assert (found.rule if isinstance(found, Refusal) else "") == rule


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, ""),
        ({"state": LineState.SUSPENDED}, "line_suspended"),
        ({"valid_until_us": NOW_US}, "line_expired"),
        ({"networks": ("198.51.100.0/24",)}, "no_line"),
        ({"networks": ()}, "no_line"),
        ({"ports": ((1024, 2047),)}, "port"),
        ({"ports": ((1024, 2047), (40000, 40000))}, ""),
        ({"networks": ("2001:db8::/32", "192.0.2.7/32")}, ""),
    ],
)
def test_the_line_decides_first(change: dict[str, object], rule: str) -> None:
    """Right ID and password do not help from outside the contracted line."""
    line = replace(LINE, **change)  # type: ignore[arg-type]  # values of its fields

    found = accounts(lines=(line,)).candidate("alice", SOURCE, NOW_US)

    assert (found.rule if isinstance(found, Refusal) else "") == rule
    assert not isinstance(found, Refusal) or found.stage is Stage.LINE


def test_the_longest_prefix_governs() -> None:
    """A suspended part of an office network stays out of the wider line."""
    part = replace(LINE, id="l2", networks=("192.0.2.0/28",), state=LineState.SUSPENDED)

    inside = accounts(lines=(LINE, part)).lines(SOURCE, NOW_US)
    outside = accounts(lines=(LINE, part)).lines(
        Source(ip="192.0.2.99", port=1), NOW_US
    )

    assert inside == Refusal(Stage.LINE, "line_suspended")
    assert outside == (LINE,)


def test_a_port_set_leaves_other_ports_to_the_wider_line() -> None:
    """MAP-E subscribers share an IPv4 address and differ in their ports."""
    shared = replace(LINE, id="l2", networks=("192.0.2.7/32",), ports=((1024, 2047),))

    found = accounts(lines=(LINE, shared)).lines(SOURCE, NOW_US)

    assert found == (LINE,)


def test_a_name_without_contract_must_be_unambiguous() -> None:
    """Guessing a tenant would let one office in as another."""
    line = replace(LINE, id="l2", contract_id="c2")
    twin = replace(ALICE, id="u2", contract_id="c2")
    admission = accounts(lines=(LINE, line), logins=(ALICE, twin))

    unclear = admission.candidate("alice", SOURCE, NOW_US)
    named = admission.candidate("alice@other", SOURCE, NOW_US)

    assert unclear == Refusal(Stage.LOGIN, "ambiguous_login")
    assert isinstance(named, Candidate)
    assert named.login.id == "u2"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bob", Refusal(Stage.LOGIN, "unknown_login")),
        ("alice@nowhere", Refusal(Stage.LOGIN, "unknown_contract")),
        ("alice@other", Refusal(Stage.LINE, "line_of_another_contract")),
        ("", Refusal(Stage.LOGIN, "unknown_login")),
        ("@", Refusal(Stage.LOGIN, "unknown_contract")),
        ("Alice", Refusal(Stage.LOGIN, "unknown_login")),
    ],
)
def test_names_that_nobody_has_are_refused(name: str, expected: Refusal) -> None:
    """The trail tells them apart; the wire does not."""
    assert accounts().candidate(name, SOURCE, NOW_US) == expected


@pytest.mark.parametrize(
    ("admission", "rule"),
    [
        (accounts(), ""),
        (accounts(cut=frozenset({"s1"})), "session_cut"),
        (accounts(logins=()), "login_removed"),
        (accounts(logins=(replace(ALICE, credentials_us=6),)), "credentials_changed"),
        (
            accounts(logins=(replace(ALICE, state=LoginState.DISABLED),)),
            "login_disabled",
        ),
        (accounts(devices=()), "device_removed"),
        (
            accounts(devices=(replace(LAPTOP, state=DeviceState.LOCKED),)),
            "device_locked",
        ),
        (accounts(devices=(replace(LAPTOP, valid_until_us=1),)), "device_expired"),
        (accounts(lines=()), "line_removed"),
        (accounts(lines=(replace(LINE, networks=("192.0.2.0/30",)),)), "line_narrowed"),
        (accounts(lines=(replace(LINE, ports=((1, 2),)),)), "line_narrowed"),
        (
            accounts(lines=(replace(LINE, state=LineState.SUSPENDED),)),
            "line_suspended",
        ),
        (accounts(lines=(replace(LINE, valid_until_us=1),)), "line_expired"),
        (
            accounts(lines=(LINE, replace(LINE, id="l2", networks=("192.0.2.7/32",)))),
            "line_narrowed",
        ),
    ],
)
def test_a_live_session_goes_on_only_while_all_of_it_stands(
    admission: Admission, rule: str
) -> None:
    """What would refuse the login now cuts the session now."""
    assert admission.cut_rule(ACTOR, 5, NOW_US) == rule
