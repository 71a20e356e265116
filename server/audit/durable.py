"""Writing small files so that a crash leaves the old content or the new."""

import os
from pathlib import Path

from server.audit.segment import sync_folder


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read: whole or not at all, and durable.

    Raises:
        OSError: It cannot be written.
    """
    staged = path.with_name(f"{path.name}.part")
    staged.unlink(missing_ok=True)
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
    """Add to a file's end, durably; a new file's name is durable too.

    Raises:
        OSError: It cannot be written.
    """
    new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)
