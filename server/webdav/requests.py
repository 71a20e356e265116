"""What each WebDAV method does: wsgidav's request server over our views.

wsgidav dispatches, and reads headers and XML. The methods are ours, for wsgidav stores
cut uploads, deletes a destination before it moves, and knows the locks of one process;
and for it holds a whole listing in memory.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

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
from server.model.path import PATH_BYTES_MAX
from server.vfs.entry import Entry, Judge
from server.vfs.view import View
from server.webdav import locking, proppatch
from server.webdav.asked import asked
from server.webdav.conditions import require_expected
from server.webdav.download import opened, typed_headers
from server.webdav.propfind import answer, by_tree
from server.webdav.provider import StoreProvider, not_found
from server.webdav.refusals import ALLOWED
from server.webdav.resource import Resource
from server.webdav.status import dav_error, status_line, translated
from server.webdav.target import (
    canonical,
    deep_transfer,
    destination,
    overwrites,
    parse_if,
    tagged,
    tokens_of,
    view_of,
)
from server.webdav.upload import body_of, stored

Environ = dict[str, Any]
Start = Callable[..., Any]


class Requests(RequestServer):
    """One for all requests; what belongs to one of them travels in its environ."""

    def __init__(self) -> None:
        """Serve what each request's view shows."""
        super().__init__(StoreProvider())
        # It offers them only with a lock manager of its own.
        self._possible_methods += ["LOCK", "UNLOCK"]
        self.provider = self._davProvider

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
        download = opened(environ, self._judge(environ))
        start_response(status_line(download.status), download.headers)
        yield from download.blocks()

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
        found_all = answer(by_tree(found, asked(environ), deep=depth == "1"))
        start_response(status_line(found_all.status), found_all.headers)
        return found_all.blocks

    # Writing.

    def do_PROPPATCH(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Set and remove properties; what cannot be set is on record, too."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        found = self._resource(environ)
        self._require_conditions(environ, found.entry)
        update = proppatch.update_of(environ)
        if update.refused:
            refusal = RightsRefusedError("It cannot be set.", rule="property")
            with translated(), suppress(RightsRefusedError):
                view.refuse(environ["kagikura.operation"], raw, refusal)
        else:
            statuses: dict[type[ServerError], int] = {
                LimitError: HTTPStatus.INSUFFICIENT_STORAGE
            }
            with translated(statuses):
                view.properties.change(
                    raw, update.values, update.changes, tokens_of(environ)
                )
        return proppatch.answer(found.get_href(), update, start_response)

    def do_PUT(self, environ: Environ, start_response: Start) -> Iterable[bytes]:  # noqa: N802 - wsgidav's name
        """Store a file."""
        answer = stored(environ, self._judge(environ))
        return answer.by_wsgi(start_response)

    def do_MKCOL(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Make a folder."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        if body_of(environ).read(1):
            raise DAVError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "MKCOL takes no body.")
        statuses: dict[type[ServerError], int] = {
            ExistsError: HTTPStatus.METHOD_NOT_ALLOWED,
            NotFoundError: HTTPStatus.CONFLICT,
        }
        with translated(statuses):
            view.make_folder(raw, tokens_of(environ))
        return _done(start_response, HTTPStatus.CREATED)

    def do_DELETE(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Remove a file, or a folder with all below it."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        entry = self._entry(environ)
        if entry.is_folder and environ.get("HTTP_DEPTH", "infinity") != "infinity":
            raise DAVError(HTTPStatus.BAD_REQUEST, "A folder goes with all below it.")
        self._require_conditions(environ, entry)
        delete = view.delete_tree if entry.is_folder else view.delete
        with translated():
            delete(raw, tokens_of(environ))
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
        self._require_conditions(environ, entry)
        tokens = tokens_of(environ)
        statuses: dict[type[ServerError], int] = {
            NotFoundError: HTTPStatus.CONFLICT,
            NameCollisionError: HTTPStatus.CONFLICT,
            # The spelling is known to be good: one path holds the other.
            PathRefusedError: HTTPStatus.FORBIDDEN,
        }
        with translated(statuses):
            if moves:
                view.rename(raw, target_raw, overwrite=overwrite, tokens=tokens)
            else:
                view.copy(
                    raw, target_raw, overwrite=overwrite, deep=deep, tokens=tokens
                )
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
        view, raw = view_of(environ), environ["PATH_INFO"]
        self._require_conditions(environ, self._looked_up(environ, raw))
        what = locking.wanted(environ)
        if what is None:
            locking.prolonged(view, raw, environ)
            return locking.answer(view, raw, start_response)
        lock, created = locking.taken(view, raw, environ, what)
        return locking.answer(view, raw, start_response, lock, created=created)

    def do_UNLOCK(self, environ: Environ, start_response: Start) -> list[bytes]:  # noqa: N802 - wsgidav's name
        """Give a lock back."""
        view, raw = view_of(environ), environ["PATH_INFO"]
        self._require_conditions(environ, self._looked_up(environ, raw))
        locking.released(view, raw, environ)
        return _done(start_response, HTTPStatus.NO_CONTENT)

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

    def _judge(self, environ: Environ) -> Judge:
        return lambda _, entry: self._require_conditions(environ, entry)

    def _require_conditions(self, environ: Environ, entry: Entry | None) -> None:
        resource = None if entry is None else Resource(entry, environ)
        self._evaluate_if_headers(resource, environ)

    def _evaluate_if_headers(self, res: Resource | None, environ: Environ) -> None:
        """RFC 9110's conditions and RFC 4918's `If`; wsgidav asks here too."""
        require_expected(environ, None if res is None else res.entry)
        parse_if(environ)
        conditions = environ["wsgidav.conditions.if"]
        if not conditions:
            return
        view = view_of(environ)
        with translated():
            # Where nothing is, a lock may still hold, and no state does (10.4.4).
            raw = environ["PATH_INFO"]
            path = canonical(view, raw) if res is None else res.entry.path
            found = view.locks.covering(path)
        by_path = {_tag_path(view, tag): lists for tag, lists in conditions.items()}
        lists = by_path.get(str(path), by_path.get("*"))
        login_id = view.session.actor.login_id
        held = {one.lock.token for one in found if one.lock.login_id == login_id}
        etag = None if res is None else res.get_etag()
        if lists is not None and not any(_holds(one, held, etag) for one in lists):
            raise DAVError(HTTPStatus.PRECONDITION_FAILED, "An If condition failed.")


def _holds(
    conditions: list[tuple[bool, str, str]], held: set[str], etag: str | None
) -> bool:
    """Whether all conditions of one list are as it says, or not if it says Not."""
    return all(
        (value == etag if kind == "entity" else value in held) is wanted
        for wanted, kind, value in conditions
    )


def _tag_path(view: View, tag: str) -> str:
    path = None if tag == "*" else tagged(view, tag)
    return tag if path is None else str(path)


def _done(start_response: Start, status: int, *headers: tuple[str, str]) -> list[bytes]:
    length = [] if status == HTTPStatus.NO_CONTENT else [("Content-Length", "0")]
    start_response(status_line(status), [*length, *headers])
    return [b""]
