"""What one client can take of the daemon, and how sessions end."""

import contextlib
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.message import Message
from paramiko.sftp_client import SFTPClient
from paramiko.ssh_exception import ChannelException, SSHException

from server.settings.schema import SftpSettings
from tests.support.sftp import PASSWORD, Person, SftpHouse, open_house
from tests.support.ssh_probe import Probe, key_of, named_threads, probing, read_all
from tests.support.waiting import until

VERSION = b"SSH-2.0-test\r\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SftpHouse]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture
def alice(house: SftpHouse) -> Person:
    return house.add_person("alice")


@pytest.fixture
def probe(house: SftpHouse, alice: Person) -> Iterator[Probe]:
    """Logged in as alice."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        yield probe


def files(probe: Probe) -> SFTPClient:
    client = SFTPClient.from_transport(probe.transport)
    assert client is not None
    return client


def outcomes(house: SftpHouse, operation: str) -> list[tuple[str, str]]:
    found = house.records(operation=operation)
    return [
        (one["outcome"], one.get("reason", "")) for one in found if "outcome" in one
    ]


def test_the_version_line_names_the_product_and_nothing_more(house: SftpHouse) -> None:
    """No library and no number for those who look for old ones."""
    with house.connect() as sock:
        assert sock.recv(100) == b"SSH-2.0-Kagikura\r\n"


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFF, 0x00040001, 36000])
def test_a_huge_packet_before_key_exchange_is_refused_unread(
    house: SftpHouse, length: int
) -> None:
    """Paramiko accepts 4 GiB from anyone, and buffers what comes."""
    tracemalloc.start()
    with house.connect() as sock:
        sock.sendall(VERSION + struct.pack(">I", length) + bytes(4))
        with contextlib.suppress(OSError):
            for _ in range(64):
                sock.sendall(bytes(65536))
        read_all(sock)
    until(lambda: house.listener.connections == 0, what="the connection is gone")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2_000_000


def test_an_endless_version_line_is_cut_off(house: SftpHouse) -> None:
    """Paramiko keeps whatever comes before a line feed."""
    with house.connect() as sock:
        with contextlib.suppress(OSError):
            for _ in range(64):
                sock.sendall(b"x" * 1024)
        read_all(sock)

    until(lambda: house.listener.connections == 0, what="the connection is gone")


def test_keys_are_exchanged_once_before_login(house: SftpHouse) -> None:
    """Each exchange costs us more than the client; honest ones never ask."""
    with probing(house) as probe:
        probe.transport._send_kex_init()

        until(lambda: probe.gone, what="the connection is ended")


def test_silent_connections_are_bounded_and_do_not_stop_others(tmp_path: Path) -> None:
    """Where `startups` ends new ones are turned away, on record; then room again."""
    with open_house(tmp_path, sftp=SftpSettings(startups="3:100:4")) as house:
        alice = house.add_person("alice")
        silent = [house.connect() for _ in range(3)]
        for sock in silent:
            assert sock.recv(4) == b"SSH-"
        with house.connect() as turned_away:
            assert read_all(turned_away) == b""
        for sock in silent:
            sock.close()
        until(lambda: house.listener.connections == 0, what="there is room again")
        with probing(house) as probe:
            probe.log_in("alice", key_of(alice.key), PASSWORD)

        (row,) = house.records(rule="startups")
        assert (row["operation"], row["outcome"]) == ("login", "refused")


def test_silent_clients_keep_people_out_for_seconds_only(tmp_path: Path) -> None:
    """Not for the grace time: the oldest of them goes for who comes now."""
    with (
        open_house(tmp_path, sftp=SftpSettings(startups="7:100:8")) as house,
        contextlib.ExitStack() as silent,
    ):
        alice = house.add_person("alice")
        for _ in range(64):
            silent.enter_context(house.connect())

        until(lambda: _logs_in(house, alice), what="a place is free", deadline_s=20)

        told = house.records(rule="startups_made_room")
        assert told[0]["outcome"] == "refused"


def _logs_in(house: SftpHouse, person: Person) -> bool:
    try:
        with probing(house) as probe:
            probe.log_in(person.name, key_of(person.key), PASSWORD)
            return probe.transport.is_authenticated()
    except (SSHException, OSError, EOFError):
        return False


def test_connections_are_bounded(tmp_path: Path) -> None:
    """Logged in or not."""
    with open_house(tmp_path, sftp=SftpSettings(connections_max=1)) as house:
        alice = house.add_person("alice")
        with probing(house) as probe:
            probe.log_in("alice", key_of(alice.key), PASSWORD)
            with house.connect() as turned_away:
                assert read_all(turned_away) == b""


def test_an_idle_session_is_ended(tmp_path: Path) -> None:
    """Forgotten windows do not hold sessions for ever."""
    with open_house(tmp_path, sftp=SftpSettings(idle_timeout_s=10)) as house:
        alice = house.add_person("alice")
        with probing(house) as probe:
            probe.log_in("alice", key_of(alice.key), PASSWORD)
            until(lambda: probe.gone, what="it is ended", deadline_s=15)
        until(lambda: outcomes(house, "logout"), what="it is on record")
        assert outcomes(house, "logout") == [("done", "idle")]


def test_channels_are_bounded_and_closed_ones_are_forgotten(probe: Probe) -> None:
    """Paramiko keeps each one for the connection's life (paramiko#640, #1685)."""
    open_ones = [probe.channel() for _ in range(4)]
    with pytest.raises(ChannelException):
        probe.channel()
    for channel in open_ones:
        channel.close()

    for _ in range(20):
        client = files(probe)
        assert client.listdir(".") == []
        client.close()


