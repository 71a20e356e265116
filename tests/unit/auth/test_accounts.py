"""The snapshot as it is read from either database."""

from server.auth import records
from server.auth.accounts import (
    bump_revision,
    load_snapshot,
    read_revision,
    write_networks,
    write_ports,
)
from server.auth.snapshot import Contract, Line
from server.auth.tables import CONTRACT, LINE
from server.db.engine import Role, open_engine, reading, writing
from server.db.migrate import Chain, upgrade


def test_removed_rows_are_in_no_snapshot(database_url: str) -> None:
    """A tombstone keeps an id from being used again; it admits nobody."""
    upgrade(database_url, Chain.ACCOUNTS)
    engine = open_engine(database_url, Role.ACCOUNTS)
    with writing(engine) as connection:
        for contract in ("kept", "gone"):
            records.add(
                connection,
                CONTRACT,
                id=contract,
                name=contract,
                device_ca="pem",
                added_us=1,
            )
            for line in ("a", "b"):
                records.add(
                    connection,
                    LINE,
                    id=f"{contract}-{line}",
                    contract_id=contract,
                    name=line,
                    networks=write_networks(["192.0.2.0/24"]),
                    ports=write_ports([(1, 2)]),
                    state="active",
                    crypto="modern",
                    added_us=1,
                )
        records.bury(connection, CONTRACT, 2, id="gone")
        records.bury(connection, LINE, 2, id="kept-b")

    with reading(engine) as connection:
        snapshot = load_snapshot(connection)

    engine.dispose()
    assert snapshot.contracts == (Contract(id="kept", name="kept", device_ca="pem"),)
    assert snapshot.lines == (
        Line(
            id="kept-a",
            contract_id="kept",
            name="a",
            networks=("192.0.2.0/24",),
            ports=((1, 2),),
        ),
    )


def test_each_change_has_a_revision_of_its_own(database_url: str) -> None:
    """Processes notice a change by its number alone."""
    upgrade(database_url, Chain.ACCOUNTS)
    engine = open_engine(database_url, Role.ACCOUNTS)
    with reading(engine) as connection:
        first = read_revision(connection)

    with writing(engine) as connection:
        raised = [bump_revision(connection), bump_revision(connection)]

    with reading(engine) as connection:
        assert [first + 1, first + 2] == raised
        assert read_revision(connection) == raised[-1]
    engine.dispose()
