"""Files that a command hands out: new, for their owner alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import typer

from server.cli.store import owner_of


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


class Write(Protocol):
    """Writes one file of a new folder."""

    def __call__(self, name: str, content: bytes, *, executable: bool = False) -> None:
        """Write it."""
        ...


@contextmanager
def new_folder(path: Path, state_dir: Path) -> Iterator[Write]:
    """A new folder that nobody else may enter; it goes again when the block fails.

    Make it before the command becomes the store's owner, who writes into it: started
    as root, it is given to that owner, who need not be able to come to it by its path.
    """
    try:
        path.mkdir(mode=0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    written: list[str] = []

    def write(name: str, content: bytes, *, executable: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        mode = 0o700 if executable else 0o600
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        written.append(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    try:
        if os.geteuid() == 0:
            owner = owner_of(state_dir)
            os.fchown(folder, owner.st_uid, owner.st_gid)
        yield write
    except BaseException:
        for name in written:
            os.unlink(name, dir_fd=folder)
        with suppress(OSError):  # the store's owner may not have the right
            path.rmdir()
        raise
    finally:
        os.close(folder)
