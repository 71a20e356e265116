"""The byte stream of a connection."""

import socket
import time

from server.webdav.wire import Inbox

WAIT_S = 5.0


def test_a_head_that_comes_bit_by_bit_is_not_waited_for() -> None:
    """A thread waits for the next request to begin; who dribbles it holds none."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(WAIT_S)
        theirs.sendall(b"GET / HT")
        begun_s = time.monotonic()

        assert Inbox(ours).head(1000) is None
        assert time.monotonic() - begun_s < WAIT_S
