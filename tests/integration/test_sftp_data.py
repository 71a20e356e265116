"""What goes over the data path is what comes out, whoever the client is."""

import asyncio
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from paramiko.message import Message
from paramiko.sftp_client import SFTPClient

from server.settings.schema import SftpSettings
from server.sftp import wire
from server.sftp.gcm import GcmPacketizer
from server.sftp.transport import SftpTransport
from server.sftp.wire import Reader
from tests.support.openssh import OpenSsh
from tests.support.sftp import PASSWORD, Person, SftpHouse, open_house
from tests.support.ssh_probe import Probe, key_of, probing
from tests.support.waiting import until
from tests.unit.sftp import packets

MIB = 1 << 20
EDGES = (0, 1, 255, 4095, 4096, 4097, 32767, 32768, 32769, 65535, 65536, 65537)
LONGEST_REQUEST = 261120
SIZES = (*EDGES, *(LONGEST_REQUEST + n for n in (-1, 0, 1)), MIB - 1, MIB, MIB + 1)
SOME = (0, 1, 4096, 32705, LONGEST_REQUEST + 1, 3 * MIB + 1)
WAYS = {
    "default": (),
    "early rekeying": ("-oRekeyLimit=1M",),
    "aes256-gcm": ("-oCiphers=aes256-gcm@openssh.com",),
    "aes128-ctr": ("-oCiphers=aes128-ctr",),
    "ctr, rekeying": ("-oCiphers=aes128-ctr", "-oRekeyLimit=1M"),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpHouse]:
    settings = SftpSettings(channels_max=8)
    with open_house(tmp_path_factory.mktemp("house"), sftp=settings) as house:
        yield house


@pytest.fixture(scope="module")
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


@pytest.fixture
def logged_in(house: SftpHouse, alice: Person) -> Iterator[Probe]:
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        yield probe


def files_of(probe: Probe, **channel: int) -> SFTPClient:
    """An sftp channel of its own, with the window and packets that are asked for."""
    opened = probe.transport.open_session(**channel)
    opened.invoke_subsystem("sftp")
    return SFTPClient(opened)


def content_of(size: int) -> bytes:
    """Bytes that are the same in each run and at no two places."""
    return random.Random(size).randbytes(size)  # noqa: S311 - no secret


def make(folder: Path, sizes: tuple[int, ...]) -> list[Path]:
    folder.mkdir()
    paths = []
    for size in sizes:
        paths.append(folder / f"f{size}")
        paths[-1].write_bytes(content_of(size))
    return paths


def round_trip(client: OpenSsh, folder: Path, sizes: tuple[int, ...]) -> None:
    sources, name = make(folder / "source", sizes), folder.name
    got = folder / "got"
    got.mkdir()
    done = client.sftp(
        f"mkdir {name}",
        f"put {folder}/source/* {name}/",
        f"get {name}/* {got}/",
        f"cp {name}/{sources[-1].name} {name}/copy",
        f"get {name}/copy {got}/copy",
    )
    assert done.returncode == 0, done.stderr
    for source in sources:
        assert (got / source.name).read_bytes() == source.read_bytes(), source.name
    assert (got / "copy").read_bytes() == sources[-1].read_bytes()


@pytest.mark.parametrize("way", list(WAYS))
def test_openssh_gets_what_it_put(
    house: SftpHouse, alice: Person, tmp_path: Path, way: str
) -> None:
    """At the edges of packets, requests and keys, and by copies inside the store."""
    client = replace(OpenSsh(house, alice, [alice.key]), more=WAYS[way])

    round_trip(client, tmp_path, SOME)


