"""Passwords that people may choose."""

import pytest

from server.auth.policy import weakness

FULL_WIDTH = "".join(chr(ord(c) + 0xFEE0) for c in "PASSWORD12")
NAMES = ("tanaka.hanako", "sato-office")


def refused(password: str) -> str:
    return weakness(password, characters_min=10, names=NAMES)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "請求書を月末までに送る",
        "x7#Kd0-pQz",
        "Brown foxes jump 3 times",
        "kyoto in the rain 1987",
    ],
)
def test_what_a_person_thinks_of_is_taken(password: str) -> None:
    """No classes of characters are asked for: length is what counts."""
    assert not refused(password)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "at least 10"),
        ("aaaaaaaaaaaa", "pattern"),
        ("abababababab", "pattern"),
        ("1234567890", "pattern"),
        ("0987654321", "pattern"),
        ("qwertyuiop", "pattern"),
        ("1qaz2wsx3edc", "pattern"),
        ("password2026", "lists"),
        ("P@ssw0rd!!!", "lists"),
        ("!!Welcome123", "lists"),
        ("iloveyou2026", "lists"),
        ("sakurasakura", "lists"),
        (FULL_WIDTH, "lists"),
        ("Tanaka.Hanako1", "name"),
        ("sato-office2026", "name"),
        ("tanaka.hanakotanaka.hanako", "name"),
    ],
)
def test_what_guessers_try_first_is_refused_with_words(
    password: str, words: str
) -> None:
    """The login's own name is the first thing a colleague would type."""
    assert words in refused(password)
