"""What is offered in key exchanges, but for a line with an old machine (`legacy`).

In the order in which it is announced: what ssh-audit has nothing against, but that
only the first exchange withstands a quantum computer.
"""

from typing import Final

from paramiko.ecdsakey import ECDSAKey
from paramiko.ed25519key import Ed25519Key
from paramiko.kex_curve25519 import KexCurve25519
from paramiko.kex_group16 import KexGroup16SHA512
from paramiko.kex_mlkem import KexMLKEM768X25519
from paramiko.rsakey import RSAKey

UserKey = Ed25519Key | ECDSAKey | RSAKey
"""What a client may prove itself with."""

KEX: Final[dict[str, type[object]]] = {
    "mlkem768x25519-sha256": KexMLKEM768X25519,
    # RFC 8731 gave libssh's method its plain name.
    "curve25519-sha256": KexCurve25519,
    "curve25519-sha256@libssh.org": KexCurve25519,
    "diffie-hellman-group16-sha512": KexGroup16SHA512,
}
HOST_KEYS: Final[tuple[str, ...]] = ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
USER_KEYS: Final[dict[str, type[UserKey]]] = {
    "ssh-ed25519": Ed25519Key,
    "ecdsa-sha2-nistp256": ECDSAKey,
    "ecdsa-sha2-nistp384": ECDSAKey,
    "ecdsa-sha2-nistp521": ECDSAKey,
    "rsa-sha2-512": RSAKey,
    "rsa-sha2-256": RSAKey,
}
GCM_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
CIPHERS: Final[tuple[str, ...]] = (
    *GCM_CIPHERS,
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS: Final[tuple[str, ...]] = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
)
