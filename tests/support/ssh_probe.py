"""A paramiko client that says what a test wants, honest or not."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message
from paramiko.pkey import PKey

from tests.support.sftp import SftpHouse
from tests.support.waiting import until

USERAUTH_SUCCESS, USERAUTH_FAILURE = 52, 51
PK_OK = 60
UNSIGNED, SIGNED = False, True
KEEP, CHANGE = False, True
"""What a password request says of the password."""


class ListeningHandler(AuthHandler):
    """Keeps the server's answers instead of acting on them."""

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__(transport)
        self.answers: list[tuple[int, Message]] = []

    @property
    def _client_handler_table(self) -> dict[int, Any]:
        return {kind: self._keeper(kind) for kind in (6, 51, 52, 53, 60)}

    def _keeper(self, kind: int) -> Callable[[Message], None]:
        def keep(message: Message) -> None:
            if kind == USERAUTH_SUCCESS:
                self.authenticated = True
                self.transport._auth_trigger()
            self.answers.append((kind, message))

        return keep


class Probe:
    """One connection; requests are sent raw, answers are waited for."""

    def __init__(self, house: SftpHouse) -> None:
        self.transport = paramiko.Transport(house.connect())
        self.transport.start_client(timeout=10)
        self.handler = ListeningHandler(self.transport)
        self.transport.auth_handler = self.handler
        self._taken = 0
        assert self.ask(5, b"ssh-userauth")[0] == 6

    def ask(self, kind: int, *fields: object) -> tuple[int, Message]:
        """Send one message, and wait for one answer."""
        self.send(kind, *fields)
        return self.answer()

    def send(self, kind: int, *fields: object) -> None:
        message = Message()
        message.add_byte(bytes([kind]))
        for field in fields:
            if isinstance(field, bool):
                message.add_boolean(field)
            elif isinstance(field, int):
                message.add_int(field)
            else:
                assert isinstance(field, bytes | str)
                message.add_string(field)
        self.transport._send_message(message)

    def answer(self) -> tuple[int, Message]:
        until(
            lambda: len(self.handler.answers) > self._taken or self.gone,
            what="the server answers",
        )
        if len(self.handler.answers) <= self._taken:
            raise EOFError
        self._taken += 1
        return self.handler.answers[self._taken - 1]

    @property
    def gone(self) -> bool:
        return not self.transport.is_active()

    def request(
        self, user: str | bytes, method: str, *fields: object
    ) -> tuple[int, Any]:
        """A login request: the answer's kind and, for a failure, its methods."""
        kind, message = self.ask(50, user, "ssh-connection", method, *fields)
        if kind == USERAUTH_FAILURE:
            return kind, (message.get_text(), message.get_boolean())
        return kind, message

    def query(self, user: str, key: PKey) -> int:
        """Would this key do? Unsigned."""
        name = key.get_name()
        return self.request(user, "publickey", UNSIGNED, name, key.asbytes())[0]

    def prove(
        self, user: str, key: PKey, *, blob: bytes = b"", algorithm: str = ""
    ) -> tuple[int, Any]:
        """A signed request; with another key's `blob` it is a forgery."""
        algorithm = algorithm or key.get_name()
        blob = blob or key.asbytes()
        signed = Message()
        signed.add_string(self.transport.session_id or b"")
        signed.add_byte(common.cMSG_USERAUTH_REQUEST)
        for text in (user, "ssh-connection", "publickey"):
            signed.add_string(text)
        signed.add_boolean(SIGNED)
        signed.add_string(algorithm)
        signed.add_string(blob)
        signature = key.sign_ssh_data(signed.asbytes(), algorithm).asbytes()
        return self.request(user, "publickey", SIGNED, algorithm, blob, signature)

    def password(self, user: str, password: str | bytes) -> tuple[int, Any]:
        return self.request(user, "password", KEEP, password)

    def log_in(self, user: str, key: PKey, password: str) -> None:
        """The honest way."""
        self.prove(user, key)
        assert self.password(user, password)[0] == USERAUTH_SUCCESS

    def channel(self) -> paramiko.Channel:
        return self.transport.open_session(timeout=10)

    def close(self) -> None:
        self.transport.close()
        self.transport.join(10)


@contextlib.contextmanager
def probing(house: SftpHouse) -> Iterator[Probe]:
    """A connection that is closed after the block."""
    probe = Probe(house)
    try:
        yield probe
    finally:
        probe.close()


def key_of(path: Path) -> PKey:
    return PKey.from_path(path)


def read_all(sock: socket.socket) -> bytes:
    """What the server says until it closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while block := sock.recv(65536):
            said += block
    return said


def named_threads(start: str) -> list[str]:
    """The living threads whose names start so."""
    return [one.name for one in threading.enumerate() if one.name.startswith(start)]
