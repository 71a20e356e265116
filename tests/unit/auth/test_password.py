"""Password checks: bounded, equal in cost, and right."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.auth import password as module
from server.auth.password import BusyError, Hasher
from server.auth.secret import (
    hash_secret,
    new_device_secret,
    new_enrolment_code,
    secret_matches,
)
from server.settings.schema import AuthSettings

CHEAP = AuthSettings(
    argon2_memory_kib=19456, argon2_iterations=1, argon2_parallel_max=2
)


def test_the_right_password_is_right_in_every_form() -> None:
    """SSH sends bytes, HTTP text; macOS composes characters, others do not."""
    hasher = Hasher(CHEAP)
    stored = hasher.hash("pâtisserie パスワード")

    assert hasher.verify(stored, "pâtisserie パスワード")
    assert hasher.verify(stored, "pâtisserie パスワード".encode())
    assert hasher.verify(stored, "pa\u0302tisserie パスワード")


@pytest.mark.parametrize("stored", [None, "", "not a hash", "$argon2id$v=19$broken"])
def test_without_a_usable_hash_nothing_is_right(stored: str | None) -> None:
    """An unknown login or a damaged row admits nobody, the dummy's password neither."""
    assert not Hasher(CHEAP).verify(stored, "no login has this password")


def test_a_password_beyond_the_limit_is_wrong() -> None:
    """A megabyte of password must neither cost nor match its own beginning."""
    hasher = Hasher(CHEAP)
    stored = hasher.hash("x" * module.PASSWORD_BYTES_MAX)

    assert not hasher.verify(stored, "x" * (module.PASSWORD_BYTES_MAX + 1))


def test_no_more_checks_run_at_once_than_allowed() -> None:
    """Each check takes 64 MiB: a flood of logins must not take the memory."""
    hasher = Hasher(CHEAP)
    running, most, lock = 0, 0, threading.Lock()
    check = hasher._check

    def counted(stored: str, password: bytes) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return check(stored, password)
        finally:
            with lock:
                running -= 1

    hasher._check = counted  # type: ignore[method-assign]  # to count, not to change
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: hasher.verify(None, "x"), range(24)))

    assert most == 2


def test_a_queue_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has a bound; beyond it the answer is no, at once."""
    monkeypatch.setattr(module, "WAITING_MAX", 0)

    with pytest.raises(BusyError):
        Hasher(CHEAP).verify(None, "x")


def test_secrets_are_read_as_people_type_them() -> None:
    """Capitals, blanks and hyphens come and go when a code is typed by hand."""
    code = new_enrolment_code()
    stored = hash_secret(code)

    assert secret_matches(stored, code.upper().replace("-", " "))
    assert not secret_matches(stored, code[:-1])
    assert not secret_matches(None, code)
    assert code.replace("-", "") not in stored


def test_a_device_secret_cannot_be_mistaken_for_secret_and_code() -> None:
    """Six digits at its end would be taken off as a one-time code."""
    secrets = {new_device_secret() for _ in range(200)}

    assert len(secrets) == 200
    assert all(len(secret) == 32 for secret in secrets)
    assert not any(secret[-6:].isdigit() for secret in secrets)


def counted(monkeypatch: pytest.MonkeyPatch, hasher: Hasher) -> list[str]:
    """The hashes that cost a check, from now on."""
    costly: list[str] = []
    check = hasher._check

    def counting(stored: str, password: bytes) -> bool:
        costly.append(stored)
        return check(stored, password)

    monkeypatch.setattr(hasher, "_check", counting)
    return costly


def test_a_right_password_is_known_again_and_a_wrong_one_always_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clients connect for each transfer; guessing must get no cheaper by that."""
    hasher = Hasher(CHEAP)
    stored, other = hasher.hash("right"), hasher.hash("right")
    costly = counted(monkeypatch, hasher)

    assert hasher.verify(stored, "right")
    assert hasher.verify(stored, b"right")
    assert costly == [stored]
    assert not hasher.verify(stored, "wrong")
    assert hasher.verify(other, "right")
    assert not hasher.verify(None, "right")
    assert len(costly) == 4


def test_nothing_is_known_again_where_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Zero minutes, and minutes that are over."""
    hasher = Hasher(CHEAP.model_copy(update={"password_minutes": 0}))
    stored = hasher.hash("right")
    costly = counted(monkeypatch, hasher)
    assert hasher.verify(stored, "right")
    assert hasher.verify(stored, "right")
    assert len(costly) == 2

    hasher = Hasher(CHEAP)
    costly = counted(monkeypatch, hasher)
    assert hasher.verify(stored, "right")
    monkeypatch.setattr(module.time, "monotonic", lambda: 1e12)
    assert hasher.verify(stored, "right")
    assert len(costly) == 2
