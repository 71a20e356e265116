"""What an open file is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from server.audit.gate import Act
from server.model.session import Session
from server.storage.port import StoredFile
from server.vfs.tree import Place


@dataclass(slots=True, kw_only=True)
class Opening:
    """What an open file is and how it ends; made by the view."""

    act: Act
    session: Session
    place: Place
    file: StoredFile
    permitted: Callable[[], None]
    """Raises when the session's right to the file was taken away."""
    running: Callable[[], None]
    """Raises when the trail has no room for a transfer to go on."""
    readable: bool
    writable: bool
    append: bool = False
    hashed: bool = False
    """Whether the content's SHA-256 is recorded when it goes by whole."""
    sync: bool = True
    """Whether the content is brought to the disk before a close is answered."""
    publish: Callable[[], None] | None = None
    """Moves a staged file into place at a clean end; None: it is in place."""
    discard: Callable[[], None] | None = None
    """Removes a staged file, or sets it aside, at an unclean end."""
