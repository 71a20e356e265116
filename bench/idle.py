"""Memory of idle WebDAV connections: `python bench/idle.py`.

Kept-alive connections of clients that have logged in, listed a folder and read a file,
plain and over TLS with a certificate each; the daemon's PSS beside them, as a table.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

import store
import versions
import webdav
from measure import WEIGHT_HEAD, weighed

_COUNTS: Final = (0, 1, 100, 500)
_FILES: Final = 20
_SETTLED_S: Final = 3
"""Until the recorder has caught up."""
_TMPFS: Final = Path("/dev/shm")  # noqa: S108 - tmpfs, so that the disk is not the bound
_DEPTH: Final = "Depth: 1\r\n"
_MANY: Final = {"CONNECTIONS_MAX": "1024", "IDLE_TIMEOUT_S": "600"}


def main() -> None:
    more = {f"KAGIKURA_WEBDAV__{name}": value for name, value in _MANY.items()}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_TMPFS) as name:
        print(f"    {versions.command()}\n\n{versions.machine(Path(name))}\n")
        print(WEIGHT_HEAD)
        with store.running(Path(name), more=more) as ours:
            for title, target in (("plain", ours.webdav), ("TLS", ours.webdav_tls)):
                _measure(title, target)


def _measure(title: str, target: webdav.Target) -> None:
    _fill(target)
    held: list[webdav.Connection] = []

    def hold(count: int) -> None:
        while len(held) < count:
            held.append(webdav.Connection(target))
            _use(held[-1])
        time.sleep(_SETTLED_S)

    for row in weighed(title, target.pid, _COUNTS, hold):
        print(row, flush=True)
    for connection in held:
        _use(connection)  # none was closed meanwhile
        connection.close()


def _fill(target: webdav.Target) -> None:
    connection = webdav.Connection(target)
    for folder in ("", "idle/"):
        connection.request("MKCOL", folder)
    for number in range(_FILES):
        connection.request("PUT", f"idle/{number}", b"content")
    connection.close()


def _use(connection: webdav.Connection) -> None:
    for method, name in (("PROPFIND", "idle/"), ("GET", "idle/1")):
        status, _ = connection.request(method, name, fields=_DEPTH)
        if status >= 300:
            raise RuntimeError(f"{method}: {status}")


if __name__ == "__main__":
    main()
