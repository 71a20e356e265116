"""The verbs: each one an act on record, with a clear word when it cannot be."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from server.access.devices import Offer, Package
from server.auth import certificates, records
from server.auth.keeping import kept_longer
from server.auth.keys import KeyRefusedError, parse_certificate, spki_sha256
from server.auth.snapshot import Factors, LoginState
from server.auth.tables import LOGIN
from server.db.engine import reading, writing
from server.model.errors import (
    ExistsError,
    LimitError,
    NotFoundError,
    PathRefusedError,
    RefusedError,
)
from server.model.identity import LoginKind
from server.model.operation import PRESETS, Right
from tests.support.accounts import PASSWORD, Accounts, Client, add_person, opened
from tests.unit.access.conftest import new_client


def test_a_change_is_one_act_with_before_and_after(store: Accounts) -> None:
    """The trail alone must tell what an administrator did."""
    store.administration.lines.suspend("main", "office")

    intent, outcome = store.records(operation="admin.line.suspend")
    assert [intent["phase"], outcome["phase"]] == ["intent", "outcome"]
    assert outcome["outcome"] == "done"
    assert (intent["login"], intent["protocol"]) == ("os:tester", "cli")
    assert (intent["contract"], intent["target"]) == ("main", "main/office")
    assert intent["detail"]["before"]["state"] == "active"
    assert intent["detail"]["after"]["state"] == "suspended"


def test_a_verb_about_nothing_is_a_failed_record(store: Accounts) -> None:
    """Looking for accounts that are not there is worth a row too."""
    with pytest.raises(NotFoundError, match="nobody"):
        store.administration.logins.disable("nobody")

    (record,) = store.records(operation="admin.login.disable")
    assert (record["phase"], record["reason"]) == ("event", "not_found")
    assert record["target"] == "nobody"


def test_a_failed_change_leaves_neither_rows_nor_revision(store: Accounts) -> None:
    """A verb is done wholly or not at all."""
    before = store.administration.revision()

    with pytest.raises(ExistsError):
        store.administration.lines.add("main", "office", networks=("2001:db8::/32",))

    assert store.administration.revision() == before


def test_enrolment_sets_the_password_once(store: Accounts) -> None:
    """Only the person knows the password; the code is worth nothing afterwards."""
    added = store.administration.logins.add("alice", totp_rule="required")
    code = str(added["enrolment_code"])

    with pytest.raises(RefusedError, match="code"):
        store.administration.logins.enrol("alice", "wrong-code", PASSWORD)
    with pytest.raises(ValueError, match="10 characters"):
        store.administration.logins.enrol("alice", code, "short")
    facts = store.administration.logins.enrol("alice", code.upper(), PASSWORD)
    with pytest.raises(RefusedError):
        store.administration.logins.enrol("alice", code, PASSWORD)

    assert facts["state"] == LoginState.ACTIVE
    assert str(facts["totp_uri"]).startswith("otpauth://totp/Kagikura:alice")


def test_an_enrolment_code_expires(store: Accounts) -> None:
    """A letter that was found next year must open nothing."""
    added = store.administration.logins.add("alice")
    store.clock.ahead_us += 73 * 3600 * 1_000_000

    with pytest.raises(RefusedError, match="expired"):
        store.administration.logins.enrol(
            "alice", str(added["enrolment_code"]), PASSWORD
        )


def test_no_secret_of_administration_stands_in_the_trail(
    store: Accounts, laptop: Client
) -> None:
    """Codes, secrets and hashes are shown once and recorded never."""
    admin = store.administration
    added = admin.logins.add("alice", totp_rule="required")
    enrolled = admin.logins.enrol("alice", str(added["enrolment_code"]), PASSWORD)
    _, issued = admin.devices.add(
        "alice", "laptop", Offer(issue=Package.P12, secret=True)
    )
    again = admin.logins.reset("alice")
    uri = str(enrolled["totp_uri"])
    secrets = [
        PASSWORD,
        str(added["enrolment_code"]),
        str(again["enrolment_code"]),
        uri.partition("secret=")[2].partition("&")[0],
        issued.secret,
        issued.file_password,
        "argon2",
        "sha256:",
        "PRIVATE KEY",
    ]

    trail = "".join(
        path.read_text() for path in store.settings.state_dir.rglob("*.jsonl")
    )

    assert not [secret for secret in secrets if secret in trail]


@pytest.mark.parametrize(
    ("kind", "totp_rule", "factors", "password"),
    [
        (LoginKind.USER, None, None, PASSWORD),
        (LoginKind.ADMIN, None, Factors.KEY, None),
        (LoginKind.INTAKE, "required", None, PASSWORD),
        (LoginKind.INTAKE, None, Factors.PASSWORD, None),
        (LoginKind.INTAKE, None, Factors.KEY, PASSWORD),
        (LoginKind.INTAKE, None, None, "short"),
    ],
)
def test_unfit_factors_are_a_usage_error(
    store: Accounts,
    kind: LoginKind,
    totp_rule: str | None,
    factors: Factors | None,
    password: str | None,
) -> None:
    """Nobody but the person sets a person's password."""
    with pytest.raises(ValueError, match=r"\w"):
        store.administration.logins.add(
            "x",
            kind=kind,
            totp_rule=totp_rule,  # type: ignore[arg-type]  # one of the two words
            factors=factors,
            password=password,
        )


