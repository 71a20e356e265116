"""The folders and key files of a store.

    state_dir/                      0700
      keys/                         0700, every file 0600
        totp.key                    seals the TOTP secrets
        ssh_host_ed25519_key        and ssh_host_rsa_key, OpenSSH format
        server-ca.pem, .key         signs the server's certificate
        server.pem, .key            that certificate
        device-ca/<contract>.key    each contract's device authority
      journal/                      0700
    data_dir/                       0700

Nodes that share one store share `keys/` too.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from server.auth.certificates import Authority, certificate_pem, key_pem, new_authority
from server.auth.totp import KEY_BYTES, SecretBox

_RSA_BITS: Final = 3072


class KeyStore:
    """The key files below `state_dir`."""

    def __init__(self, state_dir: Path) -> None:
        """Name the files; `prepare` makes those that are missing."""
        self.folder: Final = state_dir / "keys"
        self.server_certificate: Final = self.folder / "server.pem"
        self.server_key: Final = self.folder / "server.key"
        self.server_ca: Final = self.folder / "server-ca.pem"
        self.host_keys: Final = (
            self.folder / "ssh_host_ed25519_key",
            self.folder / "ssh_host_rsa_key",
        )
        self._server_ca_key = self.folder / "server-ca.key"
        self._totp = self.folder / "totp.key"
        self._device_cas = self.folder / "device-ca"

    @property
    def ready(self) -> bool:
        """Whether `prepare` has been here."""
        return self._totp.exists() and self.server_ca.exists()

    def prepare(self) -> None:
        """Make the folders and every key that is missing; keep those that are there.

        Raises:
            OSError: The folder cannot be written.
        """
        make_private_folder(self._device_cas)
        _make(self._totp, lambda: secrets.token_bytes(KEY_BYTES))
        ed25519_key, rsa_key = self.host_keys
        _make(ed25519_key, _new_ed25519)
        _make(rsa_key, _new_rsa)
        if not self.server_ca.exists():
            authority = new_authority("Kagikura server CA")
            write_private(self._server_ca_key, key_pem(authority.key).encode())
            write_private(
                self.server_ca, certificate_pem(authority.certificate).encode()
            )

    def box(self) -> SecretBox:
        """What seals the TOTP secrets.

        Raises:
            OSError: The key file is missing or unreadable: run `kagikura init`.
        """
        return SecretBox(self._totp.read_bytes())

    def server_authority(self) -> Authority:
        """Who signs the server's certificate.

        Raises:
            OSError: Its files are missing or unreadable: run `kagikura init`.
        """
        return Authority.load(
            self.server_ca.read_text(), self._server_ca_key.read_text()
        )

    def keep_device_authority(self, contract_id: str, authority: Authority) -> None:
        """Keep the key of a contract's device authority; its certificate is public.

        Raises:
            OSError: It cannot be written.
        """
        write_private(self._device_ca(contract_id), key_pem(authority.key).encode())

    def device_authority(self, contract_id: str, certificate: str) -> Authority:
        """Who signs the certificates of a contract's devices.

        Raises:
            OSError: Its key file is missing or unreadable.
        """
        return Authority.load(certificate, self._device_ca(contract_id).read_text())

    def _device_ca(self, contract_id: str) -> Path:
        return self._device_cas / f"{contract_id}.key"


def make_private_folder(folder: Path) -> None:
    """Make a folder that nobody else may enter, and those above it.

    Raises:
        OSError: It cannot be made.
    """
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read: whole or not at all, and durable.

    Raises:
        OSError: It cannot be written.
    """
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make(path: Path, content: Callable[[], bytes]) -> None:
    if not path.exists():
        write_private(path, content())


def _new_ed25519() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _new_rsa() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
