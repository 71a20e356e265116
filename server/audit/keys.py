"""The signing keys on the disk: the one in use, and the chain of certificates.

    state_dir/keys/audit/
        <node>.keys     the certificates, public, from the root on (signed notes)
        <node>.key      the private key in use and the certificate that made it, 0600
        <node>.key.new  the next one, until it is in use
        <node>.told     how many certificates are on record in the trail

A new key is written beside the old one, then certified, then put in its place, so that
a crash at any moment leaves one that can be used; the old one's bytes are overwritten.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.audit import durable, note, segment
from server.audit.keychain import KeyChain
from server.audit.note import Note, Signer, VerifierKey
from server.audit.statements import NOTHING, Certificate, Head, origin_of
from server.model.clock import Clock, rfc3339
from server.model.errors import UnavailableError

_NONE_BEFORE: Final = Head(0, NOTHING)


class KeysMissingError(UnavailableError):
    """This store has no signing keys yet, or they were taken away."""

    reason = "signing_keys_missing"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key in use."""

    certificate: Certificate
    signer: Signer


class SigningKeys:
    """One node's keys below `state_dir/keys/audit`."""

    def __init__(self, folder: Path, *, node: str, clock: Clock) -> None:
        """Name the files; `prepare` makes what is missing."""
        self._folder = folder
        self._origin = origin_of(node)
        self._clock = clock
        self._chain = folder / f"{node}.keys"
        self._private = folder / f"{node}.key"
        self._next = folder / f"{node}.key.new"
        self._told = folder / f"{node}.told"

    def prepare(self) -> None:
        """Make the root and the first signing key, or finish what a crash cut.

        Only one process may do this at a time: `init`, or the keeper.

        Raises:
            OSError: They cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._next.exists():
            self._put_in_place()
        elif not self._chain.exists():
            root, first = Signer.new(self._origin), Signer.new(self._origin)
            now = rfc3339(self._clock.time_us())
            notes = [
                root.sign(self._certificate(0, root, _NONE_BEFORE, now).text()),
                root.sign(self._certificate(1, first, _NONE_BEFORE, now).text()),
            ]
            self._bring_in(first, notes)  # the root's private key is never stored

    def rotate(self, after: Head, time: str) -> None:
        """Go on with a new key behind the checkpoint `after`; erase the old one.

        Args:
            after: That checkpoint's number and the hash of its text.
            time: Its time, which the new key's day is taken from.

        Raises:
            KeysMissingError: There is no key to sign it with.
            OSError: It cannot be written.
        """
        old = self.current()
        new = Signer.new(self._origin)
        number = old.certificate.number + 1
        certificate = self._certificate(number, new, after, time)
        self._bring_in(new, [old.signer.sign(certificate.text())])

    def current(self) -> SigningKey:
        """The key in use.

        Raises:
            KeysMissingError: There is none.
        """
        try:
            kept = json.loads(self._private.read_bytes())
            certificate = Certificate.parse(Note.parse(kept["notes"][-1]).text)
            signer = Signer.load(self._origin, bytes.fromhex(kept["seed"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise KeysMissingError(
                "The key that signs the trail is missing or unreadable."
            ) from error
        return SigningKey(certificate, signer)

    def notes(self) -> list[str]:
        """All certificates, from the root on.

        Raises:
            KeysMissingError: There are none.
        """
        try:
            return note.split(self._chain.read_text("utf-8"))
        except FileNotFoundError as error:
            raise KeysMissingError(
                "This store has no signing keys yet. Start it once."
            ) from error

    def chain(self) -> KeyChain:
        """All certificates, each checked.

        Raises:
            KeysMissingError: There are none.
            KeyChainError: They do not hold together.
        """
        return KeyChain.of(self.notes())

    @property
    def root(self) -> VerifierKey:
        """The root's public key.

        Raises:
            KeysMissingError: There is none.
            KeyChainError: The certificates do not hold together.
        """
        return self.chain().root

    def untold(self) -> list[str]:
        """Certificates that are not on record in the trail yet."""
        try:
            told = int(self._told.read_text("ascii"))
        except (FileNotFoundError, ValueError):
            told = 0
        return self.notes()[told:]

    def mark_told(self) -> None:
        """All certificates that there are now are on record."""
        self._told.write_text(f"{len(self.notes())}\n", encoding="ascii")

    def _certificate(
        self, number: int, signer: Signer, after: Head, time: str
    ) -> Certificate:
        return Certificate(
            origin=self._origin,
            number=number,
            after=after,
            time=time,
            key=signer.key.public,
        )

    def _bring_in(self, signer: Signer, notes: list[str]) -> None:
        kept = json.dumps({"seed": signer.seed.hex(), "notes": notes}).encode()
        durable.write_whole(self._next, kept)
        self._put_in_place()

    def _put_in_place(self) -> None:
        notes = json.loads(self._next.read_bytes())["notes"]
        known = self.notes() if self._chain.exists() else []
        whole = known + [written for written in notes if written not in known]
        durable.write_whole(self._chain, note.join(whole).encode())
        _erase(self._private)
        self._next.replace(self._private)
        segment.sync_folder(self._folder)


def _erase(path: Path) -> None:
    """Overwrite a secret before its name goes, as far as the file system lets us."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
