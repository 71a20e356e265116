"""What a person may ask for beside files: `ssh -p 2022 alice@store devices`.

An `exec` channel with a closed vocabulary and no shell behind it: words are compared,
never run. Whoever asks for anything else (a shell, rsync, the old scp protocol) is
told in words what there is, and the trail has it.
"""

import json
import logging
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, assert_never

from paramiko.channel import Channel

from server.access.login import OwnAccount
from server.model.errors import ServerError, UnavailableError
from server.model.event import Json

log = logging.getLogger(__name__)

COMMAND_BYTES_MAX: Final = 1024
ANSWER_S_MAX: Final = 5.0
"""How long a client may take to read an answer."""
_WORD_CHARACTERS_MAX: Final = 64
_DONE, _REFUSED, _USAGE, _UNAVAILABLE = 0, 1, 2, 3

HELP: Final = """\
This store has no shell. What can be asked here:
  devices           your devices, and whether each may log in
  lock DEVICE       lock one that was lost and cut its sessions; only an
                    administrator lets it in again
  sessions          where you are logged in now
  help              this text
Add --json for programs. Files: sftp, sshfs, rclone, or scp without -O.
"""


@unique
class Word(StrEnum):
    """The vocabulary."""

    DEVICES = "devices"
    LOCK = "lock"
    SESSIONS = "sessions"
    HELP = "help"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for, understood."""

    word: Word
    device: str = ""
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the client is to see; the codes are those of the command line."""

    out: str = ""
    err: str = ""
    status: int = _DONE


class NotUnderstoodError(ValueError):
    """It is none of the vocabulary; `command` is its first word, for the trail."""

    def __init__(self, message: str, *, command: str, rule: str) -> None:
        """Keep what the record tells."""
        super().__init__(message)
        self.command = command
        self.rule = rule


def understand(raw: bytes | None) -> Order:
    """Read a command.

    Args:
        raw: As the client sent it; None for a shell.

    Raises:
        NotUnderstoodError: It is not of the vocabulary.
    """
    if raw is None:
        raise NotUnderstoodError(HELP, command="", rule="no_shell")
    words = _words(raw)
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    match words:
        case ["devices" | "sessions" | "help" as word]:
            return Order(word=Word(word), as_json=as_json)
        case ["lock", device]:
            return Order(word=Word.LOCK, device=device, as_json=as_json)
        case [("devices" | "sessions" | "help" | "lock") as word, *_]:
            raise NotUnderstoodError(HELP, command=word, rule="wrong_usage")
        case _:
            command = printable(words[0]) if words else ""
            raise NotUnderstoodError(
                f"There is no command {command!r}.\n{HELP}",
                command=command,
                rule="unknown_command",
            )


def answer(own: OwnAccount, raw: bytes | None) -> Answer:
    """Carry out what was asked for; every refusal is on record when this returns."""
    try:
        order = understand(raw)
    except NotUnderstoodError as error:
        command, rule, text = error.command, error.rule, str(error)
        return _fenced(lambda: own.refuse(command, text, rule), _USAGE)
    return _fenced(lambda: _carried_out(own, order), _REFUSED)


def _fenced(step: Callable[[], Answer], refused: int) -> Answer:
    try:
        return step()
    except UnavailableError as error:
        return Answer(err=f"{error}\n", status=_UNAVAILABLE)
    except ServerError as error:
        return Answer(err=f"{error}\n", status=refused)


def _carried_out(own: OwnAccount, order: Order) -> Answer:
    match order.word:
        case Word.HELP:
            own.asked("help")
            return Answer(out=HELP)
        case Word.DEVICES:
            return _listed(own.devices(), order)
        case Word.SESSIONS:
            return _listed(own.sessions(), order)
        case Word.LOCK:
            facts = own.lock(order.device)
            if order.as_json:
                return Answer(out=_json(facts))
            return Answer(out=_locked(facts))
        case _:
            assert_never(order.word)


def _listed(rows: Sequence[Mapping[str, Json]], order: Order) -> Answer:
    return Answer(out=_json(list(map(dict, rows))) if order.as_json else _table(rows))


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _table(rows: Sequence[Mapping[str, Json]]) -> str:
    if not rows:
        return "none\n"
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cell(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else str(value)


def _locked(facts: Mapping[str, Json]) -> str:
    text = (
        f"Device {facts['device']} is locked. "
        f"{facts['sessions_cut']} sessions were cut in {facts['cut_ms']} ms.\n"
    )
    if facts["workers_pending"]:
        text += f"{facts['workers_pending']} processes have not answered yet.\n"
    return text


def _words(raw: bytes) -> list[str]:
    """As a shell would part them; what no shell could read is one strange word."""
    if len(raw) > COMMAND_BYTES_MAX:
        raw = raw[:COMMAND_BYTES_MAX]
    text = raw.decode("utf-8", "replace")
    try:
        return shlex.split(text)
    except ValueError:
        return text.split(maxsplit=1)[:1]


def printable(word: str) -> str:
    """A client's word as records and people may be shown it."""
    kept = "".join(c if c.isprintable() else "?" for c in word)
    return kept[:_WORD_CHARACTERS_MAX]


class Command:
    """One command on one channel, answered by a thread of its own."""

    def __init__(
        self,
        channel: Channel,
        raw: bytes | None,
        own: OwnAccount,
        *,
        name: str,
        answered: Callable[["Command"], None],
    ) -> None:
        """Prepare to answer; `answered` is called when the client has its answer."""
        self.chanid: Final = channel.chanid
        self._channel = channel
        self._raw = raw
        self._own = own
        self._answered = answered
        self._thread = threading.Thread(target=self._fence, name=name, daemon=True)

    @property
    def locks_itself(self) -> bool:
        """Whether it locks the device that its own session came with."""
        try:
            order = understand(self._raw)
        except NotUnderstoodError:
            return False
        return order.word is Word.LOCK and self._own.in_use(order.device)

    def start(self) -> None:
        """Answer on a thread of its own."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came in time."""
        if self._thread.ident is not None:  # else the connection ended before it began
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_quiet(self, quiet_ns: int) -> bool:  # noqa: ARG002 - a subsystem's too
        """Whether ending it now would interrupt nothing."""
        return not self._thread.is_alive()

    def _fence(self) -> None:
        try:
            self._answer()
        except (OSError, EOFError):
            log.debug("command channel lost", exc_info=True)
        except Exception:
            log.exception("command failed")
        finally:
            with suppress(OSError, EOFError):  # the connection is gone
                self._channel.close()
            self._answered(self)

    def _answer(self) -> None:
        told = answer(self._own, self._raw)
        self._channel.settimeout(ANSWER_S_MAX)
        self._channel.sendall(told.out.encode())
        self._channel.sendall_stderr(told.err.encode())
        self._channel.send_exit_status(told.status)
