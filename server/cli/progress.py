"""A progress bar on stderr, for a person at a terminal only."""

import sys
import time
from typing import Final

_WIDTH: Final = 30
_EVERY_S: Final = 0.2


class Progress:
    """Draws how far something has come, a few times a second at most."""

    def __init__(self) -> None:
        """Draw only where someone looks."""
        self._shown = sys.stderr.isatty()
        self._started_s = time.monotonic()
        self._drawn_s = 0.0

    def __call__(self, share: float) -> None:
        """Draw.

        Args:
            share: What is done, 0 to 1; 1 ends the line.
        """
        now = time.monotonic()
        done = share >= 1
        if not self._shown or (not done and now - self._drawn_s < _EVERY_S):
            return
        self._drawn_s = now
        full = min(int(share * _WIDTH), _WIDTH)
        bar = "#" * full + "-" * (_WIDTH - full)
        end = "\n" if done else ""
        sys.stderr.write(f"\r[{bar}] {share:4.0%} {self._left(share, now)}\x1b[K{end}")
        sys.stderr.flush()

    def _left(self, share: float, now: float) -> str:
        spent_s = now - self._started_s
        if share >= 1:
            return f"{spent_s:.0f} s"
        return f"{spent_s * (1 - share) / share:.0f} s left" if share else ""
