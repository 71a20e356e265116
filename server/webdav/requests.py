"""What each WebDAV method does: wsgidav's request server over our views.

PROPPATCH, LOCK and UNLOCK are wsgidav's own. The methods that move data or names are
ours, for wsgidav stores cut uploads, deletes a destination before it moves, and looks
at locks of the parent alone; PROPFIND is, for it holds a whole listing in memory.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from wsgidav import util
from wsgidav.dav_error import DAVError
from wsgidav.request_server import RequestServer

from server.model.errors import (
    ExistsError,
    LimitError,
    NameCollisionError,
    NotFoundError,
    PathRefusedError,
    RightsRefusedError,
    ServerError,
)
from server.model.operation import Operation
from server.model.path import PATH_BYTES_MAX, VirtualPath
from server.vfs.entry import Entry
from server.vfs.view import View
from server.webdav.conditions import failed_condition
from server.webdav.download import streamed, typed_headers, wanted_part
from server.webdav.locking import Locks, root_of
from server.webdav.propfind import answer, asked
from server.webdav.provider import StoreProvider, not_found
from server.webdav.resource import Resource
from server.webdav.status import dav_error, server_error, status_line, translated
from server.webdav.target import (
    canonical,
    deep_transfer,
    destination,
    overwrites,
    tagged,
    view_of,
)
from server.webdav.upload import body_of, receive

Environ = dict[str, Any]
Start = Callable[..., Any]

ALLOWED: Final = (
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, "
    "PROPFIND, PROPPATCH, LOCK, UNLOCK"
)


_TOLD_MAX: Final = 200
"""How much of a header goes into a record."""


class Requests(RequestServer):
    """One for all requests; what belongs to one of them travels in its environ."""

    def __init__(self, locks: Locks) -> None:
        """Serve with `locks`."""
        super().__init__(StoreProvider(locks))
        self.provider = self._davProvider
        self._locks = locks

    # Reading.

    def do_OPTIONS(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802, ARG002 - wsgidav's name
        """Say what the store can do; the same for every path."""
        start_response(status_line(200), [("Allow", ALLOWED), ("Content-Length", "0")])
        return [b""]

    def do_HEAD(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """The head of what GET would answer."""
        entry = self._entry(environ)
        self._require_conditions(environ, entry)
        length = 0 if entry.is_folder else entry.size
        headers = [*typed_headers(entry), ("Content-Length", str(length))]
        start_response(status_line(200), headers)
        return [b""]

    def do_GET(self, environ: Environ, start_response: Start) -> Iterator[bytes]:  # noqa: N802 - wsgidav's name
        """A file's bytes."""
        entry = self._entry(environ)
        view, raw = view_of(environ), environ["PATH_INFO"]
        try:
            self._require_conditions(environ, entry)
        except DAVError as error:
            if error.value == HTTPStatus.NOT_MODIFIED:
                with translated():
                    view.stat(raw)  # the client learnt how the file stands
            raise
        with translated():
            file = view.open_read(raw)
        try:
            # What was opened counts, should the file have changed meanwhile.
            entry = file.entry
            part = wanted_part(environ, entry)
        except BaseException:
            file.abort("range")
            raise
        first, count = part or (0, entry.size)
        headers = [*typed_headers(entry), ("Content-Length", str(count))]
        if part is not None:
            span = f"bytes {first}-{first + count - 1}/{entry.size}"
            headers.append(("Content-Range", span))
        start_response(status_line(200 if part is None else 206), headers)
        yield from streamed(file, first, count)

    def do_PROPFIND(self, environ: Environ, start_response: Start) -> Iterator[bytes]:  # noqa: N802 - wsgidav's name
        """Properties of a resource or of a folder's members, never of a tree."""
        depth = environ.setdefault("HTTP_DEPTH", "infinity").lower()
        if depth == "infinity":
            refusal = LimitError("List one folder at a time.", rule="propfind_depth")
            view = view_of(environ)
            try:
                view.refuse(Operation.LIST, environ["PATH_INFO"], refusal)
            except ServerError as error:
                refused = dav_error(error)
                if error is refusal:
                    refused = DAVError(
                        HTTPStatus.FORBIDDEN,
                        err_condition="{DAV:}propfind-finite-depth",
                        src_exception=error,
                    )
                raise refused from error
        if depth not in {"0", "1"}:
            raise DAVError(HTTPStatus.BAD_REQUEST, "Depth must be 0 or 1.")
        found = self._resource(environ)
        self._evaluate_if_headers(found, environ)
        what = asked(environ)
        return answer(found.and_members(deep=depth == "1"), what, start_response)

    # Writing.

    def do_PROPPATCH(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Set the times that Explorer sets; what else it tries is on record, too."""
        answered: list[bytes] = super().do_PROPPATCH(environ, start_response)
        view, raw = view_of(environ), environ["PATH_INFO"]
        with translated():
            if environ.get("kagikura.refused_property"):
                refusal = RightsRefusedError("It cannot be set.", rule="property")
                with suppress(RightsRefusedError):
                    view.refuse(environ["kagikura.operation"], raw, refusal)
            elif not environ.get("kagikura.changed"):
                view.stat(raw)  # the client learnt that it is there
        return answered

    def do_PUT(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Store a file."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        if "HTTP_CONTENT_RANGE" in environ or "HTTP_CONTENT_ENCODING" in environ:
            raise DAVError(HTTPStatus.BAD_REQUEST, "Send the whole file as it is.")
        found = self._looked_up(environ, raw)
        path = _canonical(view, raw)
        self._require_conditions(environ, found)
        self._require_unlocked(environ, path if found else path.parent, "0")
        statuses: dict[type[ServerError], int] = {
            NotFoundError: HTTPStatus.CONFLICT,
            LimitError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        }
        writing = self._locks.write_transaction(
            url=root_of(view.session.actor, path),
            token_list=environ["wsgidav.ifLockTokenList"],
            principal=environ["wsgidav.user_name"],
        )
        with writing, translated(statuses):
            entry = receive(view, raw, environ)
        status = HTTPStatus.CREATED if found is None else HTTPStatus.NO_CONTENT
        return _done(start_response, status, ("ETag", f'"{entry.etag}"'))

    def do_MKCOL(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Make a folder."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        if body_of(environ).read(1):
            raise DAVError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "MKCOL takes no body.")
        util.parse_if_header_dict(environ)
        self._looked_up(environ, raw)  # a refused spelling is on record from here on
        path = _canonical(view, raw)
        self._require_unlocked(environ, path.parent, "0")
        statuses: dict[type[ServerError], int] = {
            ExistsError: HTTPStatus.METHOD_NOT_ALLOWED,
            NotFoundError: HTTPStatus.CONFLICT,
        }
        with translated(statuses):
            view.make_folder(raw)
        return _done(start_response, HTTPStatus.CREATED)

    def do_DELETE(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Remove a file, or a folder with all below it."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        entry = self._entry(environ)
        if entry.is_folder and environ.get("HTTP_DEPTH", "infinity") != "infinity":
            raise DAVError(HTTPStatus.BAD_REQUEST, "A folder goes with all below it.")
        self._require_conditions(environ, entry)
        self._require_unlocked(environ, entry.path.parent, "0")
        self._require_unlocked(environ, entry.path, "infinity")
        with translated():
            (view.delete_tree if entry.is_folder else view.delete)(raw)
        self._unlock_below(view, entry.path)
        return _done(start_response, HTTPStatus.NO_CONTENT)

    def do_COPY(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Copy a file or folder."""
        return self._transfer(environ, start_response, moves=False)

    def do_MOVE(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Move a file or folder."""
        return self._transfer(environ, start_response, moves=True)

    def _transfer(
        self, environ: Environ, start_response: Start, *, moves: bool
    ) -> list[bytes]:
        view, raw = view_of(environ), environ["PATH_INFO"]
        target_raw = self._destination(environ, raw)
        overwrite = overwrites(environ)
        with translated():
            entry, replaced = view.lookup_both(
                raw, target_raw, environ["kagikura.operation"]
            )
        deep = deep_transfer(environ, moves_folder=moves and entry.is_folder)
        target = _canonical(view, target_raw)
        self._require_conditions(environ, entry)
        if moves:
            self._require_unlocked(environ, entry.path, "infinity")
            self._require_unlocked(environ, entry.path.parent, "0")
        self._require_unlocked(environ, target, "infinity")
        if replaced is None:
            self._require_unlocked(environ, target.parent, "0")
        statuses: dict[type[ServerError], int] = {
            NotFoundError: HTTPStatus.CONFLICT,
            NameCollisionError: HTTPStatus.CONFLICT,
            # The spelling is known to be good: one path holds the other.
            PathRefusedError: HTTPStatus.FORBIDDEN,
        }
        with translated(statuses):
            if moves:
                view.rename(raw, target_raw, overwrite=overwrite)
                self._unlock_below(view, entry.path)
            else:
                view.copy(raw, target_raw, overwrite=overwrite, deep=deep)
        status = HTTPStatus.CREATED if replaced is None else HTTPStatus.NO_CONTENT
        return _done(start_response, status)

    def _destination(self, environ: Environ, raw: str) -> str:
        try:
            environ["kagikura.target"] = found = destination(environ)
        except PathRefusedError as error:
            told = environ["HTTP_DESTINATION"][:PATH_BYTES_MAX]
            with translated():
                view_of(environ).refuse(
                    environ["kagikura.operation"],
                    raw,
                    error,
                    detail={"target_raw": told},
                )
        return found

    # Locks.

    def do_LOCK(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Take a lock, or let one of one's own last longer."""
        util.parse_if_header_dict(environ)
        tokens = environ["wsgidav.ifLockTokenList"]
        refresh = environ.get("CONTENT_LENGTH", "0") == "0"
        if refresh:
            for token in tokens:
                self._require_own(environ, token)
        else:
            view, raw = view_of(environ), environ["PATH_INFO"]
            found = self._looked_up(environ, raw)
            if found is None:
                path = _canonical(view, raw)
                self._require_unlocked(environ, path.parent, "0")
        depth = "0" if refresh else environ.get("HTTP_DEPTH", "infinity")[:_TOLD_MAX]
        return self._recorded(
            environ,
            {"depth": depth, "refresh": refresh},
            lambda: super(Requests, self).do_LOCK(environ, start_response),
        )

    def do_UNLOCK(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Give a lock back."""
        token = environ.get("HTTP_LOCK_TOKEN", "").strip("<> ")[:_TOLD_MAX]
        return self._recorded(
            environ,
            {"token": token},
            lambda: super(Requests, self).do_UNLOCK(environ, start_response),
        )

    def _recorded(
        self, environ: Environ, detail: dict[str, Any], act: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """Do what wsgidav does with its lock table, as one act of the trail."""
        view = view_of(environ)
        operation: Operation = environ["kagikura.operation"]
        try:
            with view.recording(operation, environ["PATH_INFO"], detail):
                try:
                    return act()
                except DAVError as error:
                    raise server_error(error) from error
        except ServerError as error:
            cause = error.__cause__
            if isinstance(cause, DAVError):
                cause.src_exception = error  # it is on record
                raise cause from error
            raise dav_error(error) from error

    def _require_own(self, environ: Environ, token: str) -> None:
        holder = self._locks.get_lock(token, key="principal")
        if holder is not None and holder != environ["wsgidav.user_name"]:
            raise DAVError(HTTPStatus.FORBIDDEN, "The lock is somebody else's.")

    def _unlock_below(self, view: View, path: VirtualPath) -> None:
        root = root_of(view.session.actor, path)
        self._locks.remove_all_locks_from_url(root, recursive=True)

    def _require_unlocked(
        self, environ: Environ, path: VirtualPath, depth: str
    ) -> None:
        self._locks.check_write_permission(
            url=root_of(view_of(environ).session.actor, path),
            depth=depth,
            token_list=environ["wsgidav.ifLockTokenList"],
            principal=environ["wsgidav.user_name"],
        )

    # What is there, and whether the client still means it.

    def _entry(self, environ: Environ) -> Entry:
        return self._resource(environ).entry

    def _resource(self, environ: Environ) -> Resource:
        found = self.provider.get_resource_inst(environ["PATH_INFO"], environ)
        if found is None:
            operation = environ["kagikura.operation"]
            raise not_found(view_of(environ), environ["PATH_INFO"], operation)
        resource: Resource = found
        return resource

    def _looked_up(self, environ: Environ, raw: str) -> Entry | None:
        with translated():
            return view_of(environ).lookup(raw, environ["kagikura.operation"])

    def _require_conditions(self, environ: Environ, entry: Entry | None) -> None:
        resource = None if entry is None else Resource(entry, environ)
        self._evaluate_if_headers(resource, environ)

    def _evaluate_if_headers(self, res: Resource | None, environ: Environ) -> None:
        """RFC 9110's conditions and RFC 4918's `If`; wsgidav asks here too."""
        status = failed_condition(
            environ,
            method=environ["REQUEST_METHOD"],
            etag=None if res is None else res.get_etag(),
            mtime_s=None if res is None else int(res.get_last_modified()),
        )
        if status is not None:
            raise DAVError(status, "The file is not as the client expects it.")
        util.parse_if_header_dict(environ)
        conditions = environ["wsgidav.conditions.if"]
        if not conditions or res is None:
            return
        view = view_of(environ)
        by_root = {_tag_root(view, tag): lists for tag, lists in conditions.items()}
        root = res.get_ref_url()
        held = [
            lock["token"]
            for lock in self._locks.get_indirect_url_lock_list(
                root, principal=environ["wsgidav.user_name"]
            )
        ]
        etag = res.get_etag() or "[]"
        if not util.test_if_header_dict(res, by_root, root, held, etag):
            raise DAVError(HTTPStatus.PRECONDITION_FAILED, "An If condition failed.")


def _canonical(view: View, raw: str) -> VirtualPath:
    with translated():
        return canonical(view, raw)


def _tag_root(view: View, tag: str) -> str:
    path = None if tag == "*" else tagged(view, tag)
    return tag if path is None else root_of(view.session.actor, path)


def _done(start_response: Start, status: int, *headers: tuple[str, str]) -> list[bytes]:
    length = [] if status == HTTPStatus.NO_CONTENT else [("Content-Length", "0")]
    start_response(status_line(status), [*length, *headers])
    return [b""]
