"""What the store is meant to reach beside its peers: ratios, the lower the better."""

from dataclasses import dataclass
from typing import Final, Literal

from measure import Results, Samples, as_ratio, ratio
from store import NAME
from suites import SFTP_DEFAULT, SFTP_GCM, WEBDAV, WEBDAV_TLS

_SSHD: Final = ("openssh",)
_APACHE: Final = ("apache",)
_FASTER: Final = ("apache", "nginx")


@dataclass(frozen=True, slots=True)
class Target:
    """At most `most` times the lowest of `peers` in a workload of a table."""

    title: str
    workload: str
    peers: tuple[str, ...]
    most: float
    of: Literal["wall", "CPU"] = "wall"


TARGETS: Final = [
    Target(SFTP_GCM, "get_big", _SSHD, 0.95),
    Target(SFTP_GCM, "put_big", _SSHD, 0.75),
    Target(SFTP_GCM, "get_big", _SSHD, 0.5, "CPU"),
    Target(SFTP_GCM, "put_big", _SSHD, 0.5, "CPU"),
    Target(SFTP_DEFAULT, "get_big", _SSHD, 0.5),
    Target(SFTP_DEFAULT, "put_big", _SSHD, 0.5),
    Target(SFTP_DEFAULT, "put_small", _SSHD, 1.0),
    Target(SFTP_DEFAULT, "get_small", _SSHD, 1.0),
    Target(SFTP_DEFAULT, "ls", _SSHD, 0.6),
    Target(SFTP_DEFAULT, "connect", _SSHD, 0.6),
    Target(SFTP_DEFAULT, "par_get", _SSHD, 0.6),
    *(
        Target(title, load, _FASTER, 1.0)
        for title in (WEBDAV, WEBDAV_TLS)
        for load in ("get_big", "put_big")
    ),
    Target(WEBDAV, "put_small", _APACHE, 0.8),
    Target(WEBDAV, "get_small", _APACHE, 1.0),
    Target(WEBDAV, "propfind_1k", _APACHE, 0.5),
    Target(WEBDAV, "propfind", _APACHE, 0.5),
]
"""State and data on tmpfs, the audit on and `audit.durability = "disk"`."""

DISK_TARGETS: Final = [
    Target(SFTP_DEFAULT, "put_small", ("openssh -f",), 1.2),
    Target(SFTP_DEFAULT, "put_big", ("openssh -f",), 1.0),
]
"""On a disk, beside a peer that is asked for an fsync after each upload."""


def report(targets: list[Target], tables: dict[str, Results]) -> str:
    """Each target with what was measured, as Markdown; empty where nothing was."""
    lines = []
    for target in targets:
        row = tables.get(target.title, {}).get(target.workload)
        if row is None:
            continue
        found = _measured(target, row)
        word = "-" if found is None else "yes" if found <= target.most else "**no**"
        peer = "the faster of " + " and ".join(target.peers)
        cells = [target.title, target.workload, target.of]
        cells += [peer if len(target.peers) > 1 else target.peers[0]]
        cells += [f"≤ {target.most}", as_ratio(found), word]
        lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ""
    head = "| table | workload | of | peer | target | measured | reached |"
    return "\n".join([head, "|---" * 7 + "|", *lines])


def _measured(target: Target, row: dict[str, Samples]) -> float | None:
    peers = [row[name] for name in target.peers if name in row]
    times = [found for peer in peers if (found := _of(target, peer)) is not None]
    ours = _of(target, row[NAME]) if NAME in row else None
    return ratio(ours, min(times)) if times else None


def _of(target: Target, samples: Samples) -> float | None:
    return samples.median_s if target.of == "wall" else samples.median_cpu_s