def test_a_channel_carries_one_subsystem(probe: Probe) -> None:
    """A second one would read the same bytes."""
    channel = probe.channel()
    channel.invoke_subsystem("sftp")

    with pytest.raises(SSHException):
        channel.invoke_subsystem("sftp")


@pytest.mark.parametrize("name", ["shell", "", "SFTP", "sftp\0"])
def test_other_subsystems_are_refused(probe: Probe, name: str) -> None:
    """There is one."""
    with pytest.raises(SSHException):
        probe.channel().invoke_subsystem(name)


def test_everything_but_files_is_refused(probe: Probe) -> None:
    """Terminals and every kind of forwarding; commands are tested apart."""
    asks = [
        lambda channel: channel.get_pty(),
        lambda channel: channel.request_x11(auth_cookie="00"),
    ]
    for ask in asks:
        with pytest.raises(SSHException):
            ask(probe.channel())
    with pytest.raises(ChannelException):
        probe.transport.open_channel(
            "direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1), timeout=10
        )
    with pytest.raises(SSHException):
        probe.transport.request_port_forward("127.0.0.1", 0)


def test_channels_before_login_are_refused(house: SftpHouse) -> None:
    """CVE-2018-7750 let them through."""
    with probing(house) as probe, pytest.raises(SSHException):
        probe.transport.open_session(timeout=10)


@pytest.mark.parametrize("said", [4, 2**31, 10])
def test_channel_data_of_another_length_ends_the_session(
    probe: Probe, said: int
) -> None:
    """Paramiko would add zeros that nobody sent."""
    channel = probe.channel()
    channel.invoke_subsystem("sftp")
    message = Message()
    message.add_byte(b"\x5e")
    message.add_int(channel.remote_chanid)
    message.add_int(said)
    message.add_bytes(b"12345")
    probe.transport._send_message(message)

    until(lambda: probe.gone, what="the session is ended")


def test_a_client_that_ignores_the_window_is_cut_off(probe: Probe) -> None:
    """A channel without a subsystem is read by nobody; its buffer is bounded."""
    channel = probe.channel()
    channel.out_window_size = 2**31

    def flood() -> None:
        for _ in range(256):
            channel.sendall(bytes(32000))

    with contextlib.suppress(OSError, EOFError):
        flood()
    until(lambda: probe.gone, what="the session is ended")


def test_a_malformed_packet_ends_the_session_and_aborts_its_files(
    house: SftpHouse, probe: Probe
) -> None:
    """What it meant is unknown; what was open is marked so."""
    client = files(probe)
    file = client.open("a", "wb")
    file.write(b"part")
    file.flush()
    client.sock.sendall(b"\0\0\0\5\x03\0\0\0\1")

    until(lambda: outcomes(house, "logout"), what="the session is over")
    assert outcomes(house, "logout") == [("done", "malformed packet")]
    assert outcomes(house, "write") == [("aborted", "connection_lost")]


