"""Our AES-GCM packets against paramiko's own, in both directions."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from paramiko.message import Message
from paramiko.packet import NeedRekeyException, Packetizer
from paramiko.ssh_exception import SSHException

from server.sftp.gcm import GcmPacketizer
from server.sftp.inflow import Inflow
from server.sftp.packetizer import data_message
from server.sftp.train import Train

IGNORE, ADJUST = 2, 93
COUNTER_WRAPS_IV = b"abcd" + (2**64 - 2).to_bytes(8, "big")


class Peer(Packetizer):
    """The client side, by paramiko alone. Its counter of nonces does not wrap."""


@contextmanager
def linked(iv: bytes = bytes(12)) -> Iterator[tuple[GcmPacketizer, Peer]]:
    """Ours and paramiko's at the two ends of a connection, with keys."""
    here, there = socket.socketpair()
    key = os.urandom(16)
    ours, peer = GcmPacketizer(here), Peer(there)
    for end in (here, there):
        end.settimeout(5)
    for packetizer in (ours, peer):
        cipher = {
            "block_engine": AESGCM(key),
            "block_size": 16,
            "mac_engine": None,
            "mac_size": 16,
            "mac_key": None,
            "aead": True,
        }
        packetizer.set_outbound_cipher(**cipher, iv_out=iv)
        packetizer.set_inbound_cipher(**cipher, iv_in=iv)
    ours.packet_bytes_max = 262144
    with here, there:
        yield ours, peer


def counting(key: bytes, iv: bytes, *, out: bool) -> dict[str, Any]:
    """AES-CTR with a MAC over what is encrypted, for one direction of paramiko's."""
    cipher = Cipher(AES(key), CTR(iv))
    return {
        "block_engine": cipher.encryptor() if out else cipher.decryptor(),
        "block_size": 16,
        "mac_engine": hashlib.sha256,
        "mac_size": 32,
        "mac_key": key,
        "etm": True,
        "aead": False,
    }


def inflow() -> Inflow:
    return Inflow(window_bytes=1 << 21, packet_bytes_max=262144)


def message(kind: int, body: bytes) -> Message:
    return Message(bytes([kind]) + body)


def held(flow: Inflow) -> bytes:
    return bytes(flow._memory[flow._start : flow._end]) if flow._memory else b""


packets = st.lists(
    st.tuples(st.sampled_from([0, 1, 9, None]), st.binary(max_size=3000)), max_size=30
)


@hypothesis_settings(deadline=None, max_examples=40)
@given(packets)
def test_every_packet_arrives_where_it_belongs(
    packets: list[tuple[int | None, bytes]],
) -> None:
    """Data of two served channels, of an unserved one, and other messages, mixed."""
    with linked() as (ours, peer):
        ours.inflows = {0: inflow(), 1: inflow()}
        for channel, body in packets:
            sent = (
                message(ADJUST, body)
                if channel is None
                else data_message(channel, body)
            )
            peer.send_message(sent)
        peer.send_message(message(IGNORE, b"end"))
        told = []
        while (received := ours.read_message())[0] != IGNORE:
            told.append((received[1].seqno, received[0], received[1].asbytes()))

        for channel, flow in ours.inflows.items():
            want = b"".join(body for number, body in packets if number == channel)
            assert held(flow) == want
        assert told == [
            (
                number,
                ADJUST if channel is None else 94,
                body if channel is None else data_message(9, body).asbytes()[1:],
            )
            for number, (channel, body) in enumerate(packets)
            if channel in {None, 9}
        ]


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(max_size=70_000), max_size=4), st.integers(1, 40_000))
def test_paramiko_reads_our_trains(replies: list[bytes], window: int) -> None:
    """Trains cut by windows, and single messages in between."""
    with linked() as (ours, peer):
        train = Train(channel=5, data_bytes=32704, capacity=300_000)
        for reply in replies:
            train.add(reply)
        want, got = b"".join(replies), b""

        def send() -> None:
            while train.waiting:
                ours.send_data(5, train.leave(window))
                train.through()
                ours.send_message(message(ADJUST, b"between"))
            ours.send_message(message(IGNORE, b"end"))

        sender = threading.Thread(target=send, name="sender")
        sender.start()
        while (received := peer.read_message())[0] != IGNORE:
            if received[0] == ADJUST:
                assert received[1].asbytes() == b"between"
                continue
            assert received[1].get_int() == 5
            got += received[1].get_binary()
        sender.join()

        assert got == want


