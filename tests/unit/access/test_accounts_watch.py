"""Following the accounts, also while the database is away."""

from server.access.accounts_watch import AccountsWatch
from server.auth.tables import REVISION
from server.db.engine import writing
from tests.support.accounts import Accounts
from tests.support.waiting import until


def test_a_change_is_seen_without_being_told(store: Accounts) -> None:
    """The CLI is another process: the daemon notices by the revision."""
    store.administration.folders.add("main", "office")

    until(lambda: store.watch.snapshot().folders, what="the folder is seen")


def test_a_lost_database_leaves_the_last_accounts_and_an_age(store: Accounts) -> None:
    """Live sessions go on; how old the accounts are is known."""
    before = store.watch.snapshot()
    with writing(store.engine) as connection:
        REVISION.drop(connection)

    until(lambda: store.watch.age_s > 0.3, what="the accounts grow old")

    assert store.watch.snapshot() is before


def test_stopping_needs_no_start(store: Accounts) -> None:
    """A process that failed early closes what it has not opened."""
    watch = AccountsWatch(store.engine, clock=store.clock, poll_ms=50)

    watch.stop()

    assert watch.snapshot().revision == -1
