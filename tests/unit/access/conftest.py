"""A store of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.accounts import Accounts, Client, client, opened

SOURCE = ("192.0.2.7", 40000)
"""Within the line that `store` has."""


def new_client() -> Client:
    """A fresh key pair's public half; signatures are the front end's affair."""
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return client(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Accounts]:
    """Contract `main` with the line `office`, on SQLite."""
    with opened(tmp_path) as accounts:
        accounts.administration.contracts.add("main")
        accounts.administration.lines.add("main", "office", networks=("192.0.2.0/24",))
        accounts.watch.refresh()
        yield accounts


@pytest.fixture
def laptop() -> Client:
    """A device's key."""
    return new_client()
