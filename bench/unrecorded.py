"""Our daemon with a journal that keeps nothing, to measure what the trail costs.

`python bench/unrecorded.py --config FILE serve`. Acts are parsed, allowed and made
into records as ever; only appending, hashing and syncing are left out, so such a store
cannot be searched, proved or started again.
"""

from server.audit.journal import Journal
from server.cli.main import main
from server.model.event import Fields


def _append(_: Journal, fields: Fields, *, essential: bool = False) -> int:  # noqa: ARG001 - thrown away
    return 0


def _wait(_: Journal, seq: int) -> None:
    """Nothing is written, so nothing is waited for."""


if __name__ == "__main__":
    Journal.append = _append  # type: ignore[method-assign]
    Journal.wait = _wait  # type: ignore[method-assign]
    main()
