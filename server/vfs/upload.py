"""A file that comes from its first byte to its last: a WebDAV PUT."""

from server.model.errors import IncompleteUploadError, ServerError
from server.storage.port import Changes
from server.vfs.entry import Entry
from server.vfs.handle import OpenFile


class Upload:
    """A file that comes from its first byte to its last and then stands whole."""

    def __init__(
        self, file: OpenFile, *, length: int | None, replaces: bool = False
    ) -> None:
        """Receive into a staged file; `length` bytes are announced, if known.

        Raises:
            QuotaRefusedError: They do not fit; nothing changed.
        """
        if length is not None:
            file.expect(length)
        self.replaces = replaces
        """Whether something was there already."""
        self._file = file
        self._length = length
        self._received = 0
        self.mtime_ns: int | None = None
        """When the content was last changed, if the client says so."""

    def write(
        self, data: bytes | bytearray | memoryview, *, kept: bool = False
    ) -> None:
        """The next bytes; `kept`: nobody changes them until the next call."""
        self._file.write_at(self._received, data, kept=kept)
        self._received += len(data)

    def commit(self) -> Entry:
        """All came: publish.

        Raises:
            IncompleteUploadError: Fewer or more bytes than announced; nothing changed.
        """
        if self._length is not None and self._received != self._length:
            error = IncompleteUploadError(
                f"{self._received} of {self._length} bytes came; nothing was stored."
            )
            self._file.fail(error)
            raise error
        if self.mtime_ns is not None:
            self._file.change(Changes(mtime_ns=self.mtime_ns))
        entry = self._file.entry
        self._file.close()
        return entry

    def fail(self, error: ServerError) -> None:
        """It cannot come to its end because of `error`; nothing changed."""
        self._file.fail(error)

    def abort(self, reason: str) -> None:
        """It will not come to its end; nothing changed."""
        self._file.abort(reason)