@pytest.mark.parametrize("way", ["default", "aes128-ctr"])
def test_the_store_changes_keys_in_the_middle_of_transfers(
    house: SftpHouse,
    alice: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """By volume, as after 32 GiB: nothing goes out between the old keys and the new."""
    exchanges: list[str] = []
    agree = SftpTransport._parse_kex_init

    def counted(transport: SftpTransport, message: Message) -> None:
        exchanges.append(transport.name)
        agree(transport, message)

    monkeypatch.setattr(SftpTransport, "_parse_kex_init", counted)
    monkeypatch.setattr(GcmPacketizer, "REKEY_BYTES", MIB)
    client = replace(OpenSsh(house, alice, [alice.key]), more=WAYS[way])

    round_trip(client, tmp_path, SOME)
    assert len(exchanges) > 3


@pytest.mark.soak
@pytest.mark.parametrize("way", list(WAYS))
def test_openssh_gets_what_it_put_at_every_size(
    house: SftpHouse, alice: Person, tmp_path: Path, way: str
) -> None:
    """The whole matrix, and a file that no buffer holds."""
    client = replace(OpenSsh(house, alice, [alice.key]), more=WAYS[way])

    round_trip(client, tmp_path, (*SIZES, 150 * MIB))


def test_a_transfer_goes_on_from_wherever_it_was_cut(
    house: SftpHouse, alice: Person, tmp_path: Path
) -> None:
    """`reput` and `reget` at random places of files at the edges of packets."""
    chance = random.Random(11)  # noqa: S311 - no secret
    sources = make(tmp_path / "source", SOME[1:])
    script = ["mkdir cut"]
    for folder in (tmp_path / "part", tmp_path / "got"):
        folder.mkdir()
        for source in sources:
            whole = source.read_bytes()
            (folder / source.name).write_bytes(whole[: chance.randrange(len(whole))])
    for source in sources:
        name = source.name
        script += [f"put {tmp_path}/part/{name} cut/{name}", f"reput {source} cut/"]
        script += [f"reget cut/{name} {tmp_path}/got/{name}"]

    done = OpenSsh(house, alice, [alice.key]).sftp(*script)

    assert done.returncode == 0, done.stderr
    for source in sources:
        stored = house.private(alice) / "cut" / source.name
        assert stored.read_bytes() == source.read_bytes(), source.name
        assert (tmp_path / "got" / source.name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", ["lftp", "rclone", "asyncssh"])
def test_others_get_what_they_put(
    house: SftpHouse, alice: Person, tmp_path: Path, name: str
) -> None:
    """Each asks in blocks of its own size, some of them out of order."""
    if name != "asyncssh" and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    sources = make(tmp_path / "source", SOME)
    run = {"lftp": _lftp, "rclone": _rclone, "asyncssh": _asyncssh}[name]

    run(house, alice, tmp_path / "source", tmp_path / "got")

    for source in sources:
        assert (tmp_path / "got" / source.name).read_bytes() == source.read_bytes()


def _lftp(house: SftpHouse, alice: Person, source: Path, got: Path) -> None:
    client = OpenSsh(house, alice, [alice.key])
    program = f"ssh -a -x {' '.join(client.options)}"
    script = (
        f'set sftp:connect-program "{program}"; set net:max-retries 1; '
        f"open -u alice,{PASSWORD!r} -p {house.port} sftp://127.0.0.1; "
        f"mirror -R {source} by-lftp; mirror by-lftp {got}"
    )
    subprocess.run(["lftp", "-c", script], check=True, timeout=60, capture_output=True)


def _rclone(house: SftpHouse, alice: Person, source: Path, got: Path) -> None:
    obscured = subprocess.run(
        ["rclone", "obscure", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    remote = (
        f":sftp,host=127.0.0.1,port={house.port},user=alice,key_file={alice.key},"
        f"pass={obscured},shell_type=none:by-rclone"
    )
    for pair in ((source, remote), (remote, got)):
        command = ["rclone", "copy", "--config", os.devnull, *map(str, pair)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)


def _asyncssh(house: SftpHouse, alice: Person, source: Path, got: Path) -> None:
    async def both_ways() -> None:
        async with (
            asyncssh.connect(
                "127.0.0.1",
                house.port,
                username="alice",
                client_keys=[str(alice.key)],
                password=PASSWORD,
                known_hosts=None,
                config=None,
                agent_path=None,
            ) as connection,
            connection.start_sftp_client() as files,
        ):
            await files.put(str(source), "by-asyncssh", recurse=True)
            await files.get("by-asyncssh", str(got), recurse=True)

    asyncio.run(asyncio.wait_for(both_ways(), 60))


@pytest.mark.parametrize(
    "channel",
    [
        {},
        {"window_size": 32768, "max_packet_size": 32768},
        {"window_size": 40000, "max_packet_size": 4096},
    ],
)
def test_a_narrow_window_loses_nothing(
    logged_in: Probe, channel: dict[str, int]
) -> None:
    """A reply may be eight times as long as what the client takes at once."""
    content = content_of(MIB + 17)
    with files_of(logged_in, **channel) as files:
        with files.open("/private/narrow", "w") as file:
            file.write(content)
        with files.open("/private/narrow", "r") as file:
            file.prefetch(len(content))
            assert file.read() == content
        assert len(files.listdir("/private")) >= 1


def test_a_client_may_take_a_cipher_of_another_kind_with_new_keys(
    house: SftpHouse, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what paramiko reads to AES-GCM, which we read ourselves, and back."""
    content, kinds = content_of(MIB), ("aes128-ctr", "aes128-gcm@openssh.com")
    monkeypatch.setattr("paramiko.Transport._preferred_ciphers", kinds[:1])
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        for number, cipher in enumerate(kinds * 2):
            monkeypatch.setattr(probe.transport, "_preferred_ciphers", (cipher,))
            probe.transport.renegotiate_keys()
            assert probe.transport.local_cipher == cipher
            with files_of(probe) as files:
                with files.open(f"/private/kind{number}", "w") as file:
                    file.set_pipelined()
                    file.write(content)
                with files.open(f"/private/kind{number}", "r") as file:
                    file.prefetch(len(content))
                    assert file.read() == content


def test_channels_of_one_connection_do_not_mix(logged_in: Probe) -> None:
    """Four transfers at once share one thread, and one stream of packets."""
    contents = [content_of(MIB + n) for n in range(4)]
    channels = [files_of(logged_in) for _ in contents]
    got: dict[int, bytes] = {}

    def transfer(number: int) -> None:
        with channels[number] as files:
            with files.open(f"/private/mix{number}", "w") as file:
                file.set_pipelined()
                file.write(contents[number])
            with files.open(f"/private/mix{number}", "r") as file:
                file.prefetch(len(contents[number]))
                got[number] = file.read()

    threads = [
        threading.Thread(target=transfer, args=(n,), name=f"transfer-{n}")
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [got.get(n) for n in range(4)] == contents


def test_random_writes_and_reads_are_those_of_a_file(logged_in: Probe) -> None:
    """As sshfs and resuming clients do it: anywhere, in any length, again and again."""
    chance, mirror = random.Random(7), bytearray()  # noqa: S311 - no secret
    with files_of(logged_in) as files, files.open("/private/random", "w+") as file:
        for _ in range(60):
            at = chance.randrange(len(mirror) + 1)
            piece = chance.randbytes(chance.choice((1, 100, 32768, 70001)))
            file.seek(at)
            file.write(piece)
            mirror[at : at + len(piece)] = piece
            at, length = chance.randrange(len(mirror)), chance.randrange(90_000)
            file.seek(at)
            assert file.read(length) == mirror[at : at + length]


class Raw:
    """An sftp channel whose requests are sent, and whose replies nobody reads."""

    def __init__(self, probe: Probe, path: str, **channel: int) -> None:
        """Open a file of the longest request's size for reading."""
        with files_of(probe) as files, files.open(path, "w") as file:
            file.write(content_of(LONGEST_REQUEST))
        self._channel = probe.transport.open_session(**channel)
        self._channel.invoke_subsystem("sftp")
        self._ask(bytes([packets.INIT]) + wire.u32(3))
        self._reply()
        fields = wire.text(path) + wire.u32(packets.FLAG_READ) + packets.NO_ATTRS
        self._ask(bytes([packets.OPEN]) + wire.u32(1) + fields)
        reader = Reader(memoryview(self._reply()))
        assert (reader.byte(), reader.u32()) == (packets.HANDLE, 1)
        self._handle = bytes(reader.string())

    def flood(self, reads: int) -> None:
        """Ask for far more than any buffer holds."""
        fields = wire.string(self._handle) + wire.u64(0) + wire.u32(LONGEST_REQUEST)
        for number in range(reads):
            self._ask(bytes([packets.READ]) + wire.u32(number) + fields)

    def dribble(self, replies: int) -> Iterator[tuple[int, bytes]]:
        """Take replies a little at a time; the number and content of each."""
        for _ in range(replies):
            reader = Reader(memoryview(self._reply()))
            assert reader.byte() == packets.DATA
            yield reader.u32(), bytes(reader.string())

    def _ask(self, packet: bytes) -> None:
        self._channel.sendall(wire.string(packet))

    def _reply(self) -> bytes:
        return self._take(int.from_bytes(self._take(4), "big"))

    def _take(self, length: int) -> bytes:
        taken = bytearray()
        while len(taken) < length:
            piece = self._channel.recv(min(length - len(taken), 1000))
            assert piece, "the channel ended"
            taken += piece
        return bytes(taken)


def test_a_channel_that_reads_nothing_does_not_hold_the_others(
    logged_in: Probe, house: SftpHouse
) -> None:
    """Its replies wait in their train, and its requests within its window."""
    deaf = Raw(logged_in, "/private/deaf", window_size=32768)
    deaf.flood(300)
    with files_of(logged_in) as files:
        for n in range(20):
            with files.open(f"/private/heard{n}", "w") as file:
                file.write(b"heard")
            assert files.stat(f"/private/heard{n}").st_size == 5

    longest = house.settings.sftp.packet_bytes_max + 4
    (connection,) = house.listener._connections
    trains = [path._train.waiting for path in connection._transport.paths.values()]
    assert 0 < max(trains) <= 2 * longest + 32768


def test_a_slow_reader_gets_every_reply_in_its_order(logged_in: Probe) -> None:
    """Its window opens by a little at a time, and closes in the middle of a reply."""
    slow = Raw(logged_in, "/private/slow", window_size=40_000)
    slow.flood(20)

    assert list(slow.dribble(20)) == [
        (number, content_of(LONGEST_REQUEST)) for number in range(20)
    ]


def test_a_client_that_reads_no_bytes_at_all_is_cut_all_the_same(
    house: SftpHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is stuck in a send then; a lost device must not wait for it."""
    bob = house.add_person("bob")
    with probing(house) as probe:
        probe.log_in("bob", key_of(bob.key), PASSWORD)
        raw = Raw(probe, "/private/long", window_size=1 << 30)
        (connection,) = [c for c in house.listener._connections if c.is_admitted]
        wakes = threading.Event()
        read = probe.transport.packetizer.read_message

        def deaf() -> tuple[int, Message]:
            wakes.wait(60)
            return read()

        monkeypatch.setattr(probe.transport.packetizer, "read_message", deaf)
        raw.flood(2000)
        packets_of = connection._transport.packets
        until(lambda: packets_of._bytes_out > MIB, what="the server sends")

        house.lock_device(bob)
        until(lambda: house.records(login="bob", operation="logout"), what="the end")
        wakes.set()

    (row,) = house.records(login="bob", operation="read", phase="outcome")
    assert row["outcome"] == "aborted"
