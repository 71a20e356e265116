"""Plain sockets, as a test drives them."""

import socket


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