@pytest.mark.parametrize("name", ["", "Alice", "a b", "-a", "a" * 64, "日本", "a/b"])
def test_names_follow_their_rule(store: Accounts, name: str) -> None:
    """A name stands in user names of protocols and must be typed everywhere."""
    with pytest.raises(ValueError, match="cannot be the name"):
        store.administration.logins.add(name)


def test_a_contract_has_room_for_999_logins(store: Accounts) -> None:
    """The reference service's promise, and its bound."""
    admin = store.administration
    admin.logins.add("m0", kind=LoginKind.INTAKE, factors=Factors.KEY)
    with writing(store.engine) as connection:
        (first,) = records.listed(connection, LOGIN)
        for number in range(1, 998):
            row = {**first, "id": records.new_id(), "name": f"m{number}"}
            records.add(connection, LOGIN, **row)
    admin.logins.add("m998", kind=LoginKind.INTAKE, factors=Factors.KEY)

    with pytest.raises(LimitError, match="999"):
        store.administration.logins.add("one-too-many")


def test_a_name_is_free_again_and_its_id_is_not(
    store: Accounts, laptop: Client
) -> None:
    """A new alice must never meet the old one's files."""
    add_person(store, "alice", laptop.ssh_key)
    old = store.administration.logins.show("alice")["id"]

    store.administration.logins.remove("alice")
    add_person(store, "alice", laptop.ssh_key)

    assert store.administration.logins.show("alice")["id"] != old


def test_a_key_stands_for_one_device(store: Accounts, laptop: Client) -> None:
    """Locking a device must lock its key, wherever it is used."""
    add_person(store, "alice", laptop.ssh_key)
    add_person(store, "bob", new_client().ssh_key)

    with pytest.raises(ExistsError, match="already that of"):
        store.administration.devices.add("bob", "copy", Offer(ssh_key=laptop.ssh_key))
    with pytest.raises(ExistsError, match="another device name"):
        store.administration.devices.add(
            "alice", "laptop", Offer(ssh_key=new_client().ssh_key)
        )


def test_an_issued_pem_serves_both_protocols(store: Accounts) -> None:
    """One key pair: the certificate for TLS, the same key for SSH."""
    store.administration.logins.add("alice")

    facts, issued = store.administration.devices.add(
        "alice", "laptop", Offer(issue=Package.PEM)
    )

    pem = issued.file.decode()
    key = certificates.load_key(pem)
    assert facts["key_sha256"] == parse_certificate(pem)[1]
    assert facts["key_sha256"] == spki_sha256(key.public_key())
    assert facts["ssh"] is True
    assert issued.ssh_private_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


def test_an_issued_p12_opens_with_its_password(store: Accounts) -> None:
    """The password is shown this once; without it the file is worth nothing."""
    store.administration.logins.add("alice")

    facts, issued = store.administration.devices.add(
        "alice", "laptop", Offer(issue=Package.P12)
    )

    packed = pkcs12.load_pkcs12(issued.file, issued.file_password.encode())
    assert packed.cert is not None
    public = packed.cert.certificate.public_key()
    assert spki_sha256(public) == facts["key_sha256"]  # type: ignore[arg-type]  # P-256
    with pytest.raises(ValueError, match=r"\w"):
        pkcs12.load_pkcs12(issued.file, b"wrong")


def test_a_known_ssh_key_gets_a_certificate_without_its_private_half(
    store: Accounts, laptop: Client
) -> None:
    """The owner's key never leaves the owner."""
    add_person(store, "alice", laptop.ssh_key)

    with pytest.raises(ExistsError, match=r"\.p12"):
        store.administration.devices.add("alice", "laptop", Offer(issue=Package.P12))
    _, issued = store.administration.devices.add(
        "alice", "laptop", Offer(issue=Package.PEM)
    )

    assert parse_certificate(issued.file.decode())[1] == laptop.key_sha256
    assert b"PRIVATE" not in issued.file


