"""One-time codes: RFC 6238's vectors, and a code's single use."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest

from server.auth import records, totp
from server.auth.tables import CONTRACT, LOGIN
from server.auth.totp import SecretBox
from server.db.engine import Engine, Role, open_engine, reading, writing
from server.db.migrate import Chain, upgrade

KEY = bytes(32)
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""RFC 6238 appendix B: the ASCII text 12345678901234567890, in base32."""


@pytest.fixture
def engines(database_url: str) -> Iterator[tuple[Engine, Engine]]:
    """Two processes' views of one store with a login `alice`."""
    upgrade(database_url, Chain.ACCOUNTS)
    pair = (
        open_engine(database_url, Role.ACCOUNTS),
        open_engine(database_url, Role.ACCOUNTS),
    )
    with writing(pair[0]) as connection:
        records.add(connection, CONTRACT, id="c", name="main", device_ca="", added_us=1)
        records.add(
            connection,
            LOGIN,
            id="alice",
            contract_id="c",
            name="alice",
            kind="user",
            state="active",
            factors="key+password",
            totp_required=True,
            credentials_us=1,
            added_us=1,
        )
    yield pair
    for engine in pair:
        engine.dispose()


@pytest.mark.parametrize(
    ("now_s", "code"),
    [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")],
)
def test_codes_follow_the_standard(now_s: int, code: str) -> None:
    """RFC 6238 appendix B (SHA-1, the last six digits)."""
    step = totp.step_of(RFC_SECRET, code, now_s=now_s, drift_steps=0)

    assert step == now_s // 30


def test_full_width_digits_and_blanks_are_taken() -> None:
    """A Japanese IME types full-width digits; apps show the code in two groups."""
    wide = "２８７ ０８２"  # noqa: RUF001 - full width is meant

    assert totp.step_of(RFC_SECRET, wide, now_s=59, drift_steps=0) == 1


def test_a_code_beyond_the_drift_is_wrong() -> None:
    """A clock may be off by the steps of the settings, not more."""
    early = totp.step_of(RFC_SECRET, "287082", now_s=59 + 30, drift_steps=1)
    late = totp.step_of(RFC_SECRET, "287082", now_s=59 + 60, drift_steps=1)

    assert (early, late) == (1, None)


def test_of_a_hundred_uses_at_once_exactly_one_wins(
    engines: tuple[Engine, Engine],
) -> None:
    """Two processes see the same code at the same moment: one session, not two."""

    def use(number: int) -> bool:
        with writing(engines[number % 2]) as connection:
            return totp.use_step(connection, "alice", 100)

    with writing(engines[0]) as connection:
        totp.keep_secret(connection, SecretBox(KEY), "alice", totp.fresh_secret())
    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(use, range(100)))

    assert wins.count(True) == 1


def test_an_older_step_is_refused_after_a_newer_one(
    engines: tuple[Engine, Engine],
) -> None:
    """Remembering only the last code would let the one before it pass again."""
    with writing(engines[0]) as connection:
        totp.keep_secret(connection, SecretBox(KEY), "alice", totp.fresh_secret())
        results = [totp.use_step(connection, "alice", step) for step in (7, 8, 7, 8, 9)]

    assert results == [True, True, False, False, True]


def test_the_secret_is_sealed_in_the_database(
    engines: tuple[Engine, Engine],
) -> None:
    """A stolen database file must not give the codes away."""
    with writing(engines[0]) as connection:
        secret = totp.fresh_secret()
        totp.keep_secret(connection, SecretBox(KEY), "alice", secret)

    with reading(engines[1]) as connection:
        (row,) = records.listed(connection, totp.TOTP)
        found = totp.read_secret(connection, SecretBox(KEY), "alice")

    assert found == secret
    assert secret not in row["secret"]
    assert len(pyotp.TOTP(secret).now()) == 6


def test_a_sealed_secret_belongs_to_its_login() -> None:
    """Copying a row to another login must not move the second factor."""
    box = SecretBox(KEY)
    sealed = box.seal(RFC_SECRET, "alice")

    with pytest.raises(ValueError, match=r"totp\.key"):
        box.unseal(sealed, "bob")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("secret word123456", ("secret word", "123456")),
        ("secret word１２３４５６", ("secret word", "123456")),  # noqa: RUF001
        ("secret word12345", ("secret word12345", "")),
        ("123456", ("123456", "")),
        ("", ("", "")),
    ],
)
def test_a_code_is_parted_from_the_password(
    typed: str, expected: tuple[str, str]
) -> None:
    """On WebDAV the code follows the password without a gap."""
    assert totp.split_code(typed) == expected
