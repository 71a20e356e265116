"""The chain of signing keys, from the root's public key to today's; pure functions.

Which key signs a checkpoint follows from its number alone, never from a clock: key `n`
signs those behind `after` of its certificate, up to `after` of the next. So who takes
today's key cannot sign what belongs to yesterday's, which exists no more.
"""

from collections.abc import Iterable
from typing import Final, Self

from server.audit.note import Note, NoteError, VerifierKey
from server.audit.statements import Certificate, StatementError

ROOT: Final = 0


class KeyChainError(ValueError):
    """A certificate is missing, replaced or not signed by the key before."""


class KeyChain:
    """Certificates that lead from a root to the key in use, each one checked."""

    def __init__(self, root: VerifierKey) -> None:
        """Trust this key and nothing else."""
        self.root = root
        self.certificates: list[Certificate] = []

    @classmethod
    def of(cls, notes: Iterable[str], root: VerifierKey | None = None) -> Self:
        """Read certificates, in any order and given more than once or not.

        Args:
            notes: Signed notes of certificates.
            root: The root's key as the reader knows it; None trusts the first.

        Raises:
            KeyChainError: They do not lead from that root to one last key.
        """
        found: dict[int, tuple[Certificate, Note]] = {}
        for written in notes:
            certificate, note = _read(written)
            known = found.setdefault(certificate.number, (certificate, note))
            if known[0] != certificate:
                raise KeyChainError(f"there are two keys {certificate.number}")
        if ROOT not in found:
            raise KeyChainError("the root key's certificate is missing")
        chain = cls(root or found[ROOT][0].verifier)
        for number in sorted(found):
            chain.add(*found[number])
        return chain

    def add(self, certificate: Certificate, note: Note) -> None:
        """Take up the next certificate.

        Raises:
            KeyChainError: It is not the next one.
        """
        number = len(self.certificates)
        if certificate.number != number:
            raise KeyChainError(f"the certificate of key {number} is missing")
        if certificate.origin != self.root.name:
            raise KeyChainError(f"key {number} is one of {certificate.origin}")
        if number == ROOT:
            if certificate.verifier != self.root:
                raise KeyChainError("the root key is not the given public key")
            signer = self.root
        else:
            before = self.certificates[-1]
            signer = before.verifier
            if certificate.after.seq < before.after.seq:
                raise KeyChainError(f"key {number} begins before key {number - 1}")
        if not note.is_signed_by(signer):
            raise KeyChainError(
                f"key {number} is not signed by key {max(number - 1, ROOT)}"
            )
        self.certificates.append(certificate)

    def for_checkpoint(self, number: int) -> Certificate:
        """The key that signs the checkpoint with this number."""
        return next(
            certificate
            for certificate in reversed(self.certificates)
            if certificate.number == ROOT or certificate.after.seq < number
        )

    def signer_of(self, note: Note) -> Certificate | None:
        """Whose signature a note bears."""
        return next(
            (
                certificate
                for certificate in reversed(self.certificates)
                if note.is_signed_by(certificate.verifier)
            ),
            None,
        )

    def numbered(self, number: int) -> Certificate | None:
        """The certificate with this number, if there is one."""
        if 0 <= number < len(self.certificates):
            return self.certificates[number]
        return None


def _read(written: str) -> tuple[Certificate, Note]:
    try:
        note = Note.parse(written)
        return Certificate.parse(note.text), note
    except (NoteError, StatementError) as error:
        raise KeyChainError(f"a certificate cannot be read: {error}") from error
