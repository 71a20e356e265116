"""What to tell of a connection that ended before it could log in.

The peer's text is untrusted: it is made printable and short, and the lists are cut.
"""

from typing import Final

from server.model.event import Json
from server.sftp.transport import SftpTransport

ALGORITHMS_MAX: Final = 24
NAME_CHARACTERS_MAX: Final = 64
BANNER_CHARACTERS_MAX: Final = 80


def judge(transport: SftpTransport) -> tuple[str, dict[str, Json]]:
    """The rule by which a handshake failed, and what the peer offered."""
    if transport.offer:
        return "no_common_algorithm", _offer(transport)
    if transport.remote_version:
        return "left_in_handshake", {}
    if transport.first_bytes:
        return "bad_banner", {"offer": _text(transport.first_bytes)}
    return "no_banner", {}


def _offer(transport: SftpTransport) -> dict[str, Json]:
    known = {
        "kex": transport.preferred_kex,
        "hostkey": transport.preferred_keys,
        "cipher": transport.preferred_ciphers,
        "mac": transport.preferred_macs,
    }
    offer: dict[str, Json] = {
        kind: [_name(name) for name in names[:ALGORITHMS_MAX]]
        for kind, names in transport.offer.items()
    }
    missing: list[Json] = [
        kind
        for kind, ours in known.items()
        if not set(ours) & set(transport.offer.get(kind, ()))
    ]
    return {"offer": offer, "missing": missing}


def _name(name: str) -> str:
    kept = "".join(c if c.isprintable() else "?" for c in name)
    return kept[:NAME_CHARACTERS_MAX]


def _text(raw: bytes) -> str:
    line = raw.partition(b"\n")[0].rstrip(b"\r")[:BANNER_CHARACTERS_MAX]
    return "".join(c if " " <= c <= "~" else "?" for c in line.decode("latin-1"))
