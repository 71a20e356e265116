"""TLS of the listeners: contexts that follow the certificates, and a device's key.

TLS 1.2 with ECDHE and AEAD only, or 1.3. There are no tickets; a TLS 1.2 session can
be resumed by its id, but only within the context that checked its certificate against
the same trust (not so in nginx CVE-2025-23419), for a context keeps its own sessions.
Whose the certificate is, and whether it may come in, is asked for each request.
"""

import hashlib
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from server.model.operation import Stage

log = logging.getLogger(__name__)

_EXPIRED: Final = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""
_NOT_TRUSTED: Final = frozenset({
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
})
"""What clients say of our own certificate (RFC 8446, section 6.2)."""
_PROTOCOL: Final = dict.fromkeys(
    ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"), "tls_too_old"
) | dict.fromkeys(("HTTP_REQUEST", "WRONG_VERSION_NUMBER"), "no_tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """What a context is made of, at one moment."""

    certificate: Path
    """PEM, chain included."""
    key: Path
    trust_pem: str
    """The device CAs and pinned certificates, PEM; may be empty."""
    version: int
    """Grows whenever any of the above changed."""


class TlsContexts:
    """The context for new connections, rebuilt when its material changed."""

    def __init__(
        self, material: Callable[[], TlsMaterial], *, client_certificates: bool
    ) -> None:
        """Follow `material`.

        Args:
            material: Asked at each new connection; must be cheap.
            client_certificates: Whether a client must show a certificate that leads
                to the trust PEM. If not, none is asked for: Windows stumbles over
                optional ones.
        """
        self._material = material
        self._client_certificates = client_certificates
        self._version: int | None = None
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()  # Guards _version and _context. Takes no other.

    def current(self) -> ssl.SSLContext:
        """The context of the present material, or the last one that could be made.

        Raises:
            OSError: None could be made yet; `ssl.SSLError` is one too.
        """
        with self._lock:
            material = self._material()
            if self._context is None or material.version != self._version:
                self._version = material.version
                self._context = self._made(material)
            return self._context

    def _made(self, material: TlsMaterial) -> ssl.SSLContext:
        try:
            return _context(material, client_certificates=self._client_certificates)
        except OSError:
            log.exception("tls certificate, key or trust cannot be loaded")
            if self._context is None:
                raise
            return self._context


def _context(material: TlsMaterial, *, client_certificates: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(material.certificate, material.key)
    if client_certificates:
        # A pinned certificate is trusted by itself, whoever issued it.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        if material.trust_pem:
            context.load_verify_locations(cadata=material.trust_pem)
    return context


def refusal_of(error: ssl.SSLError) -> tuple[Stage, str]:
    """Why a handshake failed: stage and rule for the trail; no rule: nothing to tell.

    Args:
        error: What the handshake raised.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        expired = error.verify_code == _EXPIRED
        return Stage.DEVICE, "expired_certificate" if expired else "unknown_certificate"
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Stage.DEVICE, "no_certificate"
    if reason in _NOT_TRUSTED:
        return Stage.HANDSHAKE, "server_not_trusted"
    return Stage.HANDSHAKE, _PROTOCOL.get(reason, "")


def device_key(certificate_der: bytes) -> str:
    """The SHA-256 of a certificate's SubjectPublicKeyInfo, hexadecimal.

    Raises:
        ValueError: The certificate or its key cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except Exception as error:
        # The library raises several kinds for keys that it does not know.
        raise ValueError("unreadable client certificate") from error
    return hashlib.sha256(spki).hexdigest()


def common_name(certificate_der: bytes) -> str:
    """The subject's common name, for people; empty when there is none."""
    subject = x509.load_der_x509_certificate(certificate_der).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
