"""Where clients find this store and how they know it, from its settings and keys."""

import socket

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from server.access.keystore import KeyStore
from server.access.kit.contents import Store
from server.auth.certificates import general_name, names_of
from server.settings.schema import Settings


def store_of(settings: Settings, host: str = "") -> Store:
    """The store, as clients reach it at `host`.

    Args:
        settings: Where it listens.
        host: A name or an address; empty: the first of `webdav.names`, or this
            machine's.

    Raises:
        ValueError: A port is not fixed, or the host cannot be used.
        OSError: The store's keys cannot be read.
    """
    secret = settings.webdav.secret
    ports = {"sftp.port": settings.sftp.port, "webdav.port": settings.webdav.port}
    if secret.enabled:
        ports["webdav.secret.port"] = secret.port
    loose = [name for name, port in ports.items() if not port]
    if loose:
        raise ValueError(f"a kit names ports: set {', '.join(loose)}")
    keys = KeyStore(settings.state_dir)
    names = [*settings.webdav.names, socket.getfqdn()]
    return Store(
        host=host or names[0],
        sftp_port=settings.sftp.port,
        webdav_port=settings.webdav.port,
        secret_port=secret.port if secret.enabled else 0,
        authority="" if settings.webdav.certificate else keys.server_ca.read_text(),
        host_keys=tuple(_public(path.read_bytes()) for path in keys.host_keys),
    )


def is_certified(settings: Settings, host: str) -> bool:
    """Whether the server's certificate names this host.

    Raises:
        OSError: It cannot be read.
    """
    own = KeyStore(settings.state_dir).server_certificate
    path = settings.webdav.certificate or own
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return str(general_name(host).value) in names_of(certificate)


def _public(private: bytes) -> str:
    public = load_ssh_private_key(private, None).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
