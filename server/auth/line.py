"""Which lines a source lies in: a pure index over a snapshot.

Within a contract the most specific line governs, as in a routing table: the longest
prefix, and of two lines with the same prefix the one with source ports. A line whose
time has not come or is over is passed by, and so is one with other source ports; a
suspended line is a wall, so that suspending a part of a wider line keeps it out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from server.auth.port_set import PortSet
from server.auth.snapshot import Line, LineState
from server.model.identity import Source

_BITS: Final = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesFound:
    """What the lines say about a source."""

    lines: tuple[Line, ...] = ()
    """The governing active line of each contract that has one."""
    rule: str = ""
    """When there is none: why."""


@dataclass(frozen=True, slots=True)
class _Entry:
    line: Line
    ports: PortSet

    @property
    def order(self) -> tuple[bool, str, str]:
        """Of the same prefix, the line with ports comes first; then by name."""
        return (self.ports.is_any, self.line.contract_id, self.line.name)


class LineIndex:
    """The lines of all contracts by prefix: a table for each length that occurs."""

    def __init__(self, lines: Iterable[Line]) -> None:
        """Index `lines`; their networks were checked when they were added."""
        tables: dict[int, dict[int, dict[int, list[_Entry]]]] = {4: {}, 6: {}}
        for line in lines:
            entry = _Entry(line, PortSet(line.ports))
            for text in line.networks:
                network = ip_network(text)
                shift = _BITS[network.version] - network.prefixlen
                table = tables[network.version].setdefault(shift, {})
                first = int(network.network_address) >> shift
                table.setdefault(first, []).append(entry)
        for by_shift in tables.values():
            for table in by_shift.values():
                for entries in table.values():
                    entries.sort(key=lambda entry: entry.order)
        self._tables = {
            version: sorted(by_shift.items()) for version, by_shift in tables.items()
        }

    def find(self, source: Source, now_us: int) -> LinesFound:
        """The lines that `source` may use now."""
        governing: dict[str, Line] = {}
        rule, other_port = "", False
        for entry in self._candidates(source):
            line = entry.line
            if source.port not in entry.ports:
                other_port = True
                continue
            late = _out_of_time(line, now_us)
            if not late:
                governing.setdefault(line.contract_id, line)
            rule = rule or late
        usable = tuple(
            line for line in governing.values() if line.state is LineState.ACTIVE
        )
        if usable:
            return LinesFound(lines=usable)
        if governing:
            return LinesFound(rule="line_suspended")
        return LinesFound(rule=rule or ("port" if other_port else "no_line"))

    def _candidates(self, source: Source) -> Iterator[_Entry]:
        """Lines around an address, the longest prefix first."""
        address = source.address
        value = int(address)
        for shift, table in self._tables[address.version]:
            found = table.get(value >> shift)
            if found:
                yield from found


def _out_of_time(line: Line, now_us: int) -> str:
    if line.valid_from_us is not None and now_us < line.valid_from_us:
        return "line_not_yet_valid"
    if line.valid_until_us is not None and line.valid_until_us <= now_us:
        return "line_expired"
    return ""
