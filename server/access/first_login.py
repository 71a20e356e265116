"""The first login over SSH: the enrolment code opens a conversation, not a session.

The code was given as the password, on the line and with the device's key proved. Then a
new password is asked for twice, the secret of one-time codes is shown and confirmed by
a first code, and the recovery codes are shown. The accounts change once, when all of it
is there: whoever hangs up in the middle begins again with the same enrolment code.
"""

from dataclasses import dataclass
from enum import Enum, auto, unique
from typing import Final

from server.access.credentials import Credentials
from server.access.enrolment import Enrolled, Proof
from server.auth import totp
from server.auth.snapshot import Login
from server.model.identity import Actor

TRIES_MAX: Final = 3
"""Answers to one question that may be wrong."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a client is asked (RFC 4256, section 3.2)."""

    text: str
    prompts: tuple[str, ...]
    echo: bool = False
    """Whether what is typed may be seen."""


@unique
class Step(Enum):
    """Where the conversation stands."""

    PASSWORD = auto()
    CODE = auto()
    SPARES = auto()
    DONE = auto()
    FAILED = auto()


class FirstLogin:
    """One such conversation. For one thread."""

    def __init__(
        self, credentials: Credentials, actor: Actor, login: Login, code: str
    ) -> None:
        """Begin; `code` is the enrolment code, found right."""
        self._credentials = credentials
        self._actor = actor
        self._login = login
        self._code = code
        self._account = f"{actor.login}@{actor.contract}"
        self._password = ""
        self._secret = ""
        self._enrolled: Enrolled | None = None
        self._tries = 0
        self._remark = ""
        self.step = Step.PASSWORD

    @property
    def question(self) -> Question:
        """What to ask now; nothing once it is over."""
        match self.step:
            case Step.PASSWORD:
                return Question(
                    self._text("Choose a password of your own."),
                    ("New password: ", "New password again: "),
                )
            case Step.CODE:
                return Question(self._text(self._secret_text()), ("One-time code: ",))
            case Step.SPARES:
                return Question(self._spares_text(), ("Press Enter: ",), echo=True)
            case _:
                return Question("", ())

    def answer(self, answers: list[str]) -> None:
        """Take the answers to `question` and go on, stay or fail.

        Raises:
            RefusedError: The enrolment code is not good any more; recorded.
            UnavailableError: The accounts or the trail cannot be written.
        """
        if len(answers) != len(self.question.prompts):
            self.step = Step.FAILED
            return
        self._remark = self._take(answers)
        self._tries = self._tries + 1 if self._remark else 0
        if self._tries >= TRIES_MAX:
            self.step = Step.FAILED

    def _take(self, answers: list[str]) -> str:
        """Take the answers; what is wrong with them, or nothing."""
        match self.step:
            case Step.PASSWORD:
                return self._take_password(answers)
            case Step.CODE:
                return self._take_code(answers)
            case _:
                self.step = Step.DONE
                return ""

    def _take_password(self, answers: list[str]) -> str:
        first, again = answers
        if first != again:
            return "The two passwords are not the same."
        weak = self._credentials.enrolment.weakness(self._account, first)
        if weak:
            return f"{weak[:1].upper()}{weak[1:]}."
        self._password = first
        if self._login.totp_required:
            self._secret = totp.fresh_secret()
            self.step = Step.CODE
        else:
            self._enrol(None)
        return ""

    def _take_code(self, answers: list[str]) -> str:
        step = self._credentials.code_step(self._secret, answers[0].strip())
        if step is None:
            return "This code is wrong: is the clock of the authenticator right?"
        self._enrol(step)
        return ""

    def _enrol(self, step: int | None) -> None:
        proof = Proof(
            code=self._code, password=self._password, secret=self._secret, step=step
        )
        self._enrolled = self._credentials.enrol(self._actor, proof)
        self._password = ""
        spares = self._enrolled.recovery_codes
        self.step = Step.SPARES if spares else Step.DONE

    def _text(self, text: str) -> str:
        return f"{self._remark}\n{text}" if self._remark else text

    def _secret_text(self) -> str:
        uri = totp.enrolment_uri(self._secret, self._account)
        return (
            "Add this to the authenticator on your phone, then type the code it shows."
            f"\nSecret: {self._secret}\n{uri}"
        )

    def _spares_text(self) -> str:
        codes = self._enrolled.recovery_codes if self._enrolled else ()
        return "\n".join((
            "Your password is set. Keep these recovery codes on paper: each stands in",
            "for a one-time code once, and they are shown this once.",
            *codes,
        ))
