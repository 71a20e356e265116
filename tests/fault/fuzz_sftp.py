"""Coverage-guided bytes against the SFTP packet path: `test_fuzz_sftp` runs this.

    python -m tests.fault.fuzz_sftp FOLDER SECONDS

Whatever comes, there is an answer or the end of the session by `MalformedPacketError`
or a window that was overrun; nothing else is raised, and no reply is longer than its
bound. Needs atheris.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["server.sftp"]):
    from paramiko.ssh_exception import SSHException

    from server.model.clock import SystemClock
    from server.settings.schema import SftpSettings
    from server.sftp import wire
    from server.sftp.inflow import HEAD_BYTES, Inflow
    from server.sftp.requests import Requests
    from server.sftp.train import Train
    from server.sftp.wire import MalformedPacketError

from server.vfs.view import View
from tests.support.house import open_house

SETTINGS = SftpSettings(handles_max=8)
REPLY_BYTES_MAX = SETTINGS.packet_bytes_max + wire.LENGTH_BYTES
INIT = wire.string(bytes([1]) + wire.u32(3))
_PIECES_MAX = 12


class Target:
    """One session after the other, each fed with one input."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __call__(self, data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        requests = Requests(self._view, settings=SETTINGS, clock=SystemClock())
        inflow = Inflow(
            window_bytes=1 << 16, packet_bytes_max=SETTINGS.packet_bytes_max
        )
        train = Train(channel=0, data_bytes=32704, capacity=2 * REPLY_BYTES_MAX)
        try:
            inflow.feed(INIT)
            for _ in range(_PIECES_MAX):
                _answer(inflow, requests, train)
                _land(inflow, provider)
        except (MalformedPacketError, SSHException):
            return
        finally:
            requests.close()


def _land(inflow: Inflow, provider: "atheris.FuzzedDataProvider") -> None:
    """Bytes as they are, or as a packet whose length is right."""
    piece = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 300))
    if provider.ConsumeBool():
        piece = wire.string(piece)
    if provider.ConsumeBool():
        inflow.feed(piece)
        return
    landing = inflow.landing(HEAD_BYTES + len(piece))
    landing[HEAD_BYTES:] = piece
    inflow.land(len(piece))


def _answer(inflow: Inflow, requests: Requests, train: Train) -> None:
    while (packet := inflow.take()) is not None:
        before = train.waiting
        requests.reply(packet, train)
        while requests.busy:
            requests.go_on(train)
        if train.waiting - before > REPLY_BYTES_MAX:
            raise AssertionError("a reply longer than its bound")
        while train.waiting:
            train.leave(1 << 20)
            train.through()
    inflow.settle()
    inflow.grant(1)


def main() -> None:
    folder, seconds = Path(sys.argv[1]), sys.argv[2]
    with open_house(folder) as house:
        options = ["-timeout=1", "-rss_limit_mb=512", "-max_len=4096"]
        atheris.Setup(
            [sys.argv[0], *options, f"-max_total_time={seconds}", "-verbosity=0"],
            Target(house.view()),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
