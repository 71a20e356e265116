"""What a client hears of an error, once the trail has it."""

from http import HTTPStatus
from typing import Any, Final

from wsgidav.dav_error import DAVError
from wsgidav.xml_tools import etree, xml_to_bytes

from server.model.errors import (
    ConditionFailedError,
    IncompleteUploadError,
    LockedError,
    NotFoundError,
    RefusedError,
    ServerError,
)
from server.model.operation import Operation, Stage
from server.webdav.answer import Answer, text_answer
from server.webdav.body import BodyTooLargeError
from server.webdav.status import dav_error
from server.webdav.target import view_of

ALLOWED: Final = (
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, "
    "PROPFIND, PROPPATCH, LOCK, UNLOCK"
)

_OPERATIONS: Final = {
    "GET": Operation.READ,
    "HEAD": Operation.STAT,
    "PUT": Operation.WRITE,
    "DELETE": Operation.DELETE,
    "MKCOL": Operation.MKDIR,
    "COPY": Operation.COPY,
    "MOVE": Operation.RENAME,
    "PROPFIND": Operation.LIST,
    "PROPPATCH": Operation.SETATTR,
    "LOCK": Operation.LOCK,
    "UNLOCK": Operation.UNLOCK,
}
_TOLD: Final[dict[int, type[ServerError]]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.LOCKED: LockedError,
    HTTPStatus.PRECONDITION_FAILED: ConditionFailedError,
}
"""What wsgidav and our methods find out themselves, by its own name in the trail; the
rest is told by its number."""
_METHOD_CHARACTERS_MAX: Final = 20
_RANGE: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

Environ = dict[str, Any]


def operation_of(environ: Environ) -> Operation:
    """Which act of the trail a request is."""
    method = environ["REQUEST_METHOD"]
    if method == "PROPFIND" and environ.get("HTTP_DEPTH") == "0":
        return Operation.STAT
    return _OPERATIONS.get(method, Operation.STAT)


def refusal(environ: Environ, error: ServerError | DAVError) -> Answer:
    """The answer to a request that failed; what is not yet on record is put there."""
    if isinstance(error, (IncompleteUploadError, BodyTooLargeError)):
        # Of a body that no act was waiting for.
        return _answer(environ, _told(environ, error, dav_error(error)))
    if isinstance(error, ServerError):
        return _answer(environ, dav_error(error))
    return _answer(environ, _recorded(environ, error))


def _recorded(environ: Environ, error: DAVError) -> DAVError:
    """The error, on record: somebody who is logged in wanted something in vain."""
    if error.src_exception is not None or "kagikura.operation" not in environ:
        return error
    status = error.value
    if status < HTTPStatus.BAD_REQUEST or status == _RANGE:
        return error  # no error, or told by the read that was opened for it
    known = _TOLD.get(status)
    if known is not None:
        missing = known(error.context_info or "Somebody else holds a lock on it.")
        return _told(environ, missing, error)
    refused = RefusedError(
        error.context_info or "The request is wrong.",
        stage=Stage.REQUEST,
        rule=f"http_{status}",
    )
    return _told(environ, refused, error)


def _told(environ: Environ, refused: ServerError, error: DAVError) -> DAVError:
    """`error`, once the refusal is on record; else what came before it."""
    raw, operation = environ["PATH_INFO"], environ["kagikura.operation"]
    method: str = environ["REQUEST_METHOD"]
    try:
        view_of(environ).refuse(
            operation,
            raw,
            refused,
            target_raw=environ.get("kagikura.target", ""),
            detail={"method": method[:_METHOD_CHARACTERS_MAX]},
        )
    except ServerError as told:
        return error if told is refused else dav_error(told)


def _answer(environ: Environ, error: DAVError) -> Answer:
    headers = list(error.add_headers or [])
    if error.value == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", ALLOWED))
    if error.value == HTTPStatus.NOT_MODIFIED:
        return Answer(error.value, headers)
    condition = error.err_condition
    if condition is None:
        found = text_answer(error.value, error.context_info or "", *headers)
    else:
        body = _explained(condition, error.context_info or "")
        headers.append(("Content-Type", "application/xml; charset=utf-8"))
        headers.append(("Content-Length", str(len(body))))
        found = Answer(error.value, headers, body)
    return found.to(environ["REQUEST_METHOD"])


def _explained(condition: Any, words: str) -> bytes:  # noqa: ANN401 - wsgidav's
    """A failed condition (RFC 4918, section 16), with words for a person."""
    found = condition.as_xml()
    etree.SubElement(found, "{urn:kagikura:}message").text = words
    body: bytes = xml_to_bytes(found)
    return body