def test_what_came_behind_the_last_packet_is_read_with_the_next_cipher() -> None:
    """New keys may be of another kind; a whole turn of bytes was read ahead then."""
    with linked() as (ours, peer):
        there = peer._Packetizer__socket  # type: ignore[attr-defined]
        here, tap = socket.socketpair()
        peer._Packetizer__socket = tap  # type: ignore[attr-defined]
        peer.send_message(message(IGNORE, b"the last"))
        key, iv = os.urandom(16), os.urandom(16)
        peer.set_outbound_cipher(**counting(key, iv, out=True))
        for body in (b"first", b"second" * 1000):
            peer.send_message(message(ADJUST, body))
        there.sendall(here.recv(65536, socket.MSG_WAITALL | socket.MSG_DONTWAIT))

        with here, tap:
            assert ours.read_message()[1].asbytes() == b"the last"
            ours.set_inbound_cipher(**counting(key, iv, out=False))
            read = [ours.read_message()[1].asbytes() for _ in range(2)]

    assert read == [b"first", b"second" * 1000]


@pytest.mark.parametrize("at", [0, 3, 4, 20, -1])
def test_a_changed_packet_ends_the_connection(at: int) -> None:
    """Nobody on the way can change a bit, not even of the length."""
    with linked() as (ours, peer):
        ours.inflows = {0: inflow()}
        there = peer._Packetizer__socket  # type: ignore[attr-defined]
        here, tap = socket.socketpair()
        peer._Packetizer__socket = tap  # type: ignore[attr-defined]
        peer.send_message(data_message(0, b"x" * 100))
        packet = bytearray(here.recv(4096))
        packet[at] ^= 1
        there.send(packet)
        there.shutdown(socket.SHUT_WR)

        with here, tap, pytest.raises((SSHException, EOFError)):
            ours.read_message()
        assert held(ours.inflows[0]) == b""


@pytest.mark.parametrize("length", [0, 8, 17, 262160, 2**32 - 16])
def test_a_wrong_length_is_refused_before_its_bytes_come(length: int) -> None:
    """Nothing is waited for, and nothing allocated."""
    with linked() as (ours, peer):
        peer._Packetizer__socket.send(length.to_bytes(4, "big"))  # type: ignore[attr-defined]

        with pytest.raises(SSHException):
            ours.read_message()


def test_the_counter_of_nonces_wraps_by_itself() -> None:
    """It may begin anywhere; the fixed part must not be touched (RFC 5647, 7.1)."""
    with linked(COUNTER_WRAPS_IV) as (ours, _), linked(COUNTER_WRAPS_IV) as (theirs, _):
        theirs._opener = theirs._sealer = ours._sealer
        theirs._socket, ours._socket = socket.socketpair()
        with theirs._socket, ours._socket:
            for _ in range(4):
                ours.send_message(message(ADJUST, b"x"))
            read = [theirs.read_message()[1].asbytes() for _ in range(4)]

    assert read == [b"x"] * 4


def test_new_keys_are_wished_by_volume_and_once() -> None:
    """Half of what AES may do with one key; the loop must not be told for ever."""
    with linked() as (ours, peer):
        ours.REKEY_BYTES = 1000  # type: ignore[misc]
        peer.send_message(data_message(0, bytes(2000)))
        ours.inflows = {0: inflow()}

        with pytest.raises(NeedRekeyException):
            ours.read_message()
        assert ours.need_rekey()
        peer.send_message(message(IGNORE, b""))
        assert ours.read_message()[0] == IGNORE


def test_a_peer_that_ignores_the_wish_for_new_keys_is_cut() -> None:
    """It gets some rope, as in paramiko, but an end."""
    with linked() as (ours, peer):
        ours.REKEY_BYTES = -(512 * 1024**2)  # type: ignore[misc]
        peer.send_message(data_message(0, bytes(2000)))

        with pytest.raises(SSHException, match="ignoring"):
            ours.read_message()
