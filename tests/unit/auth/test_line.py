"""The index of lines against an independent reading with plain integers."""

import random
import socket
from dataclasses import replace

import pytest

from server.auth.line import LineIndex
from server.auth.port_set import MapE
from server.auth.snapshot import Line, LineState
from server.model.identity import Source

NOW_US = 1_000_000
OFFICE = Line(id="1", contract_id="c", name="office", networks=("192.0.2.0/24",))
SOURCE = Source(ip="192.0.2.7", port=40000)


def _integer(address: str) -> tuple[int, int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    return len(packed) * 8, int.from_bytes(packed, "big")


def _holds(network: str, address: str) -> bool:
    """Compare the leading bits one text at a time."""
    base, _, length = network.partition("/")
    bits, value = _integer(address)
    base_bits, base_value = _integer(base)
    if bits != base_bits:
        return False
    return f"{value:0{bits}b}"[: int(length)] == f"{base_value:0{bits}b}"[: int(length)]


def _networks(chance: random.Random) -> list[str]:
    found = []
    for number in range(50):
        if number % 2:
            length = chance.choice([8, 12, 16, 20, 24, 28, 29, 32])
            value = chance.choice([0xC0000200, 0xC6336400, 0x0A000000])
            value = (value + chance.getrandbits(10)) >> (32 - length) << (32 - length)
            text = socket.inet_ntop(socket.AF_INET, value.to_bytes(4, "big"))
        else:
            length = chance.choice([16, 32, 40, 48, 56, 60, 64, 128])
            value = (0x20010DB8 << 96) + (chance.getrandbits(18) << 62)
            value = value >> (128 - length) << (128 - length)
            text = socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))
        found.append(f"{text}/{length}")
    return found


def _addresses(networks: list[str], chance: random.Random) -> list[str]:
    """Inside, just outside, and elsewhere."""
    found = []
    for number in range(200):
        base, _, length = chance.choice(networks).partition("/")
        bits, value = _integer(base)
        spread = bits - int(length) + (number % 3)
        value = (value ^ chance.getrandbits(max(spread, 1))) % (1 << bits)
        family = socket.AF_INET6 if bits == 128 else socket.AF_INET
        found.append(socket.inet_ntop(family, value.to_bytes(bits // 8, "big")))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_addresses_and_fifty_networks(seed: int) -> None:
    """Longest prefix by strings of bits, without any address library of the product."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    networks = _networks(chance)
    lines = [
        Line(id=text, contract_id=f"c{n % 5}", name=f"n{n:02}", networks=(text,))
        for n, text in enumerate(networks)
    ]
    index = LineIndex(lines)

    for address in _addresses(networks, chance):
        expected: dict[str, Line] = {}
        for line in lines:
            best = expected.get(line.contract_id)
            if _holds(line.networks[0], address) and (
                best is None or _order(line) < _order(best)
            ):
                expected[line.contract_id] = line
        found = index.find(Source(ip=address, port=1), NOW_US)
        assert {line.contract_id: line for line in found.lines} == expected


def _order(line: Line) -> tuple[int, str]:
    return -int(line.networks[0].partition("/")[2]), line.name


def test_of_one_prefix_the_line_with_ports_is_the_more_specific() -> None:
    """A subscriber's share of an address beside a line for the whole address."""
    share = replace(
        OFFICE, id="2", name="share", ports=MapE(offset=4, length=8, psid=1).ranges()
    )
    index = LineIndex([OFFICE, share])

    names = {
        port: index.find(replace(SOURCE, port=port), NOW_US).lines[0].name
        for port in (4112, 4127, 4128, 4111)
    }

    assert names == {4112: "share", 4127: "share", 4128: "office", 4111: "office"}


@pytest.mark.parametrize(
    ("begins_us", "ends_us", "rule"),
    [
        (None, None, ""),
        (NOW_US, NOW_US + 1, ""),
        (NOW_US + 1, None, "line_not_yet_valid"),
        (None, NOW_US, "line_expired"),
    ],
)
def test_a_line_holds_from_its_beginning_to_its_end(
    begins_us: int | None, ends_us: int | None, rule: str
) -> None:
    """Both ends are exact: the first instant counts, the last does not."""
    line = replace(OFFICE, valid_from_us=begins_us, valid_until_us=ends_us)

    assert LineIndex([line]).find(SOURCE, NOW_US).rule == rule


@pytest.mark.parametrize(
    ("inner", "names"),
    [
        ({}, ["desk"]),
        ({"valid_until_us": 1}, ["office"]),
        ({"valid_from_us": NOW_US + 1}, ["office"]),
        ({"ports": ((1, 2),)}, ["office"]),
        ({"state": LineState.SUSPENDED}, []),
    ],
)
def test_the_most_specific_line_in_force_governs(
    inner: dict[str, object], names: list[str]
) -> None:
    """What is over gives way to the wider line; what is suspended stays out of it."""
    desk = replace(OFFICE, id="2", name="desk", networks=("192.0.2.7/32",))
    desk = replace(desk, **inner)  # type: ignore[arg-type]  # values of its fields

    found = LineIndex([OFFICE, desk]).find(SOURCE, NOW_US)

    assert [line.name for line in found.lines] == names
