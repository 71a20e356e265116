"""The one provider at `/`: from a path and a request to a resource."""

from typing import Any

from wsgidav.dav_error import DAVError
from wsgidav.dav_provider import DAVProvider

from server.model.errors import NotFoundError, ServerError
from server.model.operation import Operation
from server.vfs.view import View
from server.webdav.resource import Resource
from server.webdav.status import dav_error, translated
from server.webdav.target import view_of


class StoreProvider(DAVProvider):
    """Finds resources through the request's view."""

    def __init__(self) -> None:
        """Make it; whose resources it finds travels in each environ."""
        super().__init__()
        self.verbose = 0  # wsgidav prints tracebacks to stdout above 1
        self.set_share_path("/")

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Resource | None:
        """What is there, on behalf of the request's act; None when nothing is.

        A look on behalf of another act leaves no record. A PROPFIND of a resource
        alone, or of a file, and a HEAD are looks themselves: a `stat` is recorded. A
        folder's PROPFIND with Depth 1 is recorded when its members are listed.

        Raises:
            DAVError: The path is refused, or the trail cannot be written.
        """
        view = view_of(environ)
        operation: Operation = environ["kagikura.operation"]
        with translated():
            if operation is Operation.STAT:
                return Resource(view.stat(path), environ)
            entry = view.lookup(path, operation)
            if entry is None:
                return None
            if operation is Operation.LIST and not entry.is_folder:
                entry = view.stat(path)
        return Resource(entry, environ)


def not_found(view: View, raw: str, operation: Operation) -> DAVError:
    """A 404 that is on record."""
    try:
        view.refuse(operation, raw, NotFoundError("There is no such file or folder."))
    except ServerError as error:
        return dav_error(error)
