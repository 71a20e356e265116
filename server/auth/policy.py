"""Which passwords people may choose: length, and not what guessers try first.

The list beside this module holds words that stand at the head of published breaches,
as far as they are long enough to matter here; digits and signs around a word do not
make another word of it. NIST SP 800-63B, section 5.1.1.2, asks for this and for nothing
about classes of characters.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

PARTS_DIFFERENT_MIN: Final = 4
"""Different characters that a password needs."""
_LIST: Final = "common_passwords.txt"
_RUNS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)
_LEET: Final = str.maketrans("@$!013457", "asioleast")


def weakness(password: str, *, characters_min: int, names: Iterable[str] = ()) -> str:
    """Why a password is not acceptable; empty when it is.

    Args:
        password: What a person wants.
        characters_min: How long it has to be.
        names: Words that anyone would try for this login: its name, its contract.
    """
    if len(password) < characters_min:
        return f"a password needs at least {characters_min} characters"
    plain = _plain(password)
    if len(set(plain)) < PARTS_DIFFERENT_MIN or _is_run(plain):
        return "this password is one pattern repeated: choose another"
    cores = _cores(plain)
    if cores & {core for name in names for core in _cores(_plain(name))}:
        return "this password is a name with something around it: choose another"
    if cores & _common():
        return "this password is on the lists that guessers begin with: choose another"
    return ""


@cache
def _common() -> frozenset[str]:
    text = files(__package__).joinpath(_LIST).read_text("utf-8")
    lines = (line.strip() for line in text.splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _cores(plain: str) -> set[str]:
    """The word itself, without what stands around it, and both read from leet."""
    found = {plain, plain.strip("0123456789!?.,_-+*#@$%&=/ ")}
    found |= {word.translate(_LEET) for word in found}
    found |= {_halved(word) for word in found}
    return {word for word in found if len(word) >= PARTS_DIFFERENT_MIN}


def _halved(word: str) -> str:
    """`secret` of `secretsecret`."""
    half = word[: len(word) // 2]
    return half if half * 2 == word else word


def _is_run(plain: str) -> bool:
    """Whether it is a way along the keyboard or the alphabet, back or forth."""
    return any(plain in run * 3 or plain[::-1] in run * 3 for run in _RUNS)
