"""Noticing that a SQLite file was taken away or replaced under an open connection."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

Identity = tuple[int, int]

_GONE: Final = (-1, -1)


class DatabaseFile:
    """The file behind a URL; a server's database has none and never changes."""

    def __init__(self, url: str) -> None:
        """Take the path from a SQLAlchemy URL."""
        parsed = make_url(url)
        local = parsed.get_backend_name() == "sqlite" and parsed.database
        self.path = Path(parsed.database or "") if local else None

    def look(self) -> Identity | None:
        """Which file is there now: device and inode; None for a server."""
        if self.path is None:
            return None
        with suppress(FileNotFoundError):
            status = self.path.stat()
            return status.st_dev, status.st_ino
        return _GONE
