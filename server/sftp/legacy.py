"""The transport for one line's old machine: SHA-1 key exchange, `ssh-rsa`, CBC.

A 2048-bit group with SHA-256 and MACs over the plain text come with it: they are not
broken, but no client of today needs them.

Only connections from a line that an administrator opened for it, until a date, meet
this class; what is modern stands first in every list, so that a newer client of the
same line is served as everywhere. Group exchange is left out: paramiko would need a
file of primes, and every client that knows it knows group 14. 3DES, MD5 and DSA stay
out: nobody was found who needs them.
"""

from hashlib import sha1
from typing import ClassVar, Final

from cryptography.hazmat.primitives import hashes
from paramiko.kex_group14 import KexGroup14SHA256
from paramiko.pkey import PKey
from paramiko.rsakey import RSAKey
from typing_extensions import override

from server.model.algorithms import Profile
from server.sftp.algorithms import CIPHERS, HOST_KEYS, KEX, MACS, USER_KEYS, UserKey
from server.sftp.transport import SftpTransport, StrictTransport


class KexGroup14SHA1(KexGroup14SHA256):
    """RFC 4253, section 8.2."""

    name = "diffie-hellman-group14-sha1"
    hash_algo = sha1  # type: ignore[mutable-override]  # hashlib's are of two types


class KexGroup1SHA1(KexGroup14SHA1):
    """RFC 4253, section 8.1: 1024 bits, within reach of a rich attacker."""

    name = "diffie-hellman-group1-sha1"
    P = int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
        "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
        "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        16,
    )


class OldRSAKey(RSAKey):
    """RSA with SHA-1 signatures beside the newer ones (RFC 4253, section 6.6)."""

    HASHES = {**RSAKey.HASHES, "ssh-rsa": hashes.SHA1}  # type: ignore[misc]  # noqa: RUF012, S303 - as paramiko's own


OLD_KEX: Final[dict[str, type[object]]] = {
    **KEX,
    KexGroup14SHA256.name: KexGroup14SHA256,
    KexGroup14SHA1.name: KexGroup14SHA1,
}


class LegacyTransport(SftpTransport):
    """The server side of a connection from a line with an old machine."""

    _kex_info: ClassVar[dict[str, type[object]]] = OLD_KEX
    user_keys: ClassVar[dict[str, type[UserKey]]] = {**USER_KEYS, "ssh-rsa": OldRSAKey}
    _preferred_kex = tuple(_kex_info)
    _preferred_keys = (*HOST_KEYS, "ssh-rsa")
    _preferred_pubkeys = tuple(user_keys)
    _preferred_ciphers = (*CIPHERS, "aes128-cbc", "aes192-cbc", "aes256-cbc")
    _preferred_macs = (*MACS, "hmac-sha2-256", "hmac-sha2-512", "hmac-sha1")

    @override
    def add_server_key(self, key: PKey) -> None:
        if isinstance(key, RSAKey):
            key = OldRSAKey(key=key.private_key)
        super().add_server_key(key)


class Group1Transport(LegacyTransport):
    """The same with the 1024-bit group."""

    _kex_info: ClassVar[dict[str, type[object]]] = {
        **OLD_KEX,
        KexGroup1SHA1.name: KexGroup1SHA1,
    }
    _preferred_kex = tuple(_kex_info)


_TRANSPORTS: Final[dict[Profile, type[SftpTransport]]] = {
    Profile.MODERN: SftpTransport,
    Profile.LEGACY: LegacyTransport,
    Profile.LEGACY_GROUP1: Group1Transport,
}


def transport_of(profile: Profile, *, strict: bool) -> type[SftpTransport]:
    """The class for a connection, chosen once its line is known.

    Args:
        profile: What its line is offered.
        strict: Whether everyone else must have a post-quantum key exchange; a line
            that was opened for an old machine keeps what it was opened for.
    """
    if strict and profile is Profile.MODERN:
        return StrictTransport
    return _TRANSPORTS[profile]
