"""Our daemon and the peers that are there, and what each table measures of them."""

import argparse
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import sftp
import store
import webdav
from measure import Meter
from peers import HOST, PASSWORD, USER, WITH_PASSWORD, Peer, Workspace, program
from sizes import Sizes

GCM: Final = "aes128-gcm@openssh.com"
SFTP_DEFAULT: Final = "SFTP, the client's cipher"
SFTP_GCM: Final = "SFTP, AES-GCM"
WEBDAV: Final = "WebDAV"
WEBDAV_TLS: Final = "WebDAV over TLS"
FRONTS: Final = ((SFTP_DEFAULT, SFTP_GCM), (WEBDAV, WEBDAV_TLS))
"""The tables by the servers that they can share."""

_SFTP_PEERS: Final = (("openssh", "sshd"), ("rclone-sftp", "rclone"), ("paramiko", ""))
_WEBDAV_PEERS: Final = (
    ("apache", "apache2"),
    ("nginx", "nginx"),
    ("rclone-webdav", "rclone"),
    ("wsgidav", ""),
)
"""Peers by their name in `peers.PEERS`, and the program that each needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where state and data lie, and whether a close waits for the disk."""

    scratch: Path
    sync: str
    durability: str
    on_disk: bool

    @property
    def title(self) -> str:
        """For a heading."""
        where = "disk" if self.on_disk else "tmpfs"
        return f'on {where}, storage.sync = "{self.sync}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One table: a way in, and the servers on it by name."""

    title: str
    reference: str
    workloads: list[str]
    servers: list[str]
    measure: Callable[[str, str], Meter]
    """Runs a workload once against a server."""
    tidy: Callable[[], None]
    """What is done between two runs, unmeasured."""


def suites(
    stack: ExitStack,
    place: Place,
    sizes: Sizes,
    options: argparse.Namespace,
    titles: Collection[str],
) -> list[Suite]:
    """Start everything that these tables need; `stack` stops it."""
    homes = [place.scratch / name for name in ("ours", "peers", "client")]
    for home in homes:
        home.mkdir()
    ours = stack.enter_context(
        store.running(homes[0], durability=place.durability, sync=place.sync)
    )
    workspace = stack.enter_context(Workspace(homes[1]))
    files, dav = sftp.Bench(sizes, homes[2]), webdav.Bench(sizes, homes[2])
    made: list[Suite] = []
    by_sftp = [t for t in (SFTP_DEFAULT, SFTP_GCM) if t in titles]
    if by_sftp:
        targets = _sftp_targets(files, ours.sftp, workspace, place, options.peers)
        tidy = ours.empty_trash
        made += [_sftp_suite(title, files, targets, tidy) for title in by_sftp]
    for title, target in ((WEBDAV, ours.webdav), (WEBDAV_TLS, ours.webdav_tls)):
        if title in titles:
            servers = _webdav_targets(dav, target, workspace, options.peers)
            made.append(_webdav_suite(title, dav, servers, ours.empty_trash))
    return [_narrow(suite, options.workloads) for suite in made]


def sftp_target(workspace: Workspace, peer: Peer) -> sftp.Target:
    """A peer that speaks SFTP."""
    return sftp.Target(
        name=peer.plan.name,
        host=HOST,
        port=peer.plan.port,
        user=workspace.user,
        key=workspace.client_key,
        pid=peer.process.pid,
    )


def webdav_target(peer: Peer) -> webdav.Target:
    """A peer that speaks WebDAV."""
    plan = peer.plan
    locked = plan.name.removesuffix("-tls") in WITH_PASSWORD
    return webdav.Target(
        name=plan.name,
        url=f"http{'s' if plan.tls else ''}://{HOST}:{plan.port}/",
        pid=peer.process.pid,
        user=USER if locked else "",
        password=PASSWORD if locked else "",
    )


def _narrow(suite: Suite, wanted: str) -> Suite:
    if not wanted:
        return suite
    asked = wanted.split(",")
    return replace(suite, workloads=[name for name in suite.workloads if name in asked])


def _sftp_targets(
    bench: sftp.Bench,
    ours: sftp.Target,
    workspace: Workspace,
    place: Place,
    peers: str,
) -> dict[str, sftp.Target]:
    targets = {store.NAME: ours}
    for name in _there(_SFTP_PEERS, peers):
        peer = workspace.start(name)
        targets[name] = sftp_target(workspace, peer)
    for target in targets.values():
        bench.seed(target)
    if place.on_disk and "openssh" in targets:
        # What `storage.sync = "close"` does for everybody, asked of sshd by the client.
        targets["openssh -f"] = replace(targets["openssh"], flags=("-f",))
    return targets


def _sftp_suite(
    title: str,
    bench: sftp.Bench,
    targets: dict[str, sftp.Target],
    tidy: Callable[[], None],
) -> Suite:
    return Suite(
        title=title,
        reference="openssh" if "openssh" in targets else store.NAME,
        workloads=list(bench.workloads),
        servers=list(targets),
        measure=partial(
            _measure_sftp, bench, targets, GCM if title == SFTP_GCM else ""
        ),
        tidy=tidy,
    )


def _measure_sftp(
    bench: sftp.Bench,
    targets: dict[str, sftp.Target],
    cipher: str,
    load: str,
    name: str,
) -> Meter:
    return bench.measure(load, targets[name], cipher)


def _webdav_targets(
    bench: webdav.Bench, ours: webdav.Target, workspace: Workspace, peers: str
) -> dict[str, webdav.Target]:
    tls = "-tls" if ours.url.startswith("https") else ""
    targets = {store.NAME: ours}
    for name in _there(_WEBDAV_PEERS, peers):
        targets[name] = webdav_target(workspace.start(name + tls))
    for target in targets.values():
        bench.seed(target)
    return targets


def _webdav_suite(
    title: str,
    bench: webdav.Bench,
    targets: dict[str, webdav.Target],
    tidy: Callable[[], None],
) -> Suite:
    return Suite(
        title=title,
        reference="apache" if "apache" in targets else list(targets)[-1],
        workloads=list(bench.workloads),
        servers=list(targets),
        measure=lambda load, name: bench.measure(load, targets[name]),
        tidy=tidy,
    )


def _there(known: tuple[tuple[str, str], ...], wanted: str) -> list[str]:
    """The peers that were asked for (all by default) and are installed."""
    found = []
    for name, command in known:
        if wanted and name not in wanted.split(","):
            continue
        if command and not program(command):
            print(f"{name}: {command} is not installed", file=sys.stderr)
            continue
        found.append(name)
    return found
