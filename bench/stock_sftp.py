# ruff: noqa: ARG002 - paramiko's interfaces pass more than this needs
"""paramiko's own SFTP server over one folder, as a peer: no audit, no rights.

`python bench/stock_sftp.py PORT ROOT HOST_KEY`; it lets everybody in who has a key.
"""

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from paramiko import (
    AUTH_SUCCESSFUL,
    OPEN_SUCCEEDED,
    SFTP_FAILURE,
    SFTP_OK,
    PKey,
    ServerInterface,
    SFTPAttributes,
    SFTPHandle,
    SFTPServer,
    SFTPServerInterface,
    Transport,
)


class Everybody(ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: PKey) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED


class Folder(SFTPServerInterface):
    """The calls that the workloads make, over `root`."""

    def __init__(self, server: ServerInterface, root: Path, **_: Any) -> None:  # noqa: ANN401 - paramiko's
        super().__init__(server)
        self._root = root

    def _real(self, path: str) -> str:
        return f"{self._root}{self.canonicalize(path)}"

    def list_folder(self, path: str) -> list[SFTPAttributes]:
        with os.scandir(self._real(path)) as entries:
            return [SFTPAttributes.from_stat(e.stat(), e.name) for e in entries]

    def stat(self, path: str) -> SFTPAttributes | int:
        try:
            return SFTPAttributes.from_stat(os.stat(self._real(path)))  # noqa: PTH116 - what is measured
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    lstat = stat

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:
        os.mkdir(self._real(path))  # noqa: PTH102 - what is measured
        return SFTP_OK

    def chattr(self, path: str, attr: SFTPAttributes) -> int:
        return SFTP_OK

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> SFTPHandle | int:
        try:
            fd = os.open(self._real(path), flags, 0o644)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
        handle = Handle(flags)
        mode = "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
        handle.readfile = handle.writefile = os.fdopen(fd, mode)
        return handle


class Handle(SFTPHandle):
    readfile: Any
    writefile: Any

    def chattr(self, attr: SFTPAttributes) -> int:
        return SFTP_OK if attr else SFTP_FAILURE


def _serve(connection: socket.socket, host_key: PKey, root: Path) -> None:
    transport = Transport(connection)
    transport.add_server_key(host_key)
    transport.set_subsystem_handler("sftp", SFTPServer, Folder, root=root)
    transport.start_server(server=Everybody())


def main() -> None:
    port, root, host_key = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    key = PKey.from_path(host_key)
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, key, root)).start()


if __name__ == "__main__":
    main()
