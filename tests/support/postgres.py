"""A PostgreSQL of the test session, and databases of both kinds for a test.

Each process of pytest-xdist has a cluster of its own in a temporary folder, reached
by a UNIX socket, so nothing is shared and no port is taken. Where PostgreSQL is not
installed the tests that need it are skipped by name.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.support.waiting import until

_DEBIAN = Path("/usr/lib/postgresql")


def _program(name: str) -> str | None:
    """A server program: Debian keeps them outside the PATH, by version."""
    versions = sorted(
        (path for path in _DEBIAN.glob("*/bin") if (path / name).exists()),
        key=lambda path: int(path.parent.name),
    )
    return str(versions[-1] / name) if versions else shutil.which(name)


class PostgresServer:
    """A running cluster that hands out fresh databases."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def fresh_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = url.split("@/", 1)[1].partition("?")[0]
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def answers(self) -> bool:
        """Whether a client gets in."""
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host=str(self._folder), user="postgres", dbname="postgres", autocommit=True
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One cluster for this process's whole test session."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed")
    # A short path: a UNIX socket's name may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="kagipg-"))
    owner = "postgres" if os.geteuid() == 0 else None
    if owner is not None:
        shutil.chown(folder, owner, owner)
    cluster = folder / "cluster"
    subprocess.run(
        [initdb, "-D", cluster, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"],
        check=True,
        user=owner,
        capture_output=True,
        cwd=folder,
    )
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "max_connections": "200",
    }
    arguments = [f"--{key}={value}" for key, value in options.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [postgres, "-D", cluster, *arguments],
            user=owner,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    server = PostgresServer(folder)
    try:
        until(server.answers, what="PostgreSQL answers", deadline_s=30)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh PostgreSQL database."""
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
