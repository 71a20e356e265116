"""Machine-made secrets: device secrets and enrolment codes.

Both are drawn at random with 100 bits or more, so guessing is hopeless and a slow hash
would only cost the server: SHA-256 is enough, compared in constant time. (Passwords are
chosen by people and get argon2id.)
"""

import hashlib
import hmac
import secrets
from typing import Final

_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""No 0/o, 1/l: it is typed by hand; 32 characters, five bits each."""
SECRET_LENGTH: Final = 32
CODE_LENGTH: Final = 20
_PREFIX: Final = "sha256:"


def new_device_secret() -> str:
    """A secret of 160 bits for a device without certificates.

    It never ends with six digits: those would look like a one-time code.
    """
    while True:
        secret = draw(SECRET_LENGTH)
        if not secret[-6:].isdigit():
            return secret


def new_enrolment_code() -> str:
    """A code of 100 bits, in groups of five."""
    code = draw(CODE_LENGTH)
    return "-".join(code[i : i + 5] for i in range(0, CODE_LENGTH, 5))


def hash_secret(secret: str) -> str:
    """What is stored of a secret."""
    return _PREFIX + hashlib.sha256(plain_secret(secret)).hexdigest()


def secret_matches(stored: str | None, secret: str) -> bool:
    """Whether `secret` is the stored one; constant time in its content."""
    return hmac.compare_digest(stored or _PREFIX, hash_secret(secret))


def draw(length: int) -> str:
    """Characters at random, five bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def plain_secret(secret: str) -> bytes:
    """Case, hyphens and blanks carry nothing: people type them as they like."""
    kept = secret.replace("-", "").replace(" ", "").lower()
    return kept.encode("utf-8", "surrogateescape")
