"""Administration of lines."""

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    contract_named,
    moment,
    require,
)
from server.auth import records
from server.auth.accounts import (
    read_networks,
    read_ports,
    write_networks,
    write_ports,
)
from server.auth.line import parse_network
from server.auth.records import RowMap
from server.auth.snapshot import LineState
from server.auth.tables import LINE
from server.db.engine import Connection
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation

MODERN = "modern"
_LEGACY = "legacy-until:"


class Lines:
    """`kagikura line …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(
        self,
        contract: str,
        name: str,
        *,
        networks: tuple[str, ...],
        ports: tuple[tuple[int, int], ...] = (),
        valid_until_us: int | None = None,
        crypto: str = MODERN,
    ) -> Facts:
        """Add a line.

        Args:
            contract: Whose line.
            name: Its name within the contract.
            networks: CIDR texts, at least one.
            ports: Source-port ranges, both ends included; empty: any.
            valid_until_us: When it ends; None: never.
            crypto: `modern` or `legacy-until:DATE`.

        Raises:
            ValueError: A name, network or crypto profile is not acceptable.
            NotFoundError: No such contract.
            ExistsError: The contract has a line of this name.
        """
        require(ITEM_NAME, name, "line")
        if not networks:
            raise ValueError("a line needs at least one network")
        if crypto != MODERN and not crypto.startswith(_LEGACY):
            raise ValueError(f"crypto is {MODERN} or {_LEGACY}DATE, not {crypto!r}")
        canonical = write_networks(dict.fromkeys(map(parse_network, networks)))
        with self._bureau.change(Operation.ADMIN_LINE_ADD) as change:
            change.about(f"{contract}/{name}", contract=contract)
            owner = contract_named(change.connection, contract)
            if records.find(
                change.connection, LINE, contract_id=owner["id"], name=name
            ):
                raise ExistsError(f"{contract!r} has a line {name!r} already.")
            row: RowMap = {
                "id": records.new_id(),
                "contract_id": owner["id"],
                "name": name,
                "networks": canonical,
                "ports": write_ports(ports),
                "valid_until_us": valid_until_us,
                "state": str(LineState.ACTIVE),
                "crypto": crypto,
                "added_us": change.now_us,
            }
            facts = _shown(contract, row)
            change.begin(after=facts)
            records.add(change.connection, LINE, **row)
        return facts

    def list(self, contract: str) -> list[Facts]:
        """The lines of a contract.

        Raises:
            NotFoundError: No such contract.
        """
        with self._bureau.read() as connection:
            owner = contract_named(connection, contract)
            found = records.listed(connection, LINE, contract_id=owner["id"])
        return [_shown(contract, row) for row in found]

    def suspend(self, contract: str, name: str) -> Facts:
        """Suspend a line and cut its sessions.

        Raises:
            NotFoundError: No such line.
        """
        return self._set(
            Operation.ADMIN_LINE_SUSPEND, contract, name, LineState.SUSPENDED
        )

    def resume(self, contract: str, name: str) -> Facts:
        """Let a suspended line be used again.

        Raises:
            NotFoundError: No such line.
        """
        return self._set(Operation.ADMIN_LINE_RESUME, contract, name, LineState.ACTIVE)

    def remove(self, contract: str, name: str) -> Facts:
        """Remove a line and cut its sessions.

        Raises:
            NotFoundError: No such line.
        """
        with self._bureau.change(Operation.ADMIN_LINE_REMOVE) as change:
            change.about(f"{contract}/{name}", contract=contract)
            row = _named(change.connection, contract, name)
            change.begin(before=_shown(contract, row))
            records.bury(change.connection, LINE, change.now_us, id=row["id"])
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, line_id=row["id"]
        )
        return {"contract": contract, "name": name, **cut}

    def _set(
        self, operation: Operation, contract: str, name: str, state: LineState
    ) -> Facts:
        with self._bureau.change(operation) as change:
            change.about(f"{contract}/{name}", contract=contract)
            row = _named(change.connection, contract, name)
            after: RowMap = {**row, "state": str(state)}
            change.begin(before=_shown(contract, row), after=_shown(contract, after))
            records.change(change.connection, LINE, row["id"], state=str(state))
        cut: Facts = {}
        if state is LineState.SUSPENDED:
            cut = self._bureau.wait_for_cut(
                change.revision, change.now_us, line_id=row["id"]
            )
        return {**_shown(contract, after), **cut}


def _named(connection: Connection, contract: str, name: str) -> RowMap:
    owner = contract_named(connection, contract)
    found = records.find(connection, LINE, contract_id=owner["id"], name=name)
    if found is None:
        raise NotFoundError(f"{contract!r} has no line {name!r}.")
    return found


def _shown(contract: str, row: RowMap) -> Facts:
    return {
        "contract": contract,
        "name": row["name"],
        "networks": list(read_networks(row["networks"])),
        "ports": [f"{first}-{last}" for first, last in read_ports(row["ports"])],
        "valid_until": moment(row["valid_until_us"]),
        "state": row["state"],
        "crypto": row["crypto"],
    }
