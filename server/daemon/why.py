"""`kagikura why`: the decision about one act, replayed stage by stage."""

from dataclasses import dataclass
from typing import Final

from server.access.replay import ALLOWS, ASKS, REFUSES, Question, Replay, Step, replay
from server.auth.accounts import load_snapshot
from server.auth.admission import Admission
from server.auth.bans import read_bans
from server.daemon.parts import opened_accounts
from server.daemon.reading import operator_fields
from server.daemon.trail import CLOCK, PassingTrail, require_store
from server.db.engine import DatabaseError, reading
from server.model.errors import NotFoundError, RefusedError, UnavailableError
from server.model.event import Json
from server.model.operation import Operation, Outcome, Stage
from server.settings.schema import Settings
from server.vfs.decision import OPERATIONS, decide

__all__ = ["OPERATIONS", "Act", "Question", "why"]

Facts = dict[str, Json]
_NOT_THERE: Final = "outside_the_tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What the login would do."""

    operation: Operation
    path: str
    target: str = ""


def why(settings: Settings, operator: str, question: Question, act: Act) -> Facts:
    """Who or what allows or refuses an act; the question is on record.

    Args:
        settings: Of the store.
        operator: Who asks, `os:NAME`.
        question: Whose login from where.
        act: What it would do.

    Raises:
        NotInitialisedError: `kagikura init` was not run.
        UnavailableError: Accounts or trail do not answer.
    """
    require_store(settings)
    now_us = CLOCK.time_us()
    try:
        with opened_accounts(settings) as engine, reading(engine) as connection:
            rules = Admission(load_snapshot(connection))
            bans = read_bans(connection)
    except DatabaseError as error:
        raise UnavailableError("The accounts database does not answer.") from error
    found = replay(rules, bans, question, now_us)
    if not found.refused:
        _rights(found, rules, act)
    facts = _facts(found, question, act)
    PassingTrail(settings).event(
        operator_fields(operator),
        Operation.ADMIN_LOGIN_WHY,
        Outcome.DONE,
        target=question.login,
        detail={name: facts[name] for name in ("from", "act", "allowed", "rule")},
    )
    return facts


def _rights(found: Replay, rules: Admission, act: Act) -> None:
    if found.actor is None:
        return
    try:
        permission = decide(
            found.actor, rules.snapshot, act.operation, act.path, act.target
        )
    except RefusedError as error:
        if error.stage is not Stage.PATH:
            found.say(Stage.PATH, ALLOWS, "path", "The spelling is acceptable.")
        found.say(error.stage, REFUSES, error.rule, str(error))
        return
    except NotFoundError as error:
        found.say(Stage.PATH, REFUSES, _NOT_THERE, str(error))
        return
    found.say(Stage.PATH, ALLOWS, "path", f"{permission.path}")
    text = f"Rights here: {permission.rights}."
    if permission.remark:
        text += f" {permission.remark[0].upper()}{permission.remark[1:]}."
    found.say(Stage.RIGHTS, ALLOWS, f"may_{act.operation}", text)


def _facts(found: Replay, question: Question, act: Act) -> Facts:
    last = found.steps[-1]
    stages: list[Json] = [_step(step) for step in found.steps]
    asked: list[Json] = [step.stage for step in found.steps if step.verdict == ASKS]
    source = question.source
    done = " ".join(filter(None, [str(act.operation), act.path, act.target]))
    return {
        "login": question.login,
        "from": f"{source.ip} port {source.port}" if source.port else source.ip,
        "protocol": str(question.protocol),
        "act": done,
        "allowed": not found.refused,
        "stage": last.stage,
        "rule": last.rule,
        "asked": asked,
        "stages": stages,
    }


def _step(step: Step) -> Json:
    return {
        "stage": step.stage,
        "verdict": step.verdict,
        "rule": step.rule,
        "text": step.text,
    }
