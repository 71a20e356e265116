"""The listening sockets: bound by the supervisor, or handed in by systemd.

IPv4 and IPv6 use sockets of their own (IPV6_V6ONLY), so that a source is never an
IPv4 address in IPv6 clothes. Nothing listens until every process is ready.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterable, MutableMapping
from typing import Final

from server.model.errors import UnavailableError

log = logging.getLogger(__name__)

BACKLOG: Final = 512
_FIRST_HANDED_IN: Final = 3  # sd_listen_fds(3)
_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


class BindError(UnavailableError):
    """An address cannot be listened on."""


def bind(name: str, hosts: Iterable[str], port: int) -> list[socket.socket]:
    """Bind one socket per address; port 0 takes a free one, the same for all.

    Args:
        name: The listener's name, for errors.
        hosts: IPv4 and IPv6 addresses. Where the machine has no IPv6, `::` is left
            out, unless nothing else is left.
        port: TCP port.

    Raises:
        BindError: An address cannot be bound.
    """
    bound: list[socket.socket] = []
    missing = ""
    for host in hosts:
        try:
            bound.append(_bind(host, port))
        except OSError as error:
            if error.errno in _NO_SUCH_FAMILY and host == "::":
                missing = f"{name}: cannot listen on [{host}]:{port}: {error.strerror}"
                log.warning(missing)
                continue
            close(bound)
            raise BindError(
                f"{name}: cannot listen on {host} port {port}: {error.strerror}. "
                f"Choose another [{name}] host or port."
            ) from error
        port = bound[0].getsockname()[1]
    if not bound:
        raise BindError(missing or f"{name}: no address to listen on")
    return bound


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def handed_in(environ: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """Take the sockets that systemd opened (sd_listen_fds(3)), by their names.

    The variables are removed, so that no library takes them a second time.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "0")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return {}
    found: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = socket.socket(fileno=_FIRST_HANDED_IN + number)
        found.setdefault(name, []).append(sock)
    return found


def listen(sockets: Iterable[socket.socket]) -> None:
    """Let clients connect."""
    for sock in sockets:
        sock.listen(BACKLOG)


def close(sockets: Iterable[socket.socket]) -> None:
    """Give all back."""
    for sock in sockets:
        sock.close()
