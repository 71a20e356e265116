"""How long the line check of one connection takes, with thousands of lines.

.venv/bin/python bench/lines.py
"""

import random
import socket
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from server.auth.line import LineIndex
from server.auth.port_set import MapE
from server.auth.snapshot import Line
from server.model.identity import Source

ROUNDS = 20_000


def _network(chance: random.Random) -> str:
    if chance.random() < 0.6:
        length = chance.choice([40, 44, 48, 52, 56, 60, 64, 128])
        value = (0x2001 << 112) + chance.getrandbits(112)
        value = value >> (128 - length) << (128 - length)
        return f"{socket.inet_ntop(socket.AF_INET6, value.to_bytes(16))}/{length}"
    length = chance.choice([16, 20, 22, 24, 26, 28, 29, 30, 32])
    value = chance.getrandbits(32) >> (32 - length) << (32 - length)
    return f"{socket.inet_ntop(socket.AF_INET, value.to_bytes(4))}/{length}"


def _lines(count: int, chance: random.Random) -> list[Line]:
    shared = MapE(offset=6, length=8, psid=0x34).ranges()
    return [
        Line(
            id=str(n),
            contract_id=f"c{n % 200}",
            name=f"line-{n}",
            networks=(_network(chance),),
            ports=shared if n % 10 == 0 else (),
        )
        for n in range(count)
    ]


def _sources(lines: list[Line], chance: random.Random) -> list[Source]:
    """Half of them in a line, half of them anywhere."""
    inside = [chance.choice(lines).networks[0].partition("/")[0] for _ in range(500)]
    anywhere = [
        socket.inet_ntop(socket.AF_INET6, chance.randbytes(16)) for _ in range(500)
    ]
    return [Source(ip=ip, port=40000) for ip in inside + anywhere]


def main() -> None:
    chance = random.Random(7)  # noqa: S311 - not for secrets
    print("| lines | index ms | median us | 99 % us |\n|---|---|---|---|")
    for count in (10, 1_000, 5_000, 20_000):
        lines = _lines(count, chance)
        began = time.perf_counter()
        index = LineIndex(lines)
        built_ms = (time.perf_counter() - began) * 1000
        sources = _sources(lines, chance)
        taken = []
        for n in range(ROUNDS):
            source = sources[n % len(sources)]
            began_ns = time.perf_counter_ns()
            index.find(source, 1)
            taken.append(time.perf_counter_ns() - began_ns)
        median_us = statistics.median(taken) / 1000
        slow_us = statistics.quantiles(taken, n=100)[98] / 1000
        print(f"| {count} | {built_ms:.1f} | {median_us:.1f} | {slow_us:.1f} |")


if __name__ == "__main__":
    main()
