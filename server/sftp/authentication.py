"""Logging in over SSH (RFC 4252, keyboard-interactive RFC 4256).

paramiko asks `check_auth_publickey` for unsigned queries and before it verifies a
signature, so a factor noted there can be had without the private key. This handler
therefore reads the requests itself, verifies, and only then tells `SshLogin`. What a
login still needs, and whether it exists at all, only `SshLogin` knows; answers here
are the same for a known and an unknown login.
"""

import logging
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, NoReturn

from paramiko.auth_handler import AuthHandler
from paramiko.common import (
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    cMSG_DISCONNECT,
    cMSG_USERAUTH_FAILURE,
    cMSG_USERAUTH_INFO_REQUEST,
    cMSG_USERAUTH_PK_OK,
    cMSG_USERAUTH_REQUEST,
    cMSG_USERAUTH_SUCCESS,
)
from paramiko.message import Message
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from server.access.login import Question, SshLogin, Verdict
from server.model.errors import LoginRefusedError, ServerError
from server.settings.schema import SftpSettings
from server.sftp.algorithms import UserKey
from server.sftp.wire import MalformedPacketError, Reader, string, text

log = logging.getLogger(__name__)

LOGIN_BYTES_MAX: Final = 256
"""Of a login name; a longer one is cut and so matches nobody."""
_SERVICE: Final = b"ssh-connection"


class Challenge(Enum):
    """What keyboard-interactive is asking for."""

    PASSWORD = auto()
    CODE = auto()
    ENROLMENT = auto()
    """What the first login of a person asks."""


_PROMPTS: Final = {Challenge.PASSWORD: "Password: ", Challenge.CODE: "One-time code: "}