def test_a_pinned_certificate_must_be_of_the_same_key(
    store: Accounts, laptop: Client
) -> None:
    """Two keys under one name could not be locked apart."""
    store.administration.logins.add("alice")
    authority = certificates.new_authority("their own")
    key = certificates.new_key()
    pem = certificates.certificate_pem(
        certificates.issue_device(authority, "pc", key.public_key())
    )

    with pytest.raises(KeyRefusedError, match="two keys"):
        store.administration.devices.add(
            "alice", "pc", Offer(ssh_key=laptop.ssh_key, certificate=pem)
        )
    facts, _ = store.administration.devices.add(
        "alice", "pc", Offer(ssh_key=certificates.ssh_public(key), certificate=pem)
    )

    assert facts["pinned_certificate"] is True
    assert x509.load_pem_x509_certificate(
        str(
            store.administration.devices.show("alice", "pc")["certificate_pem"]
        ).encode()
    )


def test_grants_reach_logins_and_groups(store: Accounts, laptop: Client) -> None:
    """The rights of the snapshot are what was granted."""
    add_person(store, "alice", laptop.ssh_key)
    admin = store.administration
    admin.folders.add("main", "経理")
    admin.groups.add("main", "books")
    admin.groups.join("main", "books", "alice")

    admin.folders.grant("main", "経理", "@books", PRESETS["viewer"])
    admin.folders.grant("main", "経理/2026", "alice", PRESETS["editor"])
    admin.folders.grant("main", "経理/2026", "alice", Right.LIST)

    (folder,) = admin.folders.list("main")
    assert folder["grants"] == [
        {"path": "経理", "to": "@books", "rights": "list,read"},
        {"path": "経理/2026", "to": "alice", "rights": "list"},
    ]
    assert admin.groups.list("main") == [{"group": "books", "members": ["alice"]}]
    store.watch.refresh()
    grants = {(g.below, g.rights) for g in store.watch.snapshot().grants}
    assert grants == {((), Right.LIST | Right.READ), (("2026",), Right.LIST)}


@pytest.mark.parametrize("name", ["..", "a:b", "CON", "a\nb", "a."])
def test_a_folder_has_a_name_that_every_client_can_hold(
    store: Accounts, name: str
) -> None:
    """A folder that Windows cannot show would be lost for half the office."""
    with pytest.raises(PathRefusedError):
        store.administration.folders.add("main", name)


def test_purge_is_a_step_of_its_own(store: Accounts) -> None:
    """Removing a contract by mistake must not cost its files."""
    contract = store.administration.contracts.show("main")

    with pytest.raises(ExistsError, match="Remove"):
        store.administration.contracts.purge("main")
    store.administration.contracts.remove("main")
    kept = list(store.erased)
    store.administration.contracts.purge("main")

    assert kept == []
    assert store.erased == [contract["id"]]
    with pytest.raises(NotFoundError):
        store.administration.contracts.purge("main")


def test_a_hold_is_on_record_and_outlives_its_contract(store: Accounts) -> None:
    """Who holds what since when and why; a name used twice is held by either."""
    contracts = store.administration.contracts
    with pytest.raises(ValueError, match="why"):
        contracts.hold("main", " ")
    with pytest.raises(NotFoundError):
        contracts.release("main")
    contracts.change("main", retention_days=730)
    assert _keeping(store) == {"main": 730}

    contracts.hold("main", "case 12/2026")
    contracts.remove("main")
    contracts.add("main")

    assert _keeping(store) == {"main": None}
    told = store.records(operation="admin.contract.hold", phase="intent")[-1]["detail"]
    assert (told["before"]["hold"], told["after"]["hold"]) == ("", "case 12/2026")


def _keeping(store: Accounts) -> dict[str, int | None]:
    with reading(store.engine) as connection:
        return kept_longer(connection)


def test_the_verbs_work_on_postgresql_too(
    tmp_path: Path, postgres_url: str, laptop: Client
) -> None:
    """Several nodes share one PostgreSQL."""
    with opened(tmp_path, url=postgres_url) as store:
        store.administration.contracts.add("main")
        store.administration.lines.add("main", "office", networks=("192.0.2.0/24",))
        add_person(store, "alice", laptop.ssh_key, totp="required")

        facts = store.administration.devices.lock("alice", "laptop")

        assert facts["state"] == "locked"
        assert store.administration.logins.show("alice")["devices"] == ["laptop"]
