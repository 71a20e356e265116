"""Where an act did its work, read back from what its records tell."""

from typing import Final, cast

from server.audit.lookup import Told
from server.model.event import Fields, Json
from server.model.operation import Operation
from server.storage.port import Location, Root

_AT_TARGET: Final = frozenset({Operation.RENAME, Operation.COPY})


def detail_of(record: Fields) -> dict[str, Json]:
    """A record's detail."""
    return cast("dict[str, Json]", record.get("detail") or {})


def location_in(record: Fields, path: str = "path", root: str = "root") -> Location:
    """Where a path of a record lies.

    Args:
        record: An intent.
        path: Which of its fields.
        root: What of its detail says in which folder that is.

    Raises:
        KeyError: It does not say.
    """
    detail = detail_of(record)
    place = Root.parse(str(detail[root]))
    # Where the disk has another spelling of the name (`vfs.naming`), it is told, too.
    stored = cast("list[str] | None", detail.get(root.replace("root", "stored")))
    inside = inside_of(cast("str", record.get(path, "")))
    return Location(place, inside if stored is None else tuple(stored))


def inside_of(path: str) -> tuple[str, ...]:
    """A virtual path's parts inside its folder.

    `/private/...` has one part before them, `/shared/<name>/...` two.
    """
    parts = path.split("/")[1:]
    return tuple(parts[1 if parts[0] == "private" else 2 :])


def replaces_at(told: Told) -> tuple[str, Location]:
    """The path at which an act replaces or destroys, and where that lies.

    Raises:
        KeyError: It is about no file.
    """
    if told.operation in _AT_TARGET:
        return told.intent["target"], location_in(told.intent, "target", "target_root")
    return told.intent["path"], location_in(told.intent)
