"""Administration of lines."""

from dataclasses import dataclass

from server.access.bureau import (
    ITEM_NAME,
    Bureau,
    Facts,
    Listing,
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
from server.auth.networks import is_any, overlapping, parse_network, warnings_of
from server.auth.port_set import MapE, Ranges
from server.auth.records import RowMap
from server.auth.snapshot import LineState
from server.auth.tables import LINE, UNLOCK_WINDOW
from server.db.engine import Connection
from server.model.algorithms import LineCrypto
from server.model.errors import ExistsError, NotFoundError
from server.model.operation import Operation

MODERN = "modern"
COMMENT_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTerms:
    """What a change sets of a line; None leaves a value as it is."""

    networks: tuple[str, ...] | None = None
    """CIDR texts, at least one."""
    ports: Ranges | None = None
    """Source-port ranges, both ends included; empty: any."""
    map_e: str | None = None
    """MAP-E's OFFSET:LENGTH:PSID in the place of ranges; empty: none."""
    valid_from_us: int | None = None
    valid_until_us: int | None = None
    always: bool = False
    """Take both dates away."""
    crypto: str | None = None
    comment: str | None = None
    allow_any: bool = False
    """Whether the networks may hold all IPv6 or all IPv4 addresses."""

    def values(self) -> RowMap:
        """The columns that change.

        Raises:
            ValueError: A network, port set, comment or crypto profile is not
                acceptable.
        """
        found: RowMap = {}
        if self.networks is not None:
            found["networks"] = self._networks(self.networks)
        if self.ports is not None and self.map_e:
            raise ValueError("give source ports or MAP-E parameters, not both")
        if self.ports is not None or self.map_e is not None:
            found["ports"] = write_ports(self.ports or ())
            found["map_e"] = str(MapE.parse(self.map_e)) if self.map_e else ""
        if self.always:
            found |= {"valid_from_us": None, "valid_until_us": None}
        dates = (
            ("valid_from_us", self.valid_from_us),
            ("valid_until_us", self.valid_until_us),
        )
        found |= {name: value for name, value in dates if value is not None}
        if self.crypto is not None:
            found["crypto"] = str(LineCrypto.parse(self.crypto))
        if self.comment is not None:
            found["comment"] = _comment(self.comment)
        return found

    def _networks(self, networks: tuple[str, ...]) -> str:
        if not networks:
            raise ValueError("a line needs at least one network")
        found = list(dict.fromkeys(map(parse_network, networks)))
        everybody = [text for text in found if is_any(text)]
        if everybody and not self.allow_any:
            raise ValueError(
                f"{everybody[0]} lets the whole Internet try; say --allow-any if "
                "that is meant"
            )
        return write_networks(found)


class Lines:
    """`kagikura line …`."""

    def __init__(self, bureau: Bureau) -> None:
        """Work with `bureau`."""
        self._bureau = bureau

    def add(  # noqa: PLR0913 - what a line is made of, by keyword
        self,
        contract: str,
        name: str,
        *,
        networks: tuple[str, ...],
        ports: Ranges | None = None,
        map_e: str | None = None,
        valid_from_us: int | None = None,
        valid_until_us: int | None = None,
        crypto: str = MODERN,
        comment: str = "",
        allow_any: bool = False,
    ) -> Facts:
        """Add a line; the arguments are those of `LineTerms`.

        Returns:
            The line, `warnings` in plain words and `overlaps` with others.

        Raises:
            ValueError: A name or value is not acceptable.
            NotFoundError: No such contract.
            ExistsError: The contract has a line of this name.
        """
        require(ITEM_NAME, name, "line")
        terms = LineTerms(
            networks=networks,
            ports=ports,
            map_e=map_e,
            valid_from_us=valid_from_us,
            valid_until_us=valid_until_us,
            crypto=crypto,
            comment=comment,
            allow_any=allow_any,
        )
        values = _EMPTY | terms.values()
        _require_span(values)
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
                "state": str(LineState.ACTIVE),
                "added_us": change.now_us,
                **values,
            }
            facts = _shown(contract, row)
            advice = _advice(change.connection, row)
            change.begin(after=facts)
            records.add(change.connection, LINE, **row)
        return {**facts, **advice}

    def change(self, contract: str, name: str, terms: LineTerms) -> Facts:
        """Set some of a line's values and cut the sessions it no longer holds.

        Returns:
            The line as it is now, `warnings`, `overlaps`, and what was cut.

        Raises:
            ValueError: Nothing is to be changed, or a value is not acceptable.
            NotFoundError: No such line.
        """
        values = terms.values()
        if not values:
            raise ValueError("say what is to be changed")
        with self._bureau.change(Operation.ADMIN_LINE_CHANGE) as change:
            change.about(f"{contract}/{name}", contract=contract)
            row = _named(change.connection, contract, name)
            after: RowMap = {**row, **values}
            _require_span(after)
            facts = _shown(contract, after)
            advice = _advice(change.connection, after)
            change.begin(before=_shown(contract, row), after=facts)
            records.change(change.connection, LINE, row["id"], **values)
        cut = self._bureau.wait_for_cut(
            change.revision, change.now_us, line_id=row["id"]
        )
        return {**facts, **advice, **cut}

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
            records.erase(change.connection, UNLOCK_WINDOW, line_id=row["id"])
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
            if state is LineState.SUSPENDED:
                records.erase(change.connection, UNLOCK_WINDOW, line_id=row["id"])
        cut: Facts = {}
        if state is LineState.SUSPENDED:
            cut = self._bureau.wait_for_cut(
                change.revision, change.now_us, line_id=row["id"]
            )
        return {**_shown(contract, after), **cut}


_EMPTY: RowMap = {
    "ports": write_ports(()),
    "map_e": "",
    "valid_from_us": None,
    "valid_until_us": None,
}


def _require_span(values: RowMap) -> None:
    begins, ends = values["valid_from_us"], values["valid_until_us"]
    if begins is not None and ends is not None and ends <= begins:
        raise ValueError("the line would end before it begins")


def _comment(text: str) -> str:
    if len(text) > COMMENT_CHARACTERS_MAX or not all(c.isprintable() for c in text):
        raise ValueError(
            f"a comment is one line of at most {COMMENT_CHARACTERS_MAX} characters"
        )
    return text


def _advice(connection: Connection, row: RowMap) -> Facts:
    """What the operator should know of a line's networks."""
    networks = read_networks(row["networks"])
    warnings: Listing = [text for one in networks for text in warnings_of(one)]
    overlaps: Listing = []
    for other in records.listed(connection, LINE, contract_id=row["contract_id"]):
        if other["id"] == row["id"]:
            continue
        shared = overlapping(networks, read_networks(other["networks"]))
        overlaps += [{"line": other["name"], "network": text} for text in shared]
    return {"warnings": warnings, "overlaps": overlaps}


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
        "map_e": row["map_e"],
        "valid_from": moment(row["valid_from_us"]),
        "valid_until": moment(row["valid_until_us"]),
        "state": row["state"],
        "crypto": row["crypto"],
        "comment": row["comment"],
    }
