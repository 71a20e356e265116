"""The store's own rows, on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from server.db.engine import Role, open_engine
from server.db.migrate import Chain, upgrade
from server.model.errors import BooksUnavailableError
from server.model.lock import Lock, Scope
from server.storage.books import Books
from server.storage.port import Location, Root

ROOT = Root("c", "shared", "f")
TRASH = Root("c", ".trash", "act")


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    upgrade(database_url, Chain.STORE)
    engine = open_engine(database_url, Role.STORE)
    yield Books(engine)
    engine.dispose()


def at(path: str, root: Root = ROOT) -> Location:
    return Location(root, tuple(path.split("/")) if path else ())


def lock(token: str, *, until_us: int) -> Lock:
    names = ("contract", "login_id", "login", "device_id", "device", "line_id", "owner")
    return Lock(
        token=token,
        root=str(ROOT),
        inside=("見積", "a"),
        path="/shared/team/見積/a",
        scope=Scope.SHARED,
        deep=True,
        contract_id="c",
        protocol="webdav",
        taken_us=1,
        timeout_s=60,
        until_us=until_us,
        **dict.fromkeys(names, "x"),
    )


def test_a_lock_comes_back_as_it_was_until_its_time_is_over(books: Books) -> None:
    """Two workers judge by these rows; what ran out is dropped by the next change."""
    with books.changing("c") as change:
        change.add(lock("long", until_us=100))
        change.add(lock("short", until_us=50))

    assert books.locks("c", now_us=50) == [lock("long", until_us=100)]
    assert books.locks("other", now_us=0) == []
    with books.changing("c") as change:
        assert [one.token for one in change.held(now_us=50)] == ["long"]
        change.prolong("long", timeout_s=9, until_us=200)
        assert change.drop(["long", "short"]) == 1


def test_properties_move_with_what_they_belong_to_and_nothing_else(
    books: Books,
) -> None:
    """Whole folders by ranges of text: names that sort around a slash must not mix."""
    beside = ("a", "a!", "a0", "ab", "A/b", "見積/b")
    inside = ("a/b", "a/b/c", "a/見積")
    with books.writing() as change:
        for path in (*beside, *inside):
            change.write(at(path), {"n": path})
        change.move(at("a"), at("", TRASH))

    with books.writing() as change:
        found = [change.at(at(path)) for path in beside[1:]]
        moved = [change.at(at(path[2:], TRASH)) for path in inside]
        assert change.at(at("", TRASH)) == {"n": "a"}
        assert not change.has_any(at("a"))
    assert found == [{"n": path} for path in beside[1:]]
    assert moved == [{"n": path} for path in inside]
    assert books.properties_in(at("b", TRASH)) == {
        "": {"n": "a/b"},
        "c": {"n": "a/b/c"},
    }
    assert books.roots_with_properties("c") == {str(ROOT), str(TRASH)}


def test_a_contract_that_is_no_more_leaves_nothing(books: Books) -> None:
    """What a purge destroys is gone from the store's own books, too."""
    with books.writing() as change:
        change.write(at("a"), {"n": "1"})
    with books.changing("c") as change:
        change.add(lock("t", until_us=100))

    books.forget("c")

    assert books.roots_with_properties("c") == frozenset()
    assert books.locks("c", now_us=0) == []


def test_a_database_that_does_not_answer_is_no_empty_one(database_url: str) -> None:
    """Without its tables nobody knows what is locked: the act waits for another day."""
    engine = open_engine(database_url, Role.STORE)
    with pytest.raises(BooksUnavailableError):
        Books(engine).locks("c", now_us=0)
    engine.dispose()
