"""The real OpenSSH client, told its answers by an askpass program."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.sftp import PASSWORD, Person, SftpHouse
from tests.support.waiting import until

TIMEOUT_S = 60


@dataclass(frozen=True)
class OpenSsh:
    """`sftp`, `scp`, `ssh` and `sshfs` as one person uses them."""

    house: SftpHouse
    person: Person
    keys: Sequence[Path]
    password: str = PASSWORD
    code: str = ""
    new_password: str = ""
    """What a first login is to be given."""
    more: Sequence[str] = ()
    """More options, such as `-oBindAddress=127.0.5.1`."""

    def sftp(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands in batch mode: the first that fails ends it with status 1."""
        batch = "\n".join(commands) + "\n"
        # The first value of an option counts, so -b does not forbid the password.
        arguments = [
            "sftp",
            "-oBatchMode=no",
            *self.options,
            "-P",
            str(self.house.port),
        ]
        return self._run([*arguments, "-b", "-", self.address], batch)

    @contextmanager
    def live(self) -> Iterator[None]:
        """A session that is open and idle for the length of the block."""
        port = str(self.house.port)
        with subprocess.Popen(
            ["sftp", *self.options, "-P", port, self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environ(),
        ) as process:
            name = self.person.name
            until(
                lambda: self.house.records(operation="login", login=name),
                what="the session is open",
            )
            yield

            process.terminate()

    def scp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Copy; `REMOTE:` at the start of an argument stands for the server."""
        told = [one.replace("REMOTE:", f"{self.address}:") for one in arguments]
        port = str(self.house.port)
        return self._run(["scp", *self.options, "-P", port, *told])

    def ssh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask for anything else than files."""
        port = str(self.house.port)
        return self._run(["ssh", *self.options, "-p", port, self.address, *arguments])

    def mount(self, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Mount the home folder with sshfs."""
        port = str(self.house.port)
        arguments = ["sshfs", *self.options, *options, "-p", port]
        return self._run([*arguments, f"{self.address}:", str(folder)])

    @property
    def address(self) -> str:
        return f"{self.person.name}@127.0.0.1"

    @property
    def options(self) -> list[str]:
        keys = [f"-oIdentityFile={key}" for key in self.keys]
        return [
            *self.more,  # the first value of an option counts
            "-F/dev/null",
            "-oStrictHostKeyChecking=no",
            f"-oUserKnownHostsFile={self.house.folder / 'known_hosts'}",
            "-oIdentitiesOnly=yes",
            "-oIdentityAgent=none",
            "-oNumberOfPasswordPrompts=1",
            "-oLogLevel=ERROR",
            *keys,
        ]

    def _run(
        self, arguments: list[str], typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            input=typed,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=self._environ(),
        )

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "SSH_ASKPASS": str(self._askpass()),
            "SSH_ASKPASS_REQUIRE": "force",
        }

    def _askpass(self) -> Path:
        path = self.house.folder / f"askpass-{self.person.name}"
        path.write_text(
            "#!/bin/sh\n"
            f'case "$1" in *code*) echo "{self.code}";; '
            f'*"New password"*) echo "{self.new_password}";; '
            f'*) echo "{self.password}";; esac\n'
        )
        path.chmod(0o700)
        return path


@dataclass(frozen=True)
class Someone:
    """A person of a served store."""

    name: str
    key: Path


@dataclass(frozen=True)
class Door:
    """What the client asks of a house."""

    daemon: Daemon

    @property
    def port(self) -> int:
        return self.daemon.sftp_port

    @property
    def folder(self) -> Path:
        return self.daemon.folder


def client(daemon: Daemon, who: Someone, **told: Any) -> OpenSsh:  # noqa: ANN401 - OpenSsh's own
    """The client of a person of a served store."""
    door: Any = Door(daemon)
    person: Any = who
    return OpenSsh(door, person, [who.key], **told)
