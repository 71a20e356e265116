"""Files that a command hands out: new, for their owner alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import typer


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that nobody else may read; it goes again when the block fails.

    Open it before the command becomes the store's owner: it is meant for the person who
    typed the path.
    """
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        with suppress(OSError):  # the store's owner may not have the right
            path.unlink()
        raise