def test_a_lost_connection_aborts_its_upload(house: SftpHouse, probe: Probe) -> None:
    """The partial file stays for `reput`; the trail says that it is one."""
    client = files(probe)
    file = client.open("a", "wb")
    file.write(b"part")
    file.flush()
    probe.transport.sock.shutdown(socket.SHUT_RDWR)

    until(lambda: outcomes(house, "logout"), what="the session is over")
    assert outcomes(house, "write") == [("aborted", "connection_lost")]


def test_a_locked_device_is_cut_in_the_middle_of_a_transfer(
    house: SftpHouse, alice: Person, probe: Probe
) -> None:
    """At once, and not one byte more is written."""
    file = files(probe).open("a", "wb")
    file.write(b"part")
    house.lock_device(alice)

    until(lambda: probe.gone, what="the connection is cut")
    until(lambda: outcomes(house, "logout"), what="it is on record")

    (logout,) = house.records(operation="logout")
    assert (logout["outcome"], logout["rule"]) == ("aborted", "device_locked")


def test_a_stop_lets_an_open_file_be_finished(house: SftpHouse, probe: Probe) -> None:
    """Clients that are quick enough lose nothing."""
    file = files(probe).open("a", "wb")
    file.write(b"first")
    draining = threading.Thread(target=house.listener.drain, args=(20.0,))
    draining.start()
    until(lambda: refuses(house), what="nobody is accepted")

    file.write(b" last")
    file.close()
    draining.join(10)

    assert not draining.is_alive()
    assert outcomes(house, "write") == [("done", "")]
    assert outcomes(house, "logout") == [("done", "server stopping")]


def refuses(house: SftpHouse) -> bool:
    try:
        house.connect().close()
    except ConnectionError:  # reset: the listener closed while the client was queued
        return True
    return False


def test_a_stop_aborts_what_is_open_at_its_deadline(
    house: SftpHouse, probe: Probe
) -> None:
    """A client that never ends must not hold the daemon."""
    file = files(probe).open("a", "wb")
    file.write(b"part")
    file.flush()
    began = time.monotonic()

    house.listener.drain(0.3)

    assert time.monotonic() - began < 5
    assert outcomes(house, "write") == [("aborted", "connection_lost")]
    assert outcomes(house, "logout") == [("done", "server stopping")]
    assert house.listener.connections == 0


def test_a_retired_listener_serves_on_until_its_last_client_goes(
    house: SftpHouse, probe: Probe
) -> None:
    """A new worker takes the new clients; the old one finishes its own."""
    client = files(probe)

    house.listener.retire()

    assert refuses(house)
    assert client.listdir(".") == []
    probe.close()
    until(lambda: house.listener.connections == 0, what="the last one has gone")


def test_every_thread_has_a_name_and_ends(house: SftpHouse, alice: Person) -> None:
    """A thread called Thread-17 tells nothing in a stack dump."""
    with probing(house) as probe:
        probe.log_in("alice", key_of(alice.key), PASSWORD)
        assert files(probe).listdir(".") == []
        assert len(named_threads("sftp-127.0.0.1:")) == 1
        assert {"sftp-accept", "sftp-watch"} <= set(named_threads("sftp-"))

    until(lambda: not named_threads("sftp-127.0.0.1:"), what="its threads have ended")


def test_what_paramiko_is_overridden_in_is_still_there() -> None:
    """A new version that drops one of these names would take a bound away unseen."""
    private = {
        paramiko.Transport: (
            "_log",
            "_negotiate_keys",
            "_parse_kex_init",
            "_really_parse_kex_init",
            "_parse_newkeys",
            "_queue_incoming_channel",
            "_unlink_channel",
            "_auth_trigger",
            "_send_message",
            "_CLIENT_ID",
            "_active_check_timeout",
            "_channel_handler_table",
            "_kex_info",
            "_preferred_kex",
            "_preferred_keys",
            "_preferred_pubkeys",
            "_preferred_ciphers",
            "_preferred_macs",
            "_preferred_compression",
        ),
        paramiko.packet.Packetizer: ("_read_timeout", "read_all", "start_handshake"),
        paramiko.auth_handler.AuthHandler: (
            "_parse_userauth_request",
            "_parse_userauth_info_response",
        ),
    }

    for owner, names in private.items():
        assert [name for name in names if not hasattr(owner, name)] == []
