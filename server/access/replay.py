"""The stages of a login replayed over the accounts, for `kagikura why`.

Every answer comes from the functions that decide for real connections; what a
connection would prove (a signature, a password, a code) is told as what is asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server.access.bans import BANNED
from server.auth.admission import Admission, Candidate, Need, Refusal, needs_of
from server.auth.attempt import source_key
from server.auth.bans import BanRow
from server.auth.snapshot import Device
from server.model.clock import rfc3339
from server.model.identity import Actor, Source
from server.model.operation import Protocol, Stage

ALLOWS: Final = "allows"
ASKS: Final = "asks"
REFUSES: Final = "refuses"


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage says."""

    stage: str
    verdict: str
    """`allows`, `asks` (for a proof that cannot be replayed) or `refuses`."""
    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose login, from where."""

    login: str
    source: Source
    protocol: Protocol
    device: str = ""
    """Its name; empty: none."""


@dataclass(slots=True)
class Replay:
    """The stages so far."""

    steps: list[Step] = field(default_factory=list)
    actor: Actor | None = None
    """Who would act, once login and line are settled."""

    @property
    def refused(self) -> bool:
        """Whether a stage refused; none is asked after it."""
        return bool(self.steps) and self.steps[-1].verdict == REFUSES

    def say(self, stage: Stage, verdict: str, rule: str, text: str) -> None:
        """Add a stage."""
        self.steps.append(Step(str(stage), verdict, rule, text))


def replay(
    rules: Admission, bans: Iterable[BanRow], question: Question, now_us: int
) -> Replay:
    """Ask stage after stage, as far as the first that refuses.

    Args:
        rules: Over the accounts.
        bans: Those that are known.
        question: Who and from where.
        now_us: The moment that is asked about.
    """
    found = Replay()
    _line(found, rules, bans, question, now_us)
    if not found.refused:
        _login(found, rules, question, now_us)
    return found


def _line(
    found: Replay,
    rules: Admission,
    bans: Iterable[BanRow],
    question: Question,
    now_us: int,
) -> None:
    lines = rules.lines(question.source, now_us)
    if isinstance(lines, Refusal):
        found.say(Stage.LINE, REFUSES, lines.rule, _LINE_TEXT.get(lines.rule, ""))
        return
    names = ", ".join(f"{line.name} ({'/'.join(line.networks)})" for line in lines)
    key, ids = source_key(question.source), {line.id for line in lines}
    for ban in bans:
        if ban.source == key and ban.line_id in ids and now_us < ban.until_us:
            text = (
                f"The source is banned until {rfc3339(ban.until_us)} ({ban.rule}); "
                f"`kagikura session ban lift {question.source.ip}` ends it."
            )
            found.say(Stage.LINE, ALLOWS, "line", f"In the line {names}.")
            found.say(BANNED.stage, REFUSES, BANNED.rule, text)
            return
    found.say(Stage.LINE, ALLOWS, "line", f"In the line {names}.")


def _login(found: Replay, rules: Admission, question: Question, now_us: int) -> None:
    who = rules.candidate(question.login, question.source, now_us)
    if isinstance(who, Refusal):
        text = _LOGIN_TEXT.get(who.rule, "")
        found.say(who.stage, REFUSES, who.rule, text)
        return
    standing = rules.standing(who.login)
    if standing is not None:
        text = _LOGIN_TEXT.get(standing.rule, "")
        found.say(standing.stage, REFUSES, standing.rule, text)
        return
    text = f"{who.login.kind} {who.login.name} of {who.contract}, line {who.line.name}."
    found.say(Stage.LOGIN, ALLOWS, "active", text)
    device = _device(found, rules, who, question, now_us)
    if found.refused:
        return
    found.actor = Actor(
        protocol=question.protocol,
        contract=who.contract,
        contract_id=who.login.contract_id,
        login=who.login.name,
        login_id=who.login.id,
        kind=who.login.kind,
        device=device.id if device else "",
        line_id=who.line.id,
        source=question.source,
    )
    _proofs(found, rules, who, device, now_us)


def _device(
    found: Replay,
    rules: Admission,
    who: Candidate,
    question: Question,
    now_us: int,
) -> Device | None:
    if Need.KEY not in needs_of(who.login):
        found.say(Stage.DEVICE, ALLOWS, "not_needed", "No device is asked for.")
        return None
    device = _chosen(rules, who, question)
    if isinstance(device, Device):
        judged = _judged(rules, who, device, now_us)
        if judged is None:
            by_key = bool(device.key_sha256)
            proof = "its key's signature" if by_key else "its secret as Basic password"
            text = f"{device.name} proves itself by {proof}."
            found.say(Stage.DEVICE, ASKS, "active", text)
            return device
        found.say(judged.stage, REFUSES, judged.rule, _DEVICE_TEXT.get(judged.rule, ""))
    else:
        found.say(Stage.DEVICE, REFUSES, *device)
    return None


def _chosen(
    rules: Admission, who: Candidate, question: Question
) -> Device | tuple[str, str]:
    """The device that is asked about, or the rule that refuses and its text."""
    mine = [d for d in rules.snapshot.devices if d.login_id == who.login.id]
    device = next((d for d in mine if d.name == question.device), None)
    if not question.device:
        names = ", ".join(device.name for device in mine) or "none"
        return "no_key_proved", f"Say which with --device; this login has: {names}."
    if device is None:
        return "unknown_device", f"This login has no device {question.device}."
    if not device.key_sha256 and question.protocol is not Protocol.WEBDAV:
        return "unknown_key", "It has a secret for WebDAV only; SFTP asks for a key."
    return device


def _judged(
    rules: Admission, who: Candidate, device: Device, now_us: int
) -> Refusal | None:
    if device.key_sha256:
        found = rules.device_by_key(who.login, device.key_sha256, now_us)
    else:
        found = rules.device_by_name(who.login, device.name, now_us)
    if isinstance(found, Refusal):
        return found
    return rules.strength(who, found, now_us)


def _proofs(
    found: Replay,
    rules: Admission,
    who: Candidate,
    device: Device | None,
    now_us: int,
) -> None:
    needs = needs_of(who.login)
    secret_only = device is not None and not device.key_sha256
    if Need.PASSWORD in needs and not secret_only:
        if who.login.password_hash is None:
            text = "No password is set: `kagikura login reset` makes a code to enrol."
            found.say(Stage.PASSWORD, REFUSES, "wrong_password", text)
            return
        found.say(Stage.PASSWORD, ASKS, "needed", "The login's password is asked for.")
    if Need.CODE not in needs:
        return
    until_us = rules.window_us(who.login, device, who.line)
    if until_us > now_us:
        text = f"An unlock window is open until {rfc3339(until_us)}."
        found.say(Stage.TOTP, ALLOWS, "unlock_window", text)
        return
    text = "A one-time code is asked for; in WebDAV, six digits after the password."
    found.say(Stage.TOTP, ASKS, "needed", text)


_LINE_TEXT: Final = {
    "no_line": "No line of any contract holds this address: `kagikura line list`.",
    "port": "A line holds the address, but not this source port (`--from IP:PORT`).",
    "line_suspended": "The most specific line for this address is suspended.",
    "line_expired": "The line's validity is over.",
    "line_not_yet_valid": "The line's validity has not begun.",
}
_LOGIN_TEXT: Final = {
    "unknown_login": "No contract whose line holds this address has such a login.",
    "unknown_contract": "There is no such contract.",
    "ambiguous_login": "Two contracts have this login here: write LOGIN@CONTRACT.",
    "line_of_another_contract": "The address lies in lines of other contracts only.",
    "not_enrolled": "The person has not enrolled: `kagikura enrol`.",
    "login_disabled": "Disabled: `kagikura login enable`.",
    "auditor_has_no_files": "An auditor reads the trail and has no files.",
}
_DEVICE_TEXT: Final = {
    "device_locked": "Locked: `kagikura device unlock`.",
    "device_pending": "Waits for approval: `kagikura device approve`.",
    "device_expired": "Its validity is over.",
    "no_secret": "It has neither key nor secret.",
    "weak_key": "RSA below 2048 bits: only for a scanner on a legacy line.",
}
