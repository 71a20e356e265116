"""A process that ends, as by kill -9, after any number of its effects on the disk.

The act runs in a forked child whose calls into the kernel are counted: those that
change a file, a folder or the journal. So the steps between which a crash may come are
enumerated by the code itself, and none can be forgotten when it changes.
"""

import os
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from server.storage.confined import Confined
from tests.support.house import House, open_house

KILLED = 137
EFFECTS = (
    "copy_file_range",
    "fchmod",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "pwrite",
    "rename",
    "rmdir",
    "setxattr",
    "unlink",
    "utime",
    "write",
)


class _Countdown:
    """Ends the process before the effect that is one too many."""

    def __init__(self, effects: int) -> None:
        self._left = effects

    def before(self) -> None:
        # The journal's own thread syncs at times of its own; it is not counted.
        if threading.current_thread() is not threading.main_thread():
            return
        if self._left == 0:
            os._exit(KILLED)
        self._left -= 1


def killed_after(
    effects: int,
    folder: Path,
    act: Callable[[House], object],
    opened: Callable[[Path], AbstractContextManager[House]] = open_house,
) -> bool:
    """Let a child do `act` on the store in `folder`, killed after so many effects.

    Returns:
        Whether it was killed; False when the act came to its end before.

    Raises:
        AssertionError: The act failed; its traceback is on stderr.
    """
    pid = os.fork()
    if pid == 0:
        _be_killed_after(effects, opened(folder), act)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {0, KILLED}, f"the act ended with {code}"
    return code == KILLED


def _be_killed_after(
    effects: int,
    opened: AbstractContextManager[House],
    act: Callable[[House], object],
) -> None:
    try:
        with opened as house:
            _plant(_Countdown(effects))
            act(house)
            os._exit(0)
    except BaseException:  # noqa: BLE001 - the child must never come back
        traceback.print_exc()
        os._exit(1)


def _plant(countdown: _Countdown) -> None:
    """Count every effect of this process from now on; it ends soon."""
    for name in EFFECTS:
        setattr(os, name, _counted(getattr(os, name), countdown))
    Confined.rename_new = _counted(Confined.rename_new, countdown)  # type: ignore[method-assign]  # a fault
    make = Confined.open

    def opening(
        self: Confined, folder: int, parts: tuple[str, ...], flags: int, mode: int = 0
    ) -> int:
        if flags & os.O_CREAT:
            countdown.before()
        return make(self, folder, parts, flags, mode)

    Confined.open = opening  # type: ignore[method-assign]  # a fault


def _counted(effect: Callable[..., Any], countdown: _Countdown) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - any call
        countdown.before()
        return effect(*arguments, **named)

    return counted