class Authentication(AuthHandler):
    """The server's side of the user authentication protocol."""

    def __init__(
        self,
        transport: Transport,
        *,
        login: SshLogin,
        keys: Mapping[str, type[UserKey]],
        settings: SftpSettings,
        admitted: Callable[[], None],
    ) -> None:
        """Ask `login`; call `admitted` once, before the client hears of it.

        Args:
            transport: The connection.
            login: Decides.
            keys: The public-key algorithms that are taken.
            settings: `[sftp]`.
            admitted: Called with a session in `login`.
        """
        super().__init__(transport)
        self._login = login
        self._keys = keys
        self._settings = settings
        self._admitted = admitted
        self._user = ""
        self._tries_failed = 0
        self._key_queries = 0
        self._none_seen = False
        self._challenge: Challenge | None = None
        self._methods: dict[str, Callable[[bytes, Reader], None]] = {
            "none": self._none,
            "publickey": self._publickey,
            "password": self._password,
            "keyboard-interactive": self._interactive,
        }

    # The two messages that paramiko hands over; the names are its own.

    def _parse_userauth_request(self, m: Message) -> None:
        """SSH_MSG_USERAUTH_REQUEST (RFC 4252, section 5)."""
        if self.authenticated:
            return
        try:
            self._request(m.get_remainder())
        except MalformedPacketError as error:
            raise SSHException(f"malformed login request: {error}") from error

    def _parse_userauth_info_response(self, m: Message) -> None:
        """SSH_MSG_USERAUTH_INFO_RESPONSE (RFC 4256, section 3.4)."""
        if self.authenticated:
            return
        try:
            self._respond(Reader(memoryview(m.get_remainder())))
        except MalformedPacketError as error:
            raise SSHException(f"malformed login response: {error}") from error

    def _request(self, packet: bytes) -> None:
        reader = Reader(memoryview(packet))
        name, service = bytes(reader.string()), bytes(reader.string())
        method = bytes(reader.string()).decode("ascii", "replace")
        user = name[:LOGIN_BYTES_MAX].decode("utf-8", "replace")
        if service != _SERVICE:
            self._disconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "No such service.")
        if self.auth_username not in {None, user}:
            self._disconnect(
                DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "One login a connection."
            )
        self.auth_username = self._user = user
        if self._challenge is not None:
            # A new request ends the old one (RFC 4256, section 3.1); unanswered
            # challenges count, or they could be asked for without end.
            self._challenge = None
            self._count_failure()
        handler = self._methods.get(method)
        if handler is None:
            self._fail()
            return
        self._fence(lambda: handler(name, reader))

    def _fence(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (SSHException, MalformedPacketError, OSError, EOFError):
            raise
        except LoginRefusedError:  # the accounts changed at the last moment
            self._fail()
        except ServerError as error:
            log.warning("ssh login unavailable", extra={"reason": error.reason})
            self._disconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "Try again later.")
        except Exception:
            log.exception("ssh login failed")
            self._disconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "Try again later.")

    # The methods.

    def _none(self, _name: bytes, packet: Reader) -> None:
        """Section 5.2: refused; the first time it is only a question for the list."""
        packet.end()
        self._fail(counted=self._none_seen)
        self._none_seen = True

    def _password(self, _name: bytes, packet: Reader) -> None:
        """Section 8; changing a password is not offered."""
        change = packet.boolean()
        password = bytes(packet.string())
        if change:
            packet.string()
            packet.end()
            self._fail()
            return
        packet.end()
        self._conclude(self._try_password(password))

    def _publickey(self, name: bytes, packet: Reader) -> None:
        """Section 7: a query whether a key would do, or a signed proof."""
        signed = packet.boolean()
        algorithm = bytes(packet.string()).decode("ascii", "replace")
        blob = bytes(packet.string())
        signature = bytes(packet.string()) if signed else b""
        packet.end()
        if algorithm not in self._keys:  # certificates too: nobody signs devices for us
            self._fail(counted=signed)
        elif signed:
            self._prove(name, algorithm, blob, signature)
        else:
            self._query(algorithm, blob)

    def _query(self, algorithm: str, blob: bytes) -> None:
        known = self._login.key_known(self._user, algorithm, blob)
        self._key_queries += 1
        if self._key_queries > self._settings.key_queries_max:
            self._disconnect_tired()
        elif known:
            reply = Message()
            reply.add_byte(cMSG_USERAUTH_PK_OK)
            reply.add_string(algorithm)
            reply.add_string(blob)
            self._send(reply)
        else:
            self._fail(counted=False)

    def _prove(
        self, name: bytes, algorithm: str, blob: bytes, signature: bytes
    ) -> None:
        session_id = self.transport.session_id or b""
        signed = b"".join((
            string(session_id),
            cMSG_USERAUTH_REQUEST,
            string(name),
            string(_SERVICE),
            text("publickey"),
            b"\x01",
            text(algorithm),
            string(blob),
        ))
        if _verified(self._keys, algorithm, blob, signed, signature):
            self._conclude(self._login.key_proved(self._user, algorithm, blob))
        else:
            self._login.key_unproved(self._user, algorithm, blob)
            self._fail()

    def _interactive(self, _name: bytes, packet: Reader) -> None:
        """RFC 4256, section 3.1; language and submethods are not used."""
        packet.string()
        packet.string()
        packet.end()
        if "keyboard-interactive" not in self._login.methods(self._user):
            self._fail()
        elif self._login.needs_password or not self._login.needs_code:
            self._ask(Challenge.PASSWORD)
        else:
            self._ask(Challenge.CODE)

    def _ask(self, challenge: Challenge) -> None:
        self._put(challenge, Question("", (_PROMPTS[challenge],)))

    def _put(self, challenge: Challenge, question: Question) -> None:
        """SSH_MSG_USERAUTH_INFO_REQUEST (RFC 4256, section 3.2)."""
        self._challenge = challenge
        query = Message()
        query.add_byte(cMSG_USERAUTH_INFO_REQUEST)
        query.add_string("")
        query.add_string(question.text)
        query.add_string("")
        query.add_int(len(question.prompts))
        for prompt in question.prompts:
            query.add_string(prompt)
            query.add_boolean(question.echo)
        self._send(query)

    def _respond(self, packet: Reader) -> None:
        responses = [bytes(packet.string()) for _ in range(packet.u32())]
        packet.end()
        challenge, self._challenge = self._challenge, None
        if challenge is Challenge.ENROLMENT:
            answers = [text.decode("utf-8", "surrogateescape") for text in responses]
            self._fence(lambda: self._conclude(self._login.enrol(answers)))
        elif challenge is None or len(responses) != 1:
            self._fail()
        else:
            self._fence(lambda: self._judge(challenge, responses[0]))

    def _judge(self, challenge: Challenge, response: bytes) -> None:
        if challenge is Challenge.CODE:
            code = response.decode("ascii", "replace").strip()
            self._conclude(self._login.code(self._user, code))
            return
        verdict = self._try_password(response, asked=True)
        if verdict is Verdict.PARTIAL and self._login.needs_code:
            self._ask(Challenge.CODE)
        else:
            self._conclude(verdict)

    def _try_password(self, response: bytes, *, asked: bool = False) -> Verdict:
        """Some clients send another encoding than UTF-8: those bytes go as they are."""
        try:
            password: str | bytes = response.decode()
        except UnicodeDecodeError:
            password = response
        return self._login.password(self._user, password, asked=asked)

    # The answers.

    def _conclude(self, verdict: Verdict) -> None:
        match verdict:
            case Verdict.ADMITTED:
                self._succeed()
            case Verdict.PARTIAL:
                self._fail(partial=True, counted=False)
            case Verdict.REFUSED:
                self._fail()
            case Verdict.ENROLLING:
                self._enrol()

    def _enrol(self) -> None:
        conversation = self._login.first_login
        if conversation is None:
            self._fail()
        else:
            self._put(Challenge.ENROLMENT, conversation.question)

    def _succeed(self) -> None:
        self._admitted()
        reply = Message()
        reply.add_byte(cMSG_USERAUTH_SUCCESS)
        self.authenticated = True
        self._send(reply)
        self.transport._auth_trigger()  # type: ignore[attr-defined]  # noqa: SLF001 - as paramiko's own handler does

    def _fail(self, *, partial: bool = False, counted: bool = True) -> None:
        if counted:
            self._count_failure()
        reply = Message()
        reply.add_byte(cMSG_USERAUTH_FAILURE)
        reply.add_list(self._login.methods(self._user))
        reply.add_boolean(partial)
        self._send(reply)

    def _count_failure(self) -> None:
        self._tries_failed += 1
        if self._tries_failed >= self._settings.login_tries_max:
            self._disconnect_tired()

    def _disconnect_tired(self) -> NoReturn:
        self._disconnect(
            DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many failed tries."
        )

    def _disconnect(self, code: int, description: str) -> NoReturn:
        message = Message()
        message.add_byte(cMSG_DISCONNECT)
        message.add_int(code)
        message.add_string(description)
        message.add_string("en")
        self._send(message)
        raise LoginEndedError(description)

    def _send(self, message: Message) -> None:
        self.transport._send_message(message)  # type: ignore[attr-defined]  # noqa: SLF001 - the stubs lack it


class LoginEndedError(SSHException):
    """We ended the connection before a login; the transport's thread unwinds."""


def _verified(
    keys: Mapping[str, type[UserKey]],
    algorithm: str,
    blob: bytes,
    signed: bytes,
    signature: bytes,
) -> bool:
    """Whether `signature` over `signed` was made with the key in `blob`.

    The signature must be of the algorithm that the request names, and the key's own
    type must fit it. Whatever a mangled key or signature makes the libraries raise, it
    is no proof.
    """
    try:
        reader = Reader(memoryview(signature))
        named = reader.text()
        reader.string()
        reader.end()
        key = keys[algorithm](Message(blob))
        if named != algorithm or key.public_blob is not None:
            return False
        return key.verify_ssh_sig(signed, Message(signature)) is True
    except Exception:
        log.debug("mangled key or signature", exc_info=True)
        return False
