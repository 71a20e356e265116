"""Signed notes, https://c2sp.org/signed-note, as pure functions; Ed25519 alone.

    <text, one or more lines>
    <empty line>
    — <key name> <base64(key id || signature)>

A key is told from others by its name and a key id of four bytes. Our texts have no
empty line, so a file of notes is the notes with an empty line between them.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

NOTE_BYTES_MAX: Final = 1 << 20
"""A longer note is not read."""

_ED25519: Final = b"\x01"
_DASH: Final = "\u2014"
_SIGNATURE: Final = re.compile(rf"{_DASH} ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_KEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)")
_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SIGNATURES_MAX: Final = 16


class NoteError(ValueError):
    """Not a signed note, or not a key; the message says why."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs with."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand in a signature line."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return sha256(named).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """As people and tools pass it on: `name+id+key`."""
        key = base64.b64encode(_ED25519 + self.public).decode("ascii")
        return f"{self.name}+{self.id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes.

        Raises:
            NoteError: Not an Ed25519 verifier key.
        """
        match = _KEY.fullmatch(text.strip())
        if match is None:
            raise NoteError("not a verifier key (name+id+key)")
        octets = _base64(match[3])
        key = cls(match[1], octets[1:])
        if octets[:1] != _ED25519 or len(key.public) != _KEY_BYTES:
            raise NoteError("not an Ed25519 key")
        if key.id.hex() != match[2]:
            raise NoteError("the key and its id disagree")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    octets: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text and who says to have signed it; nothing is checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, written: str) -> Self:
        """Take a note apart.

        Raises:
            NoteError: It is not one.
        """
        if len(written) > NOTE_BYTES_MAX:
            raise NoteError("the note is too long")
        text, gap, lines = written.rpartition("\n\n")
        if not gap or not text or not lines.endswith("\n"):
            raise NoteError("the note is not whole")
        if any(char < " " and char != "\n" for char in written):
            raise NoteError("the note holds control characters")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > _SIGNATURES_MAX:
            raise NoteError("the note has too many signatures")
        return cls(f"{text}\n", signatures)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, lower-case hexadecimal."""
        return sha256(self.text.encode()).hexdigest()

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Whether `key` signed it; a bad signature of that key is none."""
        mine = [
            signature.octets
            for signature in self.signatures
            if (signature.name, signature.key_id) == (key.name, key.id)
        ]
        public = Ed25519PublicKey.from_public_bytes(key.public)
        try:
            for octets in mine:
                public.verify(octets, self.text.encode())
        except InvalidSignature:
            return False
        return bool(mine)


class Signer:
    """A private key and the name it signs with."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        """Sign as `name`."""
        self._private = private
        self.key = VerifierKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def new(cls, name: str) -> Self:
        """Make a new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, name: str, seed: bytes) -> Self:
        """Take up a key from its 32 secret bytes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""
        return self._private.private_bytes_raw()

    def sign(self, text: str) -> str:
        """Write a text, which ends in a line feed, as a note."""
        octets = self.key.id + self._private.sign(text.encode())
        line = f"{_DASH} {self.key.name} {base64.b64encode(octets).decode('ascii')}"
        return f"{text}\n{line}\n"


def split(file: str) -> list[str]:
    """The notes of a file; what a crash left torn at its end is no note."""
    parts = file.split("\n\n")
    return [f"{parts[at]}\n\n{parts[at + 1]}\n" for at in range(0, len(parts) - 2, 2)]


def join(notes: Iterable[str]) -> str:
    """Write notes as one file."""
    return "".join(f"{note}\n" for note in notes)


def _signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise NoteError("not a signature line")
    octets = _base64(match[2])
    return Signature(match[1], octets[:_ID_BYTES], octets[_ID_BYTES:])


def _base64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NoteError("not base64") from error
    if base64.b64encode(octets).decode("ascii") != text:
        raise NoteError("not base64 as it must be")  # spare bits that say nothing
    return octets
