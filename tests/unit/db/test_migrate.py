"""The migrations make the schema that the code uses."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from server.auth.tables import METADATA
from server.db.engine import Role, open_engine, reading, writing
from server.db.migrate import Chain, SchemaTooNewError, make, upgrade
from server.storage.tables import METADATA as STORE_METADATA


@pytest.mark.parametrize(
    ("chain", "role", "tables"),
    [
        (Chain.ACCOUNTS, Role.ACCOUNTS, METADATA),
        (Chain.STORE, Role.STORE, STORE_METADATA),
    ],
    ids=["accounts", "store"],
)
def test_a_chain_makes_what_the_tables_say(
    database_url: str, chain: Chain, role: Role, tables: MetaData
) -> None:
    """A column added to the code without a migration breaks the next start."""
    upgrade(database_url, chain)

    engine = open_engine(database_url, role)
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": f"alembic_version_{chain}"}
        )
        differences = compare_metadata(context, tables)

    engine.dispose()
    assert differences == []


def test_an_upgraded_database_is_left_alone(database_url: str) -> None:
    """Every process calls it at each start."""
    upgrade(database_url, Chain.ACCOUNTS)
    upgrade(database_url, Chain.ACCOUNTS)

    engine = open_engine(database_url, Role.ACCOUNTS)
    with reading(engine) as connection:
        rows = connection.execute(text("SELECT number FROM revision")).all()

    engine.dispose()
    assert [tuple(row) for row in rows] == [(1,)]


def test_processes_that_start_together_do_not_collide(database_url: str) -> None:
    """A worker and the keeper start at the same moment."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upgrade(database_url, Chain.ACCOUNTS), range(4)))

    engine = open_engine(database_url, Role.ACCOUNTS)
    with reading(engine) as connection:
        count = connection.execute(text("SELECT count(*) FROM revision")).scalar_one()

    engine.dispose()
    assert count == 1


def test_what_a_later_release_made_is_refused_in_words(database_url: str) -> None:
    """An old release would misread it, or worse, write into it."""
    upgrade(database_url, Chain.AUDIT)
    engine = open_engine(database_url, Role.AUDIT_WRITER)
    with writing(engine) as connection:
        connection.execute(
            text("UPDATE alembic_version_audit SET version_num = '9999'")
        )
    engine.dispose()

    with pytest.raises(SchemaTooNewError, match=r"schema 9999.*knows up to"):
        upgrade(database_url, Chain.AUDIT)


def test_the_audit_index_of_the_release_before_keeps_its_rows(
    database_url: str,
) -> None:
    """Ten million rows are not recorded anew for one more index."""
    engine = open_engine(database_url, Role.AUDIT_WRITER)
    with writing(engine) as connection:
        make(connection, Chain.AUDIT, "0003")
        connection.execute(
            text(
                "INSERT INTO records "
                "(stream, seq, time_us, phase, operation, login, target_id, record) "
                "VALUES ('n/w', 7, 1, 'event', 'rename', 'alice', 1, '{}')"
            )
        )
    upgrade(database_url, Chain.AUDIT)

    with reading(engine) as connection:
        rows = connection.execute(text("SELECT stream, seq FROM records")).all()
        indexes = {
            found["name"] for found in inspect(connection).get_indexes("records")
        }
    engine.dispose()
    assert [tuple(row) for row in rows] == [("n/w", 7)]
    assert "ix_records_login_targets" in indexes
