"""Failed logins of this process: whom they delay, and which sources are banned.

The counts live in memory, a process each; what is decided (`auth.attempt`) is pure.
A try that comes during its delay is refused unseen and counted in the trail instead of
told one by one. Names that no login has are delayed as well, and a delayed try takes as
long as any other: neither must tell which names there are.
"""

import threading
from collections import OrderedDict
from typing import Final, TypeVar

from server.access.bans import Bans
from server.access.knocks import Knocks
from server.auth.admission import Refusal
from server.auth.attempt import Knocking, Tries, source_key
from server.auth.snapshot import Line
from server.model.clock import Clock
from server.model.identity import Actor, Source
from server.model.operation import Stage
from server.settings.schema import AuthSettings

TOO_SOON: Final = Refusal(Stage.LIMIT, "too_many_tries")
_KEPT_MAX: Final = 8192
_NAME_CHARACTERS_MAX: Final = 64
"""Of a name that is kept; no login has a longer one."""
_US: Final = 1_000_000
_WRONG: Final = frozenset({
    Refusal(Stage.PASSWORD, "wrong_password"),
    Refusal(Stage.TOTP, "wrong_code"),
    Refusal(Stage.TOTP, "replayed_code"),
    Refusal(Stage.DEVICE, "wrong_secret"),
})
"""What somebody typed, or a program keeps, and is wrong."""
_STRANGE: Final = frozenset({
    "unknown_login",
    "unknown_contract",
    "ambiguous_login",
    "line_of_another_contract",
    "unknown_key",
    "device_of_another_login",
    "unknown_device",
    "no_secret",
    "no_key_proved",
    "wrong_signature",
    "wrong_secret",
})
"""Rules that show no device of the store: they count against the source."""
_UNKNOWN: Final = frozenset({"unknown_login", "unknown_contract"})

_Kept = TypeVar("_Kept")


class Attempts:
    """The failures that still count. Thread-safe, bounded."""

    def __init__(
        self, bans: Bans, knocks: Knocks, *, clock: Clock, settings: AuthSettings
    ) -> None:
        """Ban by `bans`; tries within a delay are counted by `knocks`."""
        self.bans = bans
        self._knocks = knocks
        self._clock = clock
        self._free = settings.tries_free
        self._delay_us_max = settings.tries_delay_s_max * _US
        self._unknown_max = settings.unknown_logins_max
        self._tries: OrderedDict[str, Tries] = OrderedDict()
        self._knocking: OrderedDict[str, Knocking] = OrderedDict()
        self._lock = threading.Lock()  # Guards the two. Taken before none.

    def too_soon(
        self, actor: Actor, name: str, lines: tuple[Line, ...]
    ) -> Refusal | None:
        """Whether the login on its device and line has to wait still.

        Args:
            actor: Who claims to be whom, from where.
            name: As the client gave it.
            lines: Those of the source.
        """
        with self._lock:
            tries = self._tries.get(_subject(actor, name, lines))
        if tries is not None and self._clock.time_us() < tries.closed_until_us:
            return TOO_SOON
        return None

    def failed(
        self, actor: Actor, name: str, refusal: Refusal, lines: tuple[Line, ...]
    ) -> bool:
        """Count a refused login; true when the trail tells it by a count.

        Args:
            actor: Who claimed to be whom, from where.
            name: As the client gave it.
            refusal: Why it was refused.
            lines: Those of the source.

        Raises:
            AuditUnavailableError: A ban or a count is not recorded.
        """
        if refusal in _WRONG or refusal.rule in _STRANGE:
            self._delay(_subject(actor, name, lines), self._clock.time_us())
        if refusal.rule in _STRANGE or not actor.device:
            rule = self._strange(actor.source, name, refusal)
            if rule:
                self.bans.add(actor, lines, rule)
        if refusal == TOO_SOON:
            self._knocks.add(actor, refusal)
            return True
        return False

    def succeeded(self, actor: Actor) -> None:
        """Forget the failures of who is in now."""
        with self._lock:
            self._tries.pop(_subject(actor, actor.login, ()), None)

    def _delay(self, subject: str, now_us: int) -> None:
        with self._lock:
            tries = self._tries.get(subject, Tries())
            after = tries.after_failure(
                now_us, free=self._free, delay_us_max=self._delay_us_max
            )
            _keep(self._tries, subject, after)

    def _strange(self, source: Source | None, name: str, refusal: Refusal) -> str:
        """Count against the source; the rule that bans it now, or empty."""
        if source is None:
            return ""
        key, now_us = source_key(source), self._clock.time_us()
        unknown = name if refusal.rule in _UNKNOWN and name else None
        with self._lock:
            knocking = self._knocking.pop(key, Knocking(since_us=now_us))
            knocking = knocking.after_failure(now_us, unknown)
            rule = knocking.ban_rule(unknown_max=self._unknown_max)
            if not rule:
                _keep(self._knocking, key, knocking)
        return rule


def _keep(kept: "OrderedDict[str, _Kept]", key: str, value: _Kept) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT_MAX:
        kept.popitem(last=False)


def _subject(actor: Actor, name: str, lines: tuple[Line, ...]) -> str:
    """Line, device and login.

    A name that no login has stands for itself, however its device and contract are
    written, in all lines of the source: as if there were such a login.
    """
    places = actor.line_id or " ".join(line.id for line in lines)
    if not places and actor.source:
        places = source_key(actor.source)
    bare = name.partition("@")[0].partition("+")[0][:_NAME_CHARACTERS_MAX]
    return f"{places}/{actor.device}/{actor.login_id or bare}"
