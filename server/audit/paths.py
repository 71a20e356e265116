"""Every path of the index once, with a number that the records bear.

Paths repeat: ten million records name some hundred thousand of them, so text is
searched there and not in the records. What is compared is *folded*: Unicode NFC, then
full case folding, then NFC again. So a name from macOS (NFD) finds the same name from
Windows and `INVOICE` finds `invoice`; width is a difference, as it is between two
files, and katakana are not hiragana. There are no wildcards.

On SQLite an FTS5 table of trigrams finds the candidates. It holds each path with a `/`
and a line feed behind, so that every character of it begins a trigram, and a word of
one or two characters is looked up as all trigrams that begin with it: 請求 finds
請求書. On PostgreSQL it is pg_trgm, from three characters on; a shorter word, or a
server without pg_trgm, costs one pass over `paths`. In both the text itself decides.
Measured with 600,000 paths (docs/performance.md): 0.3 to 50 ms on SQLite.
"""

import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

import sqlalchemy as sa

from server.audit.tables import PATHS, RECORDS, UPKEEP, key_of
from server.db.engine import Connection

CACHED_MAX: Final = 200_000
_CHUNK: Final = 500
_TERMS_MAX: Final = 5000
_TRIGRAM: Final = 3
_GRAMS_MAX: Final = 48
_END: Final = "/\n"
_LAST: Final = "\U0010ffff"
_T = TypeVar("_T")


def fold(text: str) -> str:
    """Text as it is compared: NFC, case folded, NFC."""
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFC", text).casefold()
    return unicodedata.normalize("NFC", normal)


class PathBook:
    """Numbers of paths, for the recorder: looked up, or given within its transaction.

    Not thread-safe. After a transaction that failed, `forget`.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str, int] = {}
        self._epoch = -1

    def forget(self) -> None:
        """Trust the DB alone again."""
        self._known.clear()

    def require(self, connection: Connection, paths: set[str]) -> dict[str, int]:
        """Find the number of each path; new paths are added.

        Only one transaction at a time may do this (the recorder's lock).
        """
        self._keep_up(connection)
        missing = [path for path in paths if path not in self._known]
        for chunk in _chunks(missing, _CHUNK):
            keys = {key_of(path) for path in chunk}
            asked = sa.select(PATHS.c.path, PATHS.c.id).where(PATHS.c.key.in_(keys))
            found = connection.execute(asked).all()
            self._known.update({row.path: row.id for row in found})
        new = [path for path in missing if path not in self._known]
        if new:
            self._add(connection, new)
        return self._known

    def _keep_up(self, connection: Connection) -> None:
        asked = sa.select(UPKEEP.c.value).where(UPKEEP.c.name == "paths")
        epoch = connection.execute(asked).scalar() or 0
        if epoch != self._epoch:
            self.forget()
            self._epoch = epoch
        if len(self._known) > CACHED_MAX:
            for path in list(islice(self._known, CACHED_MAX // 4)):  # the oldest
                del self._known[path]

    def _add(self, connection: Connection, new: list[str]) -> None:
        last = connection.execute(sa.select(sa.func.max(PATHS.c.id))).scalar() or 0
        rows = [
            (number, key_of(path), path, fold(path))
            for number, path in enumerate(sorted(new), last + 1)
        ]
        self._known.update({path: number for number, _, path, _ in rows})
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(
            f"INSERT INTO paths (id, key, path, folded) "  # noqa: S608 - constants
            f"VALUES ({mark}, {mark}, {mark}, {mark})",
            rows,
        )
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "INSERT INTO path_grams (rowid, folded) VALUES (?, ?)",
                [(number, folded + _END) for number, _, _, folded in rows],
            )


def containing(connection: Connection, text: str) -> list[sa.ColumnElement[bool]]:
    """The conditions on `PATHS` that it contains `text`, the quick one first."""
    folded = fold(text)
    found = [PATHS.c.folded.contains(folded, autoescape=True)]
    if connection.dialect.name == "sqlite":
        asked = _trigrams(connection, folded)
        if asked is not None:
            candidates = sa.text(
                "SELECT rowid FROM path_grams WHERE path_grams MATCH :grams"
            ).bindparams(grams=asked)
            found.insert(0, PATHS.c.id.in_(candidates.columns(sa.column("rowid"))))
    return found


def remove_unused(connection: Connection, after: int, look_at: int) -> int:
    """Forget paths that no record names any more, within the caller's transaction.

    Args:
        connection: Of the recorder.
        after: The number behind which to look.
        look_at: How many paths, so that no transaction is long.

    Returns:
        The number of the last path looked at; 0 behind the end.
    """
    numbers = sa.select(PATHS.c.id).where(PATHS.c.id > after).order_by(PATHS.c.id)
    some = numbers.limit(look_at).subquery()
    last = connection.execute(sa.select(sa.func.max(some.c.id))).scalar() or 0
    if last:
        _remove_unused(connection, after, last)
    return last


def _remove_unused(connection: Connection, after: int, last: int) -> None:
    named = sa.exists().where(
        sa.or_(RECORDS.c.path_id == PATHS.c.id, RECORDS.c.target_id == PATHS.c.id)
    )
    unused = connection.execute(
        sa.select(PATHS.c.id, PATHS.c.folded).where(
            PATHS.c.id > after, PATHS.c.id <= last, ~named
        )
    ).all()
    if not unused:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "INSERT INTO path_grams (path_grams, rowid, folded) "
            "VALUES ('delete', ?, ?)",
            [(row.id, row.folded + _END) for row in unused],
        )
    for chunk in _chunks([row.id for row in unused], _CHUNK):
        connection.execute(sa.delete(PATHS).where(PATHS.c.id.in_(chunk)))
    _next_epoch(connection)


def _next_epoch(connection: Connection) -> None:
    """Have every recorder look its paths up again."""
    counter = UPKEEP.c.name == "paths"
    raised = sa.update(UPKEEP).where(counter).values(value=UPKEEP.c.value + 1)
    if not connection.execute(raised).rowcount:
        connection.execute(sa.insert(UPKEEP).values(name="paths", value=1))


def _trigrams(connection: Connection, folded: str) -> str | None:
    """The FTS5 question whose answer holds every path that contains the text."""
    if len(folded) >= _TRIGRAM:
        grams = {folded[at : at + _TRIGRAM] for at in range(len(folded) - _TRIGRAM + 1)}
        return " AND ".join(_quoted(gram) for gram in sorted(grams)[:_GRAMS_MAX])
    beginning = connection.exec_driver_sql(
        "SELECT term FROM path_terms WHERE term >= ? AND term < ? LIMIT ?",
        (folded, folded + _LAST, _TERMS_MAX + 1),
    )
    terms = list(beginning.scalars())
    if len(terms) > _TERMS_MAX:
        return None
    return " OR ".join(_quoted(term) for term in terms) or _quoted(_END + "/")


def _quoted(term: str) -> str:
    return '"{}"'.format(term.replace('"', '""'))


def _chunks(items: list[_T], size: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
